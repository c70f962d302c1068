"""What was said of a person: links of their ids, and operations on their traits."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from api import cursors
from api.reading import Asked, Cursor, Limit, asked_of_people, find_named, find_numbers, names_meant
from api.time_machine import AsOf, KnownAt, read_past
from api.users import find_profile
from api.waiting import MinPosition
from domain.limits import DEFAULT_PAGE, MAX_KEY_CHARS, MAX_NUMBER
from infrastructure.bootstrap import Adapters
from projections.apps import Caller
from projections.people.shown import IdShown, Profile
from projections.people.spoken import (
    LinkPlace,
    LinkSaid,
    LinksWanted,
    OperationsWanted,
    TraitPlace,
    TraitSaid,
    list_links,
    list_operations,
)

TraitName = Annotated[
    str | None, QueryParameter(max_length=MAX_KEY_CHARS, description="of this trait only")
]
_Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Aliases(msgspec.Struct, frozen=True, kw_only=True):
    """`ids`: as in a profile. `history`: what was said of their links, newest first; `cursor` asks
    for the next page of it, null on the last.
    """

    user_id: str
    ids: list[IdShown]
    ids_total: int
    history: list[LinkSaid]
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


class TraitHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first by the operations' own times; `cursor` asks for the next page, null on the
    last.
    """

    history: list[TraitSaid]
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


@get("/v1/users/{user_id:str}/aliases")
async def list_aliases(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Aliases:
    names = names_meant(user_id, "user_id")
    when = await read_past(adapters, known_at, as_of)
    query = cursors.query_of("aliases", reader.app_number, names, known_at, as_of)
    found = cursors.decode_place(cursor, query, tuple[_Position, _Number, _Number])
    after = None if found is None else LinkPlace(*found)
    asked = await asked_of_people(adapters, reader, min_position, when)
    profile, links = await asyncio.to_thread(_aliases, asked, names, after, limit)
    return Aliases(
        user_id=profile.user_id,
        ids=profile.ids,
        ids_total=profile.ids_total,
        history=[link for _, link in links],
        cursor=_cursor(links, limit, query),
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


@get("/v1/users/{user_id:str}/history")
async def list_trait_history(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    trait: TraitName = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> TraitHistory:
    names = names_meant(user_id, "user_id")
    when = await read_past(adapters, known_at, as_of)
    query = cursors.query_of("history", reader.app_number, names, trait, known_at, as_of)
    found = cursors.decode_place(cursor, query, tuple[cursors.Moment, bytes, _Number])
    after = None if found is None else TraitPlace(*found)
    asked = await asked_of_people(adapters, reader, min_position, when)
    told = await asyncio.to_thread(_operations, asked, names, trait, after, limit)
    return TraitHistory(
        history=[one for _, one in told],
        cursor=_cursor(told, limit, query),
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def _aliases(
    asked: Asked, names: Sequence[str], after: LinkPlace | None, limit: int
) -> tuple[Profile, list[tuple[LinkPlace, LinkSaid]]]:
    profile = find_named(names, lambda name: find_profile(asked, name))
    with asked.connected() as connection:
        numbers = find_numbers(asked, connection, names)
        wanted = LinksWanted(asked.app_number, numbers, asked.past.known_at, after, limit)
        return profile, list_links(connection, wanted)


def _operations(
    asked: Asked, names: Sequence[str], trait: str | None, after: TraitPlace | None, limit: int
) -> list[tuple[TraitPlace, TraitSaid]]:
    with asked.connected() as connection:
        numbers = find_numbers(asked, connection, names)
        wanted = OperationsWanted(asked.app_number, numbers, asked.past, trait, after, limit)
        return list_operations(connection, wanted)


def _cursor(told: Sequence[tuple[object, object]], limit: int, query: bytes) -> str | None:
    return cursors.encode_place(query, told[-1][0]) if len(told) == limit else None


ROUTES = (list_aliases, list_trait_history)
