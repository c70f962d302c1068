"""Writes and queries are two applications of one interface: each path is in one table, whichever
of them has it, so a wrong method is told all right ones, on one port and behind a proxy alike.

Where they share a port, `is_query` tells which is meant; deploy/ has the same rule for a proxy in
front of separate processes.
"""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from litestar.enums import ScopeType
from litestar.routes import BaseRoute
from litestar.types import ASGIApp, Receive, Scope, Send

from api.errors import Problem
from api.reply import PREFLIGHT, Reply, problem_reply, send_reply

_READ_PREFIXES = (
    "/v1/analytics/",
    "/v1/users/merge-preview",
    "/v1/users/unmerge-preview",
    "/v1/segments/preview",
    "/v1/audiences/preview",
    "/schema",
    "/asyncapi.json",
)
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


class _Template(NamedTuple):
    """A path with parameters: each part is a word or the type of what stands in its place."""

    parts: tuple[str | type, ...]
    methods: set[str]


class Interface:
    """All paths with their methods. `writes`: those that take messages, from anywhere."""

    def __init__(self, routes: Iterable[BaseRoute], writes: Iterable[str]) -> None:
        self._writes = frozenset(writes)
        self._plain: dict[str, set[str]] = {path: {"POST"} for path in self._writes}
        self._templates: dict[tuple[str | type, ...], _Template] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: BaseRoute) -> None:
        methods = route.methods | ({"HEAD"} if "GET" in route.methods else set())
        if not route.path_parameters:
            self._plain.setdefault(route.path, set()).update(methods)
            return
        parts = tuple(c if isinstance(c, str) else c.type for c in route.path_components)
        self._templates.setdefault(parts, _Template(parts, set())).methods.update(methods)

    def methods(self, path: str) -> set[str]:
        """In a set of one's own; empty: there is no such path."""
        path = path.rstrip("/") or "/"
        words = path[1:].split("/")
        found = self._plain.get(path, set()).union(  # /v1/users/batch is also the person `batch`
            *(t.methods for t in self._templates.values() if _matches(words, t.parts))
        )
        return found | {"OPTIONS"} if found else set()

    def is_for_browsers(self, path: str) -> bool:
        return path.rstrip("/") in self._writes or path.startswith(_SDK_DOCUMENTS)


def _matches(words: list[str], parts: tuple[str | type, ...]) -> bool:
    return len(words) == len(parts) and all(map(_fits, words, parts))


def _fits(word: str, part: str | type) -> bool:
    if isinstance(part, str):
        return word == part
    if part is not UUID:
        return word != ""
    try:
        UUID(word)
    except ValueError:
        return False
    return True


def by_method(application: ASGIApp, interface: Interface) -> ASGIApp:
    """Answers wrong methods and OPTIONS; gives HEAD to the application as a GET, whose body the
    server leaves out.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await application(scope, receive, send)
            return
        method, path = str(scope["method"]), scope["raw_path"].decode()  # %2F parts no path
        methods = interface.methods(path)
        if method == "OPTIONS" and methods:
            await send_reply(send, _options(methods, for_browsers=interface.is_for_browsers(path)))
        elif methods and method not in methods:
            await send_reply(send, _wrong_method(methods))
        elif method == "HEAD":
            asked: Scope = {**scope, "method": "GET"}
            await application(asked, receive, send)
        else:
            await application(scope, receive, send)

    return answer


def _options(methods: set[str], *, for_browsers: bool) -> Reply:
    allow = (b"allow", ", ".join(sorted(methods)).encode())
    return Reply(204, [*(PREFLIGHT if for_browsers else ()), allow], b"")


def _wrong_method(methods: set[str]) -> Reply:
    allow = ", ".join(sorted(methods))
    problem = Problem(
        error="Method Not Allowed",
        message=f"this address takes {allow}",
        code="METHOD_NOT_ALLOWED",
    )
    return problem_reply(405, problem, {"allow": allow})
