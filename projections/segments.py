"""Segments: their definitions, now and before, who is in them, and who entered and left when."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import Insert, distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert

from domain.conditions.tree import Tree
from domain.segments import (
    SegmentCreated,
    SegmentDeleted,
    SegmentEntered,
    SegmentLeft,
    SegmentUpdated,
)
from projections import apps
from projections.array_rows import arrays, columns, each
from projections.memberships import COLUMNS as MOVED
from projections.memberships import Row as Moved
from projections.projection import Recorded

name = "segments"
version = 2
metadata = MetaData(schema=name)

segments = Table(
    "segments",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("segment_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_position", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    Column("updated_position", BigInteger, nullable=False),
    Column("deleted_position", BigInteger),
    Column("members", BigInteger, nullable=False),
    Column("membership_version", BigInteger, nullable=False),
)
definitions = Table(
    "definitions",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("segment_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("criteria", Text),  # JSON; None: a static list
    Column("is_deleted", Boolean, nullable=False),
)
members = Table(
    "members",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("segment_id", Uuid, primary_key=True),
    Column("person", Integer, primary_key=True),
    Column("since_position", BigInteger, nullable=False),
    Column("since_at", DateTime(timezone=True), nullable=False),
    Index("members_by_person", "app_number", "person"),
)
changes = Table(
    "changes",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("segment_id", Uuid, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("person", Integer, primary_key=True),
    Column("at_position", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("entered", Boolean, nullable=False),
    Column("cause", Text, nullable=False),
    Index("changes_by_position", "position"),
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Tree).decode
_TOPICS = (SegmentCreated, SegmentUpdated, SegmentDeleted, SegmentEntered, SegmentLeft)


class Definition(NamedTuple):
    segment_id: UUID
    version: int
    kind: str
    name: str
    criteria: Tree | None
    description: str = ""


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    told = [recorded for recorded in page if isinstance(recorded.event, _TOPICS)]
    if not told:
        return
    numbers = apps.numbers(connection)
    for recorded in told:
        app = numbers.get(recorded.event.app_id)  # type: ignore[attr-defined]  # all of them have one
        if app is not None:
            _apply(connection, app, recorded)


def _apply(connection: Connection, app: int, recorded: Recorded) -> None:
    event = recorded.event
    match event:
        case SegmentCreated() | SegmentUpdated():
            _define(connection, app, recorded.position, event)
        case SegmentDeleted():
            _delete(connection, app, recorded.position, event)
        case SegmentEntered() | SegmentLeft():
            _move(connection, app, recorded.position, event)


def _define(
    connection: Connection, app: int, position: int, event: SegmentCreated | SegmentUpdated
) -> None:
    of = {"app_number": app, "segment_id": event.originator_id}
    given = {"kind": event.kind, "name": event.name, "version": event.originator_version}
    row = given | {"updated_at": event.occurred_at, "updated_position": position}
    if isinstance(event, SegmentCreated):
        made = {"created_at": event.occurred_at, "created_position": position}
        new = of | row | made | {"members": 0, "membership_version": 0}
        connection.execute(upsert(segments).values(new).on_conflict_do_nothing())
    else:
        newer = segments.c.version < event.originator_version
        connection.execute(update(segments).where(*_is(segments, of), newer).values(**row))
    criteria = None if event.criteria is None else _encode(event.criteria).decode()
    told = {"position": position, "description": event.description, "criteria": criteria}
    row = of | given | told | {"is_deleted": False}
    connection.execute(upsert(definitions).values(row).on_conflict_do_nothing())


def _delete(connection: Connection, app: int, position: int, event: SegmentDeleted) -> None:
    of = {"app_number": app, "segment_id": event.originator_id}
    gone = list(
        connection.execute(
            delete(members).where(*_is(members, of)).returning(members.c.person)
        ).scalars()
    )
    if gone:
        at = {"position": position, "at_position": position, "at": event.occurred_at}
        rows = [of | at | {"person": one, "entered": False, "cause": "deleted"} for one in gone]
        connection.execute(insert(changes), rows)
    connection.execute(
        update(segments)
        .where(*_is(segments, of), segments.c.deleted_position.is_(None))
        .values(version=event.originator_version, deleted_position=position, members=0)
    )
    row = of | {"version": event.originator_version, "position": position, "is_deleted": True}
    row |= {"kind": "", "name": "", "description": ""}
    connection.execute(upsert(definitions).values(row).on_conflict_do_nothing())


def _move(
    connection: Connection, app: int, position: int, event: SegmentEntered | SegmentLeft
) -> None:
    of = {"app_number": app, "segment_id": event.segment_id}
    entered = isinstance(event, SegmentEntered)
    there = select(segments.c.version).where(
        *_is(segments, of),
        segments.c.deleted_position.is_(None),
        segments.c.membership_version < event.originator_version,
    )
    if connection.execute(there).first() is None:
        return
    given = columns([event.persons], "person")
    if entered:
        enter = _for_each(members, of | {"since_position": position, "since_at": event.at})
        enter = enter.on_conflict_do_nothing()
        found = connection.execute(enter.returning(members.c.person), given)
    else:
        left = delete(members).where(*_is(members, of), members.c.person.in_(event.persons))
        found = connection.execute(left.returning(members.c.person))
    moved = list(found.scalars())
    if moved:
        row = of | {"position": position, "at_position": event.at_position, "at": event.at}
        row |= {"entered": entered, "cause": event.cause}
        connection.execute(_for_each(changes, row), columns([tuple(moved)], "person"))
    count = segments.c.members + (len(moved) if entered else -len(moved))
    connection.execute(
        update(segments)
        .where(*_is(segments, of))
        .values(members=count, membership_version=event.originator_version)
    )


def _for_each(table: Table, row: dict[str, Any]) -> Insert:
    """Inserts the row for each person that is given: there may be a thousand."""
    values = [literal(value, table.c[name].type) for name, value in row.items()]
    return upsert(table).from_select([*row, "person"], select(*values, _given.c.person))


def _is(table: Table, of: dict[str, Any]) -> list[ColumnElement[bool]]:
    return [table.c[key] == value for key, value in of.items()]


# --- questions -----------------------------------------------------------------------------------


def find_definitions(
    connection: Connection, app_number: int, at: int | None = None
) -> dict[UUID, Definition]:
    """Those that there are, or were at that position of the log."""
    d = definitions.c
    query = (
        select(definitions)
        .ext(distinct_on(d.segment_id))
        .where(d.app_number == app_number)
        .order_by(d.segment_id, d.version.desc())
    )
    if at is not None:
        query = query.where(d.position <= at)
    return {
        row.segment_id: Definition(
            row.segment_id,
            row.version,
            row.kind,
            row.name,
            None if row.criteria is None else _decode(row.criteria),
            row.description,
        )
        for row in connection.execute(query)
        if not row.is_deleted
    }


def apps_with_live(connection: Connection) -> list[int]:
    s = segments.c
    query = select(s.app_number).distinct().where(s.kind == "live", s.deleted_position.is_(None))
    return sorted(connection.execute(query).scalars())


def membership_versions(connection: Connection, app_number: int) -> dict[UUID, int]:
    s = segments.c
    query = select(s.segment_id, s.membership_version).where(s.app_number == app_number)
    return {row.segment_id: row.membership_version for row in connection.execute(query)}


def current_members(connection: Connection, app_number: int, segment_id: UUID) -> set[int]:
    query = select(members.c.person).where(
        members.c.app_number == app_number, members.c.segment_id == segment_id
    )
    return set(connection.execute(query).scalars())


def memberships(
    connection: Connection, app_number: int, persons: Collection[int]
) -> dict[UUID, set[int]]:
    """Segment -> those of these persons that are in it."""
    if not persons:
        return {}
    given = columns([tuple(persons)], "person") | {"app": app_number}
    rows = connection.execute(_MEMBERSHIPS, given)
    return {row.segment_id: set(row.persons) for row in rows}


_given = arrays(person=Integer())
_theirs = each(
    _given,
    select(members.c.segment_id, members.c.person).where(
        members.c.app_number == bindparam("app"), members.c.person == _given.c.person
    ),
).subquery()
_MEMBERSHIPS = select(
    _theirs.c.segment_id, func.jsonb_agg(_theirs.c.person).label("persons")
).group_by(_theirs.c.segment_id)


class Change(NamedTuple):
    segment_id: UUID
    position: int
    person: int
    entered: bool


def moved_between(connection: Connection, after: int, upto: int) -> Iterator[Moved]:
    """Of all apps, in the order of the log."""
    if upto <= after:
        return
    c = changes.c
    query = (
        select(*(c[name] for name in MOVED))
        .where(c.position > after, c.position <= upto)
        .order_by(c.position)
    )
    for row in connection.execute(query.execution_options(yield_per=10_000)):
        yield Moved(*row)


def find_changes(
    connection: Connection, app_number: int, segment_id: UUID, after: int
) -> list[Change]:
    """In the order of the log."""
    c = changes.c
    query = (
        select(c.segment_id, c.position, c.person, c.entered)
        .where(c.app_number == app_number, c.segment_id == segment_id, c.position > after)
        .order_by(c.position)
    )
    return [Change(*row) for row in connection.execute(query)]
