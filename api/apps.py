"""Apps and their keys, for the organisation that owns them."""

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from api.shapes import check_body
from api.waiting import MinPosition, caught_up
from commands import apps as commands
from domain.apps import KeyKind, NewApp
from domain.errors import NotCaughtUp, NotFound, Rejected
from domain.limits import MAX_NUMBER, MAX_WAIT_SECONDS
from infrastructure.bootstrap import Adapters
from projections import apps
from projections.apps import Caller

Limit = Annotated[int, QueryParameter(ge=1, le=100)]
Offset = Annotated[int, QueryParameter(ge=0, le=MAX_NUMBER)]


class Pagination(msgspec.Struct, frozen=True, kw_only=True):
    limit: int
    offset: int
    total: int
    has_more: bool


class Apps(msgspec.Struct, frozen=True, kw_only=True):
    apps: list[dict[str, Any]]
    pagination: Pagination
    position: int
    lag_ms: float
    success: bool = True


class App(msgspec.Struct, frozen=True, kw_only=True):
    """`position`: of the log; what the answer includes, or where the write stands."""

    app: dict[str, Any]
    position: int
    success: bool = True


class WantedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    kind: KeyKind
    label: str = ""


class NewKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is shown this once. `usable` false: the keys' read model is behind; it works soon."""

    key_id: UUID
    key: str
    kind: KeyKind
    position: int
    usable: bool
    success: bool = True


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    key_id: UUID
    app_id: UUID | None
    kind: str
    last_four: str
    label: str
    issued_at: datetime
    revoked: bool


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    keys: list[KeyShown]
    position: int
    lag_ms: float
    success: bool = True


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    position: int
    message: str = "the key stops working within 5 seconds of its position's being projected"
    success: bool = True


@post("/v1/apps")
async def create_app(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    organisation: NamedDependency[Caller],
    data: JSONBody[NewApp],
) -> App:
    check_body(await request.body(), NewApp)
    created = await asyncio.to_thread(
        commands.create_app, adapters.streams, adapters.clock, organisation.owner_id, data
    )
    if await _is_applied(adapters, created.position):
        app = await asyncio.to_thread(_app, adapters, organisation, created.id)
    else:
        app = {"id": created.id, **msgspec.to_builtins(data)}
    return App(app=app, position=created.position)


async def _is_applied(adapters: Adapters, position: int) -> bool:
    """Waits for it. What is on the log is done, so a slow read model must not hide the answer:
    asking again would make a second app, and a new key is shown only once.
    """
    try:
        await adapters.following.reached(apps.name, position, seconds=MAX_WAIT_SECONDS)
    except NotCaughtUp:
        return False
    return True


@get("/v1/apps")
async def list_apps(
    adapters: NamedDependency[Adapters],
    organisation: NamedDependency[Caller],
    limit: Limit = 20,
    offset: Offset = 0,
    min_position: MinPosition = None,
) -> Apps:
    standing = await caught_up(adapters, apps.name, min_position)
    found, pagination = await asyncio.to_thread(_page, adapters, organisation, limit, offset)
    return Apps(
        apps=found, pagination=pagination, position=standing.position, lag_ms=standing.lag_ms
    )


def _page(
    adapters: Adapters, organisation: Caller, limit: int, offset: int
) -> tuple[list[dict[str, Any]], Pagination]:
    with adapters.engine.connect() as connection:
        found, total = apps.list_apps(connection, organisation.owner_id, limit=limit, offset=offset)
    more = offset + len(found) < total
    return found, Pagination(limit=limit, offset=offset, total=total, has_more=more)


@get("/v1/apps/{app_id:uuid}")
async def show_app(
    adapters: NamedDependency[Adapters],
    organisation: NamedDependency[Caller],
    app_id: FromPath[UUID],
    min_position: MinPosition = None,
) -> App:
    standing = await caught_up(adapters, apps.name, min_position)
    found = await asyncio.to_thread(_app, adapters, organisation, app_id)
    return App(app=found, position=standing.position)


@post("/v1/apps/{app_id:uuid}/keys")
async def issue_key(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    organisation: NamedDependency[Caller],
    app_id: FromPath[UUID],
    data: JSONBody[WantedKey],
) -> NewKeyAnswer:
    check_body(await request.body(), WantedKey)
    await asyncio.to_thread(_app, adapters, organisation, app_id)
    if data.kind == "organisation":
        raise Rejected("kind", "an app's key is `write`, `secret` or `admin`")
    created = await asyncio.to_thread(_issue, adapters, app_id, data)
    return NewKeyAnswer(
        key_id=created.key_id,
        key=created.key,
        kind=created.kind,
        position=created.position,
        usable=await _is_applied(adapters, created.position),
    )


def _issue(adapters: Adapters, app_id: UUID, wanted: WantedKey) -> commands.CreatedKey:
    return commands.issue_key(
        adapters.streams, adapters.clock, app_id, kind=wanted.kind, label=wanted.label
    )


@get("/v1/apps/{app_id:uuid}/keys")
async def list_keys(
    adapters: NamedDependency[Adapters],
    organisation: NamedDependency[Caller],
    app_id: FromPath[UUID],
    min_position: MinPosition = None,
) -> Keys:
    standing = await caught_up(adapters, apps.name, min_position)
    keys = await asyncio.to_thread(_keys, adapters, organisation, app_id)
    return Keys(keys=keys, position=standing.position, lag_ms=standing.lag_ms)


def _keys(adapters: Adapters, organisation: Caller, app_id: UUID) -> list[KeyShown]:
    _app(adapters, organisation, app_id)
    with adapters.engine.connect() as connection:
        return [KeyShown(**key) for key in apps.list_keys(connection, app_id)]


@delete("/v1/apps/{app_id:uuid}/keys/{key_id:uuid}", status_code=200, sync_to_thread=True)
def revoke_key(
    adapters: NamedDependency[Adapters],
    organisation: NamedDependency[Caller],
    app_id: FromPath[UUID],
    key_id: FromPath[UUID],
) -> Revoked:
    _app(adapters, organisation, app_id)
    position = commands.revoke_key(adapters.streams, adapters.clock, app_id, key_id)
    return Revoked(position=position)


def _app(adapters: Adapters, organisation: Caller, app_id: UUID) -> dict[str, Any]:
    """An app of somebody else is as unknown as one that does not exist."""
    with adapters.engine.connect() as connection:
        found = apps.get_app(connection, organisation.owner_id, app_id)
    if found is None:
        raise NotFound("no such app")
    return found


WRITES = (create_app, issue_key, revoke_key)
READS = (list_apps, show_app, list_keys)
