"""Writes and queries are two applications; where they share a port, this tells which is meant.

deploy/ has the same rule for a proxy in front of separate processes.
"""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

_READ_PREFIXES = ("/v1/analytics/", "/schema", "/asyncapi.json")
_SDK_DOCUMENTS = ("/v1/projects/", "/sourceConfig", "/analytics.js/")


def is_query(method: str, path: str) -> bool:
    if path.startswith(_READ_PREFIXES):
        return True
    if method not in {"GET", "HEAD"}:
        return False
    return not path.startswith(_SDK_DOCUMENTS)


def share_port(commands: ASGIApp, queries: ASGIApp) -> ASGIApp:
    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and is_query(scope["method"], scope["path"]):
            await queries(scope, receive, send)
        else:
            await commands(scope, receive, send)

    return choose
