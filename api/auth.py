"""Finding the key in a request, and what it may do."""

import base64
import binascii
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from litestar import Request
from litestar.di import NamedDependency

from api.parameters import check_parameters
from domain.errors import Forbidden
from infrastructure.bootstrap import Adapters
from projections.apps import Caller

Headers = Iterable[tuple[bytes, bytes]]


def key_in(headers: Headers, query: bytes = b"") -> str | None:
    """From `Authorization: Bearer`, `Authorization: Basic` (the key is the user name),
    `X-API-Key`, or the query's `writeKey`.
    """
    for name, value in headers:
        if name == b"authorization":
            key = _authorised(value)
            if key:
                return key
        elif name == b"x-api-key":
            return value.decode("latin-1").strip()
    if b"writeKey" in query:
        return parse_qs(query.decode("latin-1")).get("writeKey", [None])[0]
    return None


@lru_cache(4096)
def _authorised(value: bytes) -> str | None:
    scheme, _, rest = value.decode("latin-1").strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def require(caller: Caller, permission: str) -> Caller:
    if permission not in caller.permissions:
        raise Forbidden(
            f"this key may not do that; it needs the permission '{permission}'",
            required_permission=permission,
            current_permissions=list(caller.permissions),
        )
    return caller


def own_app(caller: Caller) -> UUID:
    """Of one whose permissions are an app's."""
    assert caller.app_id is not None
    return caller.app_id


def check_origin(caller: Caller, origin: str | None) -> None:
    """An app that names its domains takes browser requests from these and their subdomains only."""
    if not caller.authorized_domains or origin is None:
        return
    host = _host(origin)
    if not any(host == d or host.endswith("." + d) for d in caller.authorized_domains):
        raise Forbidden(f"{origin} is not among the app's authorized domains", origin=origin)


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:  # such as a bracket that is not closed
        return ""


async def find_reader(
    request: Request[Any, Any, Any], adapters: NamedDependency[Adapters]
) -> Caller:
    """Dependency `reader`: a secret key, hence an app."""
    return await _found(request, adapters, "read")


async def find_writer(
    request: Request[Any, Any, Any], adapters: NamedDependency[Adapters]
) -> Caller:
    """Dependency `writer`: a secret key, to change what is stored already."""
    return await _found(request, adapters, "write")


async def find_organisation(
    request: Request[Any, Any, Any], adapters: NamedDependency[Adapters]
) -> Caller:
    """Dependency `organisation`: an organisation's key."""
    return await _found(request, adapters, "apps")


async def _found(request: Request[Any, Any, Any], adapters: Adapters, permission: str) -> Caller:
    """Who may not ask is told so first, and not what there is to ask for."""
    caller = await adapters.callers.find(key_in(request.scope["headers"]))
    require(caller, permission)
    check_parameters(request)
    return caller
