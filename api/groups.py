"""Groups of people, such as companies: what is said of them, and who is in them."""

import asyncio
from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from api import cursors
from api.paths import part_of_path
from api.reading import Asked, Cursor, Limit, asked_of_people
from api.time_machine import AsOf, KnownAt, read_past
from api.waiting import MinPosition
from domain.admission import checked_id
from domain.errors import NotFound
from domain.limits import DEFAULT_PAGE, MAX_ID_CHARS
from domain.past import NOW
from infrastructure.bootstrap import Adapters
from projections.apps import Caller
from projections.people import group_lists, past_groups
from projections.people.group_lists import (
    Group,
    GroupsPage,
    GroupsWanted,
    MembersPage,
    MembersWanted,
)
from projections.people.shown import GroupShown, MemberShown

Type = Annotated[
    str | None,
    QueryParameter(name="type", max_length=MAX_ID_CHARS, description="of this type only"),
]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """`count`: of all that match, on whatever page; `cursor` asks for the next page, null on the
    last.
    """

    groups: list[GroupShown]
    count: int
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


class GroupAnswer(msgspec.Struct, frozen=True, kw_only=True):
    group: GroupShown
    position: int
    lag_ms: float
    success: bool = True


class Members(msgspec.Struct, frozen=True, kw_only=True):
    """`count`: of all, on whatever page; `cursor` asks for the next page, null on the last."""

    members: list[MemberShown]
    count: int
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


@get("/v1/groups")
async def list_groups(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    group_type: Type = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Groups:
    if group_type is not None:
        checked_id(group_type, "type")
    past = await read_past(adapters, known_at, as_of)
    wanted = GroupsWanted(app_number=reader.app_number or 0, group_type=group_type, limit=0)
    query = cursors.query_of("groups", wanted, known_at, as_of)
    after = cursors.decode_place(cursor, query, tuple[_Name, _Name])
    asked = await asked_of_people(adapters, reader, min_position, past)
    wanted = msgspec.structs.replace(wanted, after=after, limit=limit)
    page = await asyncio.to_thread(_groups, asked, wanted)
    last = page.groups[-1] if len(page.groups) == limit else None
    place = None if last is None else (last.group_type, last.group_id)
    return Groups(
        groups=page.groups,
        count=page.total,
        cursor=None if place is None else cursors.encode_place(query, place),
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


@get("/v1/groups/{group_type:str}/{group_id:str}")
async def show_group(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    group_type: FromPath[str],
    group_id: FromPath[str],
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> GroupAnswer:
    group = _named(group_type, group_id)
    past = await read_past(adapters, known_at, as_of)
    asked = await asked_of_people(adapters, reader, min_position, past)
    found = await asyncio.to_thread(_group, asked, group)
    return GroupAnswer(group=found, position=asked.standing.position, lag_ms=asked.standing.lag_ms)


@get("/v1/groups/{group_type:str}/{group_id:str}/members")
async def list_members(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    group_type: FromPath[str],
    group_id: FromPath[str],
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Members:
    group = _named(group_type, group_id)
    past = await read_past(adapters, known_at, as_of)
    query = cursors.query_of("members", reader.app_number, group, known_at, as_of)
    after = cursors.decode_place(cursor, query, _Number) or 0
    asked = await asked_of_people(adapters, reader, min_position, past)
    wanted = MembersWanted(app_number=asked.app_number, group=group, after=after, limit=limit)
    page = await asyncio.to_thread(_members, asked, wanted)
    is_full = len(page.members) == limit
    return Members(
        members=page.members,
        count=page.total,
        cursor=cursors.encode_place(query, page.last) if is_full else None,
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def _named(group_type: str, group_id: str) -> Group:
    """Raises Rejected."""
    return (
        checked_id(part_of_path(group_type, "group_type"), "group_type"),
        checked_id(part_of_path(group_id, "group_id"), "group_id"),
    )


def _groups(asked: Asked, wanted: GroupsWanted) -> GroupsPage:
    if asked.past == NOW:
        with asked.connected() as connection:
            return group_lists.list_groups(connection, wanted)
    with asked.then() as then:
        return past_groups.list_groups(then, wanted)


def _group(asked: Asked, group: Group) -> GroupShown:
    if asked.past == NOW:
        with asked.connected() as connection:
            found = group_lists.find_group(connection, asked.app_number, group)
    else:
        with asked.then() as then:
            found = past_groups.find_group(then, group)
    if found is None:
        raise NotFound("nothing was sent of a group with this type and id")
    return found


def _members(asked: Asked, wanted: MembersWanted) -> MembersPage:
    if asked.past == NOW:
        with asked.connected() as connection:
            page = group_lists.list_members(connection, wanted)
    else:
        with asked.then() as then:
            page = past_groups.list_members(then, wanted)
    if not page.total:
        raise NotFound("nothing was sent of a group with this type and id")
    return page


ROUTES = (list_groups, show_group, list_members)
