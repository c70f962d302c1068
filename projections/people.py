"""Distinct ids, densely numbered, and the traits said with each of them.

Every id that a message mentions gets the app's next number, in log order: deterministic, so
every rebuild gives the same numbers, and small, so bitmaps of them are. A trait is a
last-writer-wins register per distinct id, ordered by (timestamp, position).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
    cast,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.selectable import TableValuedAlias
from sqlalchemy.types import TypeEngine

from domain.tracking import Aliased, Identified, Message
from projections import apps
from projections.projection import Recorded

name = "people"
version = 1
metadata = MetaData(schema=name)

distinct_ids = Table(
    "distinct_ids",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("distinct_id", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("messages", BigInteger, nullable=False),  # sent with this id
    Column("first_seen", DateTime(timezone=True)),  # by the event's own time
    Column("last_seen", DateTime(timezone=True)),
    UniqueConstraint("app_number", "number"),
)
traits = Table(
    "traits",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("trait", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON as received
    Column("timestamp", DateTime(timezone=True), nullable=False),
    Column("position", BigInteger, nullable=False),
)

Id = tuple[int, str]  # app number, distinct id
_decode_traits = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Seen(NamedTuple):
    """`messages` 0: mentioned only, by an alias or beside a known id."""

    messages: int = 0
    first: datetime | None = None
    last: datetime | None = None

    def at(self, timestamp: datetime) -> "_Seen":
        return _Seen(
            self.messages + 1,
            timestamp if self.first is None or timestamp < self.first else self.first,
            timestamp if self.last is None or timestamp > self.last else self.last,
        )


class _Trait(NamedTuple):
    timestamp: datetime
    position: int
    value: str


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    messages = list(_messages(page, apps.numbers(connection)))
    if not messages:
        return
    seen = _seen(messages)
    known = find_numbers(connection, list(seen))
    numbers = known | _next_numbers(connection, [key for key in seen if key not in known])
    _store_ids(connection, seen, numbers)
    _store_traits(connection, _newest_traits(messages), numbers)


def _messages(
    page: Sequence[Recorded], app_numbers: dict[UUID, int]
) -> Iterator[tuple[int, int, Message]]:
    """(app number, position, message). Messages of an app that does not exist can't be sent."""
    for recorded in page:
        event = recorded.event
        if isinstance(event, Message) and recorded.app_id is not None:
            app = app_numbers.get(recorded.app_id)
            if app is not None:
                yield app, recorded.position, event


def _seen(messages: Sequence[tuple[int, int, Message]]) -> dict[Id, _Seen]:
    """In the order of first mention, which is the order of their numbers."""
    seen: dict[Id, _Seen] = {}
    for app, _, message in messages:
        sender = (app, message.distinct_id)
        seen[sender] = seen.get(sender, _Seen()).at(message.timestamp)
        for other in _also_mentioned(message):
            seen.setdefault((app, other), _Seen())
    return seen


def _also_mentioned(message: Message) -> Iterator[str]:
    if message.user_id and message.anonymous_id:
        yield message.anonymous_id
    if isinstance(message, Aliased):
        yield message.previous_id


def _newest_traits(
    messages: Sequence[tuple[int, int, Message]],
) -> dict[tuple[Id, str], _Trait]:
    newest: dict[tuple[Id, str], _Trait] = {}
    for app, position, message in messages:
        if not isinstance(message, Identified):
            continue
        for trait, value in _decode_traits(message.traits).items():
            key = ((app, message.distinct_id), trait)
            register = _Trait(message.timestamp, position, bytes(value).decode())
            newest[key] = max(register, newest.get(key, register))
    return newest


def find_numbers(connection: Connection, ids: Sequence[Id]) -> dict[Id, int]:
    """The numbers of those ids that have one."""
    if not ids:
        return {}
    rows = connection.execute(_FIND, _columns(zip(*ids, strict=True), "app_number", "distinct_id"))
    return {(row.app_number, row.distinct_id): row.number for row in rows}


def _next_numbers(connection: Connection, ids: Sequence[Id]) -> dict[Id, int]:
    numbers: dict[Id, int] = {}
    last: dict[int, int] = {}
    for key in ids:
        app = key[0]
        if app not in last:
            last[app] = connection.execute(_LAST_NUMBER, {"app": app}).scalar_one()
        last[app] += 1
        numbers[key] = last[app]
    return numbers


def _store_ids(connection: Connection, seen: dict[Id, _Seen], numbers: dict[Id, int]) -> None:
    rows = zip(*((*key, numbers[key], *value) for key, value in seen.items()), strict=True)
    connection.execute(_UPSERT_ID, _columns(rows, *_ID_COLUMNS))


def _store_traits(
    connection: Connection, newest: dict[tuple[Id, str], _Trait], numbers: dict[Id, int]
) -> None:
    if not newest:
        return
    rows = (
        (key[0], numbers[key], trait, value.value, value.timestamp, value.position)
        for (key, trait), value in newest.items()
    )
    connection.execute(_UPSERT_TRAIT, _columns(zip(*rows, strict=True), *_TRAIT_COLUMNS))


def _columns(values: Iterator[tuple[Any, ...]], *names: str) -> dict[str, str]:
    return {name: _literal(column) for name, column in zip(names, values, strict=True)}


def _literal(values: Sequence[Any]) -> str:
    """An array in Postgres' text form. The driver's own way visits each element with several
    regular expressions, which was two thirds of the cost of a page.
    """
    match values[0]:
        case str():
            return _quoted(values)
        case datetime() | None:
            return "{" + ",".join(["NULL" if v is None else v.isoformat() for v in values]) + "}"
        case _:
            return "{" + ",".join(map(str, values)) + "}"


def _quoted(values: Sequence[str]) -> str:
    joined = "".join(values)
    if "\\" in joined or '"' in joined:
        values = [v.replace("\\", "\\\\").replace('"', '\\"') for v in values]
    return '{"' + '","'.join(values) + '"}'


def _arrays(**types: TypeEngine[Any]) -> TableValuedAlias:
    """Rows from one array parameter a column: one statement whatever the number of rows."""
    arrays = [cast(bindparam(name, type_=Text()), ARRAY(kind)) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*types, name="given").render_derived()


_TIME = DateTime(timezone=True)
_ID_COLUMNS = ("app_number", "distinct_id", "number", "messages", "first_seen", "last_seen")
_TRAIT_COLUMNS = ("app_number", "number", "trait", "value", "timestamp", "position")

_wanted = _arrays(app_number=Integer(), distinct_id=Text())
_FIND = select(distinct_ids.c.app_number, distinct_ids.c.distinct_id, distinct_ids.c.number).join(
    _wanted,
    (distinct_ids.c.app_number == _wanted.c.app_number)
    & (distinct_ids.c.distinct_id == _wanted.c.distinct_id),
)
_LAST_NUMBER = select(func.coalesce(func.max(distinct_ids.c.number), 0)).where(
    distinct_ids.c.app_number == bindparam("app")
)

_ids = insert(distinct_ids).from_select(
    _ID_COLUMNS,
    select(
        *_arrays(
            app_number=Integer(),
            distinct_id=Text(),
            number=Integer(),
            messages=BigInteger(),
            first_seen=_TIME,
            last_seen=_TIME,
        ).c
    ),
)
_UPSERT_ID = _ids.on_conflict_do_update(
    index_elements=["app_number", "distinct_id"],
    set_={
        "messages": distinct_ids.c.messages + _ids.excluded.messages,
        "first_seen": func.least(distinct_ids.c.first_seen, _ids.excluded.first_seen),
        "last_seen": func.greatest(distinct_ids.c.last_seen, _ids.excluded.last_seen),
    },
)

_traits = insert(traits).from_select(
    _TRAIT_COLUMNS,
    select(
        *_arrays(
            app_number=Integer(),
            number=Integer(),
            trait=Text(),
            value=Text(),
            timestamp=_TIME,
            position=BigInteger(),
        ).c
    ),
)
_UPSERT_TRAIT = _traits.on_conflict_do_update(
    index_elements=["app_number", "number", "trait"],
    set_={column: _traits.excluded[column] for column in ("value", "timestamp", "position")},
    where=tuple_(_traits.excluded.timestamp, _traits.excluded.position)
    > tuple_(traits.c.timestamp, traits.c.position),
)


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """`traits`: name -> {value, timestamp, position}; `messages`: how many the id has sent."""

    number: int
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None
    traits: dict[str, dict[str, Any]]


def find_profile(connection: Connection, app_number: int, distinct_id: str) -> Profile | None:
    of_id = (distinct_ids.c.app_number == app_number) & (distinct_ids.c.distinct_id == distinct_id)
    row = connection.execute(select(distinct_ids).where(of_id)).one_or_none()
    if row is None:
        return None
    return Profile(
        number=row.number,
        messages=row.messages,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        traits=_traits_of(connection, app_number, row.number),
    )


def _traits_of(connection: Connection, app_number: int, number: int) -> dict[str, dict[str, Any]]:
    of_number = (traits.c.app_number == app_number) & (traits.c.number == number)
    rows = connection.execute(select(traits).where(of_number).order_by(traits.c.trait))
    return {
        row.trait: {
            "value": msgspec.json.decode(row.value),
            "timestamp": row.timestamp,
            "position": row.position,
        }
        for row in rows
    }
