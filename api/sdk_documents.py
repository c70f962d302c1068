"""What the browser SDKs of Segment and RudderStack fetch before they send anything."""

from pathlib import Path
from typing import Any

from litestar import Request, Router, get
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.params import FromPath

from api.auth import key_in, require
from api.dialects.browser import rudderstack_source, segment_settings
from api.reply import PREFLIGHT
from domain.errors import MissingKey, NotFound
from domain.keys import is_well_formed
from infrastructure.bootstrap import Adapters

_SCRIPT = Path(__file__).parent / "static" / "segment" / "analytics.min.js"
# RudderStack's browser SDK asks with headers of its own, so browsers send a preflight.
_ANY_ORIGIN = [
    ResponseHeader(name=name.decode(), value=value.decode())
    for name, value in PREFLIGHT
    if name.startswith(b"access-control-")
]


@get("/v1/projects/{write_key:str}/settings", security=[])
async def show_segment_settings(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    write_key: FromPath[str],
) -> dict[str, Any]:
    require(await adapters.callers.find(write_key), "ingest")
    return segment_settings(_own_url(request, adapters), write_key)


@get(["/sourceConfig", "/sourceConfig/"], security=[])
async def show_rudderstack_source(
    request: Request[Any, Any, Any], adapters: NamedDependency[Adapters]
) -> dict[str, Any]:
    key = key_in(request.scope["headers"], request.scope["query_string"])
    if key is None:
        raise MissingKey("no key: it goes into the query as writeKey")
    require(await adapters.callers.find(key), "ingest")
    return rudderstack_source(_own_url(request, adapters), key)


@get(
    "/analytics.js/v1/{write_key:str}/analytics.min.js",
    media_type="text/javascript",
    response_headers=[ResponseHeader(name="cache-control", value="public, max-age=3600")],
    security=[],
    sync_to_thread=False,
)
def show_segment_script(write_key: FromPath[str]) -> bytes:
    """Segment's own browser SDK (MIT), unchanged: the snippet that pages already have loads it
    from the host that it sends to.
    """
    if not is_well_formed(write_key):
        raise NotFound("this is not a key of Appizer")
    return _SCRIPT.read_bytes()


def _own_url(request: Request[Any, Any, Any], adapters: Adapters) -> str:
    if adapters.settings.public_url:
        return adapters.settings.public_url
    url = str(request.base_url).rstrip("/")
    encrypted = request.headers.get("x-forwarded-proto") == "https"
    if adapters.settings.trusted_proxies and encrypted:
        return url.replace("http:", "https:", 1)
    return url


_FETCHED = Router(
    "/",
    route_handlers=[show_segment_settings, show_rudderstack_source],
    response_headers=_ANY_ORIGIN,
)
ROUTES = (_FETCHED, show_segment_script)
