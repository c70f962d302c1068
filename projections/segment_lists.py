"""Segments as they are shown: lists of them, of their members, of who entered and left."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    ScalarSelect,
    Select,
    case,
    exists,
    func,
    select,
)

from domain.past import Past
from projections.people.tables import distinct_ids
from projections.segments import changes, definitions, members, segments


class Shown(NamedTuple):
    segment_id: UUID
    kind: str
    name: str
    description: str
    criteria: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    members: int


def _shown(app_number: int) -> Select[Any]:
    s, d = segments.c, definitions.c
    of = (d.app_number == s.app_number) & (d.segment_id == s.segment_id) & (d.version == s.version)
    names = (d.description, d.criteria, s.version, s.created_at, s.updated_at)
    # From a live one a number leaves when another person has it; a list keeps what was added.
    persons = case((s.kind == "static", s.members - _doubled()), else_=s.members)
    return (
        select(s.segment_id, s.kind, s.name, *names, persons.label("members"))
        .join(definitions, of)
        .where(s.app_number == app_number, s.deleted_position.is_(None))
    )


def _doubled() -> ScalarSelect[int]:
    """How many numbers of the list are there beside another one of the same person."""
    m, d, s = members.alias("listed"), distinct_ids.alias("whose"), segments.c
    return (
        select(func.count())
        .select_from(m)
        .join(d, (d.c.app_number == m.c.app_number) & (d.c.number == m.c.person))
        .where(
            m.c.app_number == s.app_number,
            m.c.segment_id == s.segment_id,
            d.c.person < d.c.number,
            ~_is_first(m, d),
        )
        .correlate(segments)
        .scalar_subquery()
    )


def _is_first(m: FromClause, d: FromClause) -> ColumnElement[bool]:
    """Of a number `m` of a segment, whose person `d` tells: no lower one of the person is in it."""
    others, ids = members.alias("others"), distinct_ids.alias("theirs")
    lower = (
        select(others.c.person)
        .join(ids, (ids.c.app_number == others.c.app_number) & (ids.c.number == others.c.person))
        .where(
            ids.c.app_number == m.c.app_number,
            ids.c.person == d.c.person,
            ids.c.number < d.c.number,
            others.c.segment_id == m.c.segment_id,
        )
    )
    return ~exists(lower.correlate(m, d))


def find_segment(connection: Connection, app_number: int, segment_id: UUID) -> Shown | None:
    query = _shown(app_number).where(segments.c.segment_id == segment_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else Shown(*row)


def list_segments(
    connection: Connection,
    app_number: int,
    *,
    search: str | None,
    after: tuple[int, ...] | None,
    limit: int,
) -> tuple[list[tuple[int, Shown]], int]:
    """Newest first, each with the place to go on from; and how many there are in all. `search`: a
    part of the name, in whatever case.
    """
    query = _shown(app_number).add_columns(segments.c.created_position)
    if search is not None:
        query = query.where(func.lower(segments.c.name).contains(search.lower(), autoescape=True))
    counted = select(func.count()).select_from(query.subquery())
    total = int(connection.execute(counted).scalar_one())
    if after is not None:
        query = query.where(segments.c.created_position < after[0])
    rows = connection.execute(query.order_by(segments.c.created_position.desc()).limit(limit))
    return [(row[-1], Shown(*row[:-1])) for row in rows], total


class MemberRow(NamedTuple):
    person: int
    since_position: int
    since_at: datetime


def list_members(
    connection: Connection, app_number: int, segment_id: UUID, *, after: int, limit: int
) -> list[MemberRow]:
    """By number. A person of whom a list has several is told of once, at the lowest of them, with
    the entry that was made first.
    """
    m, d = members.alias("listed"), distinct_ids.alias("whose")
    query = (
        select(m.c.person, m.c.since_position, m.c.since_at, d.c.person.label("of"))
        .join(d, (d.c.app_number == m.c.app_number) & (d.c.number == m.c.person))
        .where(m.c.app_number == app_number, m.c.segment_id == segment_id, m.c.person > after)
        .where((d.c.person == d.c.number) | _is_first(m, d))
        .order_by(m.c.person)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    first = _first_entries(connection, app_number, segment_id, [row.of for row in rows])
    return [MemberRow(row.person, *first[row.of]) for row in rows]


def _first_entries(
    connection: Connection, app_number: int, segment_id: UUID, persons: Sequence[int]
) -> dict[int, tuple[int, datetime]]:
    m, d = members.c, distinct_ids.c
    query = (
        select(d.person, func.min(m.since_position), func.min(m.since_at))
        .join(distinct_ids, (d.app_number == m.app_number) & (d.number == m.person))
        .where(m.app_number == app_number, m.segment_id == segment_id, d.person.in_(persons))
        .group_by(d.person)
    )
    return {person: (position, at) for person, position, at in connection.execute(query)}


def find_members(
    connection: Connection, app_number: int, segment_id: UUID, numbers: Sequence[int]
) -> list[MemberRow]:
    m = members.c
    query = (
        select(m.person, m.since_position, m.since_at)
        .where(m.app_number == app_number, m.segment_id == segment_id, m.person.in_(numbers))
        .order_by(m.person)
    )
    return [MemberRow(*row) for row in connection.execute(query)]


def segments_of(
    connection: Connection, app_number: int, numbers: Sequence[int]
) -> list[Mapping[str, Any]]:
    """Those that a person with these numbers is in, with since when, by name."""
    m, s = members.c, segments.c
    query = (
        select(
            m.segment_id,
            s.name,
            s.kind,
            func.min(m.since_position).label("since_position"),
            func.min(m.since_at).label("since_at"),
        )
        .join(segments, (s.app_number == m.app_number) & (s.segment_id == m.segment_id))
        .where(m.app_number == app_number, m.person.in_(numbers))
        .group_by(m.segment_id, s.name, s.kind)
        .order_by(s.name, m.segment_id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


class ChangeRow(NamedTuple):
    position: int
    person: int
    entered: bool
    at: datetime
    at_position: int
    cause: str


def list_changes(
    connection: Connection,
    app_number: int,
    segment_id: UUID,
    *,
    after: tuple[int, int],
    limit: int,
) -> list[ChangeRow]:
    """In the order of the log. `after`: position and person."""
    c = changes.c
    place = (c.position > after[0]) | ((c.position == after[0]) & (c.person > after[1]))
    query = (
        select(c.position, c.person, c.entered, c.at, c.at_position, c.cause)
        .where(c.app_number == app_number, c.segment_id == segment_id, place)
        .order_by(c.position, c.person)
        .limit(limit)
    )
    return [ChangeRow(*row) for row in connection.execute(query)]


def members_then(
    connection: Connection, app_number: int, segment_id: UUID, past: Past
) -> list[int]:
    """Who was in a static list: what had been changed by then, from the list of changes."""
    c = changes.c
    query = select(c.person, c.entered).where(
        c.app_number == app_number, c.segment_id == segment_id
    )
    if past.known_at is not None:
        query = query.where(c.position <= past.known_at)
    if past.as_of is not None:
        query = query.where(c.at <= past.as_of)
    last = {row.person: row.entered for row in connection.execute(query.order_by(c.position))}
    return sorted(person for person, is_in in last.items() if is_in)
