"""Who is in a segment, since when, and who entered and left; the lists that callers keep."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from sqlalchemy import Connection

from api import cursors
from api.paths import part_of_path
from api.reading import (
    Asked,
    Cursor,
    Limit,
    asked_of_people,
    find_numbers,
    names_meant,
)
from api.segments.asking import (
    asked_of_segments,
    checked_segment,
    definition_of,
    look,
    query_of,
    user_ids,
)
from api.segments.evaluation import Freshness, evaluated, freshness
from api.time_machine import AsOf, KnownAt, read_past
from api.waiting import MinPosition, caught_up
from domain.limits import DEFAULT_PAGE, MAX_NUMBER
from domain.past import NOW
from infrastructure.bootstrap import Adapters
from projections import segment_lists, segments
from projections.apps import Caller
from projections.event_queries import Query
from projections.segment_lists import MemberRow
from projections.segment_members import listed_query

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
After = Annotated[int, QueryParameter(ge=0, le=MAX_NUMBER, description="a position of the log")]


class MemberShown(msgspec.Struct, frozen=True, kw_only=True):
    """`since_*` null where it is asked about the past."""

    user_id: str
    since_at: datetime | None
    since_position: int | None


class Members(msgspec.Struct, frozen=True, kw_only=True):
    members: list[MemberShown]
    cursor: str | None
    freshness: Freshness | None
    position: int
    lag_ms: float
    success: bool = True


class IsMember(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    is_member: bool
    since_at: datetime | None
    since_position: int | None
    freshness: Freshness | None
    position: int
    lag_ms: float
    success: bool = True


class OfUser(msgspec.Struct, frozen=True, kw_only=True):
    segment_id: UUID
    name: str
    kind: str
    since_at: datetime
    since_position: int


class SegmentsOfUser(msgspec.Struct, frozen=True, kw_only=True):
    segments: list[OfUser]
    position: int
    lag_ms: float
    success: bool = True


class ChangeShown(msgspec.Struct, frozen=True, kw_only=True):
    """`user_id` as it is now; null: nobody has the number any more."""

    position: int
    user_id: str | None
    change: Literal["entered", "left"]
    at: datetime
    at_position: int
    cause: str


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    changes: list[ChangeShown]
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


@get(["/v1/segments/{segment_id:uuid}/members", "/v1/audiences/{segment_id:uuid}/members"])
async def list_members(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Members:
    query = cursors.query_of("members", reader.app_number, str(segment_id), known_at, as_of)
    (after,) = cursors.decode_place(cursor, query, tuple[_Number]) or (0,)
    when = await read_past(adapters, known_at, as_of)
    asked = await asked_of_segments(adapters, reader, min_position, when)
    evaluation = await evaluated(asked, min_position, segment_id)
    rows, shown = await asyncio.to_thread(page_of_members, asked, segment_id, after, limit)
    return Members(
        members=shown,
        cursor=cursors.encode_place(query, (rows[-1],)) if len(rows) == limit else None,
        freshness=await freshness(asked, evaluation, segment_id),
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def page_of_members(
    asked: Asked, segment_id: UUID, after: int, limit: int
) -> tuple[list[int], list[MemberShown]]:
    with asked.connected() as connection:
        app = asked.app_number
        if asked.past == NOW:
            checked_segment(segment_lists.find_segment(connection, app, segment_id))
            rows = segment_lists.list_members(connection, app, segment_id, after=after, limit=limit)
        else:
            then = _then(asked, connection, segment_id, after, limit)
            rows = [MemberRow(person, 0, asked.adapters.clock()) for person in then]
        names = user_ids(asked, connection, [row.person for row in rows])
    now = asked.past == NOW
    shown = [
        MemberShown(
            user_id=names[person],
            since_at=since_at if now else None,
            since_position=since_position if now else None,
        )
        for person, since_position, since_at in rows
        if person in names
    ]
    return [row.person for row in rows], shown


def _members_then(asked: Asked, connection: Connection, segment_id: UUID) -> Query:
    """Rows: (person)."""
    looked = look(asked, connection)
    definition = definition_of(looked, segment_id)
    if definition.criteria is not None:
        return query_of(looked, definition.criteria, connection)
    listed = segment_lists.members_then(connection, asked.app_number, segment_id, asked.past)
    return listed_query(listed, asked.app_number, asked.past.known_at)


def _then(
    asked: Asked, connection: Connection, segment_id: UUID, after: int, limit: int
) -> Sequence[int]:
    query = _members_then(asked, connection, segment_id)
    sql = (
        f"SELECT person FROM ({query.sql}) WHERE person > {after:d} ORDER BY person LIMIT {limit:d}"
    )
    return [row[0] for row in asked.ask(query._replace(sql=sql))]


@get(
    [
        "/v1/segments/{segment_id:uuid}/members/{user_id:str}",
        "/v1/audiences/{segment_id:uuid}/members/{user_id:str}",
    ]
)
async def show_member(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    user_id: FromPath[str],
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> IsMember:
    names = names_meant(user_id, "user_id")
    when = await read_past(adapters, known_at, as_of)
    asked = await asked_of_segments(adapters, reader, min_position, when)
    evaluation = await evaluated(asked, min_position, segment_id)
    is_member, found = await asyncio.to_thread(_member, asked, segment_id, names)
    return IsMember(
        user_id=part_of_path(user_id, "user_id"),
        is_member=is_member,
        since_at=found and found.since_at,
        since_position=found and found.since_position,
        freshness=await freshness(asked, evaluation, segment_id),
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def _member(asked: Asked, segment_id: UUID, names: Sequence[str]) -> tuple[bool, MemberRow | None]:
    """Whether, and since when; that not of a past."""
    with asked.connected() as connection:
        app = asked.app_number
        if asked.past != NOW:
            query = _members_then(asked, connection, segment_id)
            numbers = ", ".join(map(str, find_numbers(asked, connection, names)))
            sql = f"SELECT count() > 0 FROM ({query.sql}) WHERE person IN ({numbers})"
            return bool(asked.ask(query._replace(sql=sql))[0][0]), None
        checked_segment(segment_lists.find_segment(connection, app, segment_id))
        rows = segment_lists.find_members(
            connection, app, segment_id, find_numbers(asked, connection, names)
        )
    return bool(rows), min(rows, key=lambda row: row.since_position, default=None)


@get("/v1/users/{user_id:str}/segments")
async def list_segments_of_user(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    min_position: MinPosition = None,
) -> SegmentsOfUser:
    names = names_meant(user_id, "user_id")
    standing = await caught_up(adapters, segments.name, min_position)
    asked = await asked_of_people(adapters, reader, min_position, NOW)
    await evaluated(asked, min_position)
    found = await asyncio.to_thread(_of_user, asked, names)
    return SegmentsOfUser(segments=found, position=standing.position, lag_ms=standing.lag_ms)


def _of_user(asked: Asked, names: Sequence[str]) -> list[OfUser]:
    with asked.connected() as connection:
        numbers = find_numbers(asked, connection, names)
        rows = segment_lists.segments_of(connection, asked.app_number, numbers)
    return [OfUser(**row) for row in rows]


@get(["/v1/segments/{segment_id:uuid}/changes", "/v1/audiences/{segment_id:uuid}/changes"])
async def list_changes(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    after: After = 0,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Changes:
    query = cursors.query_of("changes", reader.app_number, str(segment_id), after)
    found = cursors.decode_place(cursor, query, tuple[_Number, _Number])
    asked = await asked_of_segments(adapters, reader, min_position, NOW)
    await evaluated(asked, min_position, segment_id)
    place = found or (after, 2**31 - 1)
    shown, last = await asyncio.to_thread(_changes, asked, segment_id, place, limit)
    return Changes(
        changes=shown,
        cursor=cursors.encode_place(query, last) if last else None,
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def _changes(
    asked: Asked, segment_id: UUID, after: tuple[int, int], limit: int
) -> tuple[list[ChangeShown], tuple[int, int] | None]:
    with asked.connected() as connection:
        app = asked.app_number
        checked_segment(segment_lists.find_segment(connection, app, segment_id))
        rows = segment_lists.list_changes(connection, app, segment_id, after=after, limit=limit)
        names = user_ids(asked, connection, [row.person for row in rows])
    shown = [
        ChangeShown(
            position=row.position,
            user_id=names.get(row.person),
            change="entered" if row.entered else "left",
            at=row.at,
            at_position=row.at_position,
            cause=row.cause,
        )
        for row in rows
    ]
    return shown, (rows[-1].position, rows[-1].person) if len(rows) == limit else None


READS = (list_members, show_member, list_segments_of_user, list_changes)
