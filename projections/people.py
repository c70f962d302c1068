"""Distinct ids, densely numbered, and the traits said with each of them.

Every id that a message mentions gets the app's next number, in log order: deterministic, so
every rebuild gives the same numbers, and small, so bitmaps of them are. A trait is a
last-writer-wins register per distinct id, ordered by (timestamp, position).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
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
    update,
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
    postgresql_with={"fillfactor": 70},  # counting in place: no index entry is written for it
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
_GROUP = 10_000  # numbers in one row of find_many_numbers
_decode_traits = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Seen:
    """`messages` 0: mentioned only, by an alias or beside a known id."""

    __slots__ = ("first", "last", "messages")

    def __init__(self, messages: int = 0, at: datetime | None = None) -> None:
        self.messages = messages
        self.first = at
        self.last = at

    def again(self, at: datetime) -> None:
        self.messages += 1
        if self.first is None or at < self.first:
            self.first = at
        if self.last is None or at > self.last:
            self.last = at


class _Trait(NamedTuple):
    timestamp: datetime
    position: int
    value: str


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    messages = list(_messages(page, apps.numbers(connection)))
    if not messages:
        return
    seen = _seen(messages)
    _number(connection, _count(connection, seen))
    _store_traits(connection, _newest_traits(messages))


def _messages(
    page: Sequence[Recorded], app_numbers: dict[UUID, int]
) -> Iterator[tuple[int, int, Message]]:
    """(app number, position, message). Messages of an app that does not exist can't be sent."""
    by_integer = {app_id.int: number for app_id, number in app_numbers.items()}  # hashes faster
    for recorded in page:
        event = recorded.event
        if isinstance(event, Message) and recorded.app_id is not None:
            app = by_integer.get(recorded.app_id.int)
            if app is not None:
                yield app, recorded.position, event


def _seen(messages: Sequence[tuple[int, int, Message]]) -> dict[Id, _Seen]:
    """In the order of first mention, which is the order of their numbers."""
    seen: dict[Id, _Seen] = {}
    for app, _, message in messages:
        sender = (app, message.user_id or message.anonymous_id or "")
        known = seen.get(sender)
        if known is None:
            seen[sender] = _Seen(1, message.timestamp)
        else:
            known.again(message.timestamp)
        if message.anonymous_id or isinstance(message, Aliased):
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
    connection.execute(_BY_INDEX)
    rows = connection.execute(_FIND, _columns(zip(*ids, strict=True), "app_number", "distinct_id"))
    return {(row.app_number, row.distinct_id): row.number for row in rows}


def find_many_numbers(connection: Connection, most: int) -> list[tuple[int, list[str], list[int]]]:
    """App number, ids, and the number of each; of at most so many ids altogether. Each takes a
    hundredth of the time of `find_numbers`.
    """
    columns = (distinct_ids.c.app_number, distinct_ids.c.distinct_id, distinct_ids.c.number)
    some = select(*columns).limit(most).subquery()
    query = select(
        some.c.app_number, func.array_agg(some.c.distinct_id), func.array_agg(some.c.number)
    ).group_by(some.c.app_number, some.c.number / _GROUP)
    return [(app, ids, numbers) for app, ids, numbers in connection.execute(query)]


def _count(connection: Connection, seen: dict[Id, _Seen]) -> dict[Id, _Seen]:
    """Adds to the ids that are there, and gives back the others."""
    connection.execute(_BY_INDEX)
    given = _columns(zip(*_id_rows(seen), strict=True), *_COUNT_COLUMNS)
    unknown = set(connection.execute(_COUNT, given | {"count": len(seen)}).scalars())
    if not unknown:
        return {}
    return {key: seen[key] for n, key in enumerate(seen, start=1) if n in unknown}


def _id_rows(seen: dict[Id, _Seen]) -> Iterator[tuple[Any, ...]]:
    for (app, distinct_id), value in seen.items():
        yield app, distinct_id, value.messages, value.first, value.last


def _number(connection: Connection, new: dict[Id, _Seen]) -> None:
    """Stores ids that were never seen, each with its app's next number."""
    if not new:
        return
    last: dict[int, int] = {}
    numbers = []
    for app, _ in new:
        if app not in last:
            last[app] = connection.execute(_LAST_NUMBER, {"app": app}).scalar_one()
        last[app] += 1
        numbers.append(last[app])
    given = _columns(zip(*_id_rows(new), strict=True), *_COUNT_COLUMNS)
    connection.execute(_NEW_IDS, given | {"given_number": _literal(numbers)})


def _store_traits(connection: Connection, newest: dict[tuple[Id, str], _Trait]) -> None:
    if not newest:
        return
    numbers = find_numbers(connection, list({key for key, _ in newest}))
    rows = (
        (key[0], numbers[key], trait, value.value, value.timestamp, value.position)
        for (key, trait), value in newest.items()
    )
    connection.execute(_UPSERT_TRAIT, _columns(zip(*rows, strict=True), *_TRAIT_COLUMNS))


@lru_cache(maxsize=20_000)
def _time(value: datetime | None) -> str:
    """The same moment comes twice for whoever is on a page once, and often with others."""
    return "NULL" if value is None else value.isoformat()


def _columns(values: Iterator[tuple[Any, ...]], *names: str) -> dict[str, Any]:
    return {f"given_{name}": _literal(of) for name, of in zip(names, values, strict=True)}


def _literal(values: Sequence[Any]) -> str:
    """An array in Postgres' text form. The driver's own way visits each element with several
    regular expressions, which was two thirds of the cost of a page.
    """
    match values[0]:
        case str():
            return _quoted(values)
        case datetime() | None:
            return "{" + ",".join([_time(value) for value in values]) + "}"
        case _:
            return "{" + ",".join(map(str, values)) + "}"


def _quoted(values: Sequence[str]) -> str:
    joined = "".join(values)
    if "\\" in joined or '"' in joined:
        values = [v.replace("\\", "\\\\").replace('"', '\\"') for v in values]
    return '{"' + '","'.join(values) + '"}'


def _arrays(**types: TypeEngine[Any]) -> TableValuedAlias:
    """Rows from one array parameter a column, and their `ordinal` from 1: one statement whatever
    the number of rows.
    """
    # Not the bare names: an UPDATE would take them for what to set.
    arrays = [cast(bindparam(f"given_{n}", type_=Text()), ARRAY(kind)) for n, kind in types.items()]
    rows = func.unnest(*arrays).table_valued(*types, name="given", with_ordinality="ordinal")
    return rows.render_derived()


_TIME = DateTime(timezone=True)
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

_COUNTED: dict[str, TypeEngine[Any]] = {
    "app_number": Integer(),
    "distinct_id": Text(),
    "messages": BigInteger(),
    "first_seen": _TIME,
    "last_seen": _TIME,
}
_COUNT_COLUMNS = tuple(_COUNTED)
# An id is looked up in the index, however many others there are. The planner can't know how many
# are given, and would read all that are stored.
_BY_INDEX = select(
    func.set_config("enable_hashjoin", "off", True),
    func.set_config("enable_mergejoin", "off", True),
)
_counted = _arrays(**_COUNTED)
_updated = (
    update(distinct_ids)
    .values(
        messages=distinct_ids.c.messages + _counted.c.messages,
        first_seen=func.least(distinct_ids.c.first_seen, _counted.c.first_seen),
        last_seen=func.greatest(distinct_ids.c.last_seen, _counted.c.last_seen),
    )
    .where(
        distinct_ids.c.app_number == _counted.c.app_number,
        distinct_ids.c.distinct_id == _counted.c.distinct_id,
    )
    .returning(_counted.c.ordinal)
    .cte("updated")
)
_all = func.generate_series(
    cast(1, BigInteger()), cast(bindparam("count"), BigInteger())
).column_valued("ordinal")
_COUNT = select(_all).except_(select(_updated.c.ordinal))  # those that were not there to update
_new = _arrays(**_COUNTED, number=Integer())
_NEW_IDS = insert(distinct_ids).from_select(
    [*_COUNTED, "number"], select(*(_new.c[name] for name in (*_COUNTED, "number")))
)

_said = _arrays(
    app_number=Integer(),
    number=Integer(),
    trait=Text(),
    value=Text(),
    timestamp=_TIME,
    position=BigInteger(),
)
_traits = insert(traits).from_select(
    _TRAIT_COLUMNS,
    select(*(_said.c[name] for name in _TRAIT_COLUMNS)),
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
