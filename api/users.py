"""Who is this person, and which persons there are."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from api import cursors
from api.reading import Asked, Cursor, Limit, asked_of_people, find_named, names_meant, nobody
from api.time_machine import AsOf, KnownAt, read_past
from api.waiting import MinPosition
from api.where import WhereText, read_where
from domain.errors import Rejected
from domain.limits import DEFAULT_PAGE, MAX_ID_CHARS
from domain.past import NOW
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing
from projections.apps import Caller
from projections.people import lists, past, past_lists, profiles
from projections.people.lists import Sort, Wanted
from projections.people.shown import Found, Listed, Page, Profile
from projections.people.trait_conditions import check_traits

Search = Annotated[
    str | None,
    QueryParameter(
        max_length=MAX_ID_CHARS,
        description="how an id begins, or the trait `email`, whose upper and lower case are one",
    ),
]
Order = Annotated[
    Sort,
    QueryParameter(description="newest first; `user_id` by code point"),
]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
_PLACES: dict[Sort, type] = {
    "created": tuple[None, _Number],
    "last_seen": tuple[cursors.Moment | None, _Number],
    "first_seen": tuple[cursors.Moment | None, _Number],
    "user_id": tuple[_Name, _Number],
}


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True):
    user: Profile
    position: int
    lag_ms: float
    success: bool = True


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """`count`: of all that match, on whatever page; `cursor` asks for the next page, null on the
    last.
    """

    users: list[Listed]
    count: int
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


@get("/v1/users/{user_id:str}")
async def show_user(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> UserAnswer:
    names = names_meant(user_id, "user_id")
    when = await read_past(adapters, known_at, as_of)
    asked = await asked_of_people(adapters, reader, min_position, when)
    user = await find_user(asked, names)
    return UserAnswer(user=user, position=asked.standing.position, lag_ms=asked.standing.lag_ms)


@get("/v1/users")
async def list_users(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    where: WhereText = None,
    search: Search = None,
    sort: Order = "created",
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Users:
    conditions = read_where(where, check_traits)
    when = await read_past(adapters, known_at, as_of)
    wanted = Wanted(
        app_number=reader.app_number or 0,
        where=conditions,
        search=_checked(search),
        sort=sort,
        limit=0,
    )
    query = cursors.query_of("users", wanted, known_at, as_of)
    after = cursors.decode_place(cursor, query, _PLACES[sort])
    asked = await asked_of_people(adapters, reader, min_position, when)
    wanted = msgspec.structs.replace(wanted, after=after, limit=limit)
    page = await asyncio.to_thread(_page, asked, wanted)
    return _answer(page, limit, query, asked.standing)


async def find_user(asked: Asked, names: Sequence[str]) -> Profile:
    """The first of the names that is somebody's. Raises NotFound."""
    if asked.past == NOW:
        return await _find_now(asked, names)
    return await asyncio.to_thread(find_named, names, lambda name: find_profile(asked, name))


async def _find_now(asked: Asked, names: Sequence[str]) -> Profile:
    for name in names:
        given = {"app": asked.app_number, "id": name}
        (row,) = await asked.adapters.reads.all(profiles.PROFILE, given)
        found = profiles.read(row)
        if found is not None:
            others = await asyncio.to_thread(_ids_of, asked, found.missing) if found.missing else {}
            return found.profile(others)
    raise nobody()


def _ids_of(asked: Asked, numbers: set[int]) -> Mapping[int, str]:
    with asked.connected() as connection:
        return profiles.find_ids(connection, asked.app_number, numbers)


def find_profile(asked: Asked, name: str) -> Profile | None:
    if asked.past == NOW:
        with asked.connected() as connection:
            return profiles.find_profile(connection, asked.app_number, name)
    with asked.then() as then:
        return past.find_profile(then, name)


def _page(asked: Asked, wanted: Wanted) -> Page:
    if asked.past == NOW:
        with asked.connected() as connection:
            return lists.list_persons(connection, wanted)
    with asked.then() as then:
        return past_lists.list_persons(then, wanted)


def _checked(search: str | None) -> str | None:
    if search is not None and not search.isprintable():
        raise Rejected("search", "holds characters that do not print, which no id has")
    return search


def _answer(page: Page, limit: int, query: bytes, standing: Standing) -> Users:
    cursor = None
    if len(page.found) == limit:
        last: Found = page.found[-1]
        cursor = cursors.encode_place(query, (last.key, last.person))
    return Users(
        users=[found.listed for found in page.found],
        count=page.total,
        cursor=cursor,
        position=standing.position,
        lag_ms=standing.lag_ms,
    )


ROUTES = (show_user, list_users)
