"""The interface described: OpenAPI with a page to try it, AsyncAPI for the NATS subjects.

The page is Swagger UI from files that ship with us; opening it makes no request elsewhere.
"""

import mimetypes
from pathlib import Path
from typing import Any, cast

from litestar import Request, Response, get
from litestar.params import FromPath
from litestar.response import Redirect

from api import asyncapi
from domain.errors import NotFound

_PAGE = Path(__file__).parent / "static" / "swagger-ui"
_FILES = {file.name: file for file in _PAGE.iterdir()} if _PAGE.exists() else {}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)


@get("/schema", include_in_schema=False, sync_to_thread=False)
def show_page(request: Request[Any, Any, Any]) -> Response[bytes] | Redirect:
    if not request.scope["raw_path"].endswith(b"/"):  # the page names its files beside itself
        return Redirect("/schema/")
    return _file("index.html")


@get("/schema/openapi.json", include_in_schema=False, sync_to_thread=False)
def show_openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", request.app.state.describe())


@get("/schema/{name:str}", include_in_schema=False, sync_to_thread=False)
def show_file(name: FromPath[str]) -> Response[bytes]:
    return _file(name)


@get("/asyncapi.json", include_in_schema=False, sync_to_thread=False)
def show_asyncapi() -> dict[str, Any]:
    return asyncapi.document()


def _file(name: str) -> Response[bytes]:
    if name not in _FILES:
        raise NotFound("no such file")
    media_type = mimetypes.guess_type(name)[0] or "text/plain"
    headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
    return Response(_FILES[name].read_bytes(), media_type=media_type, headers=headers)


ROUTES = (show_page, show_openapi, show_file, show_asyncapi)
