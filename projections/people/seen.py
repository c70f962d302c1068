"""Counting the ids that messages mention, and giving each new one its number.

Every id that a message mentions gets the app's next number, in log order: deterministic, so every
rebuild gives the same numbers, and small, so bitmaps of them are.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    DateTime,
    Integer,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine

from domain.tracking import Aliased, Message, Unmerged
from projections.array_rows import arrays, columns, each
from projections.people.tables import distinct_ids

Id = tuple[int, str]  # app number, distinct id
_GROUP = 10_000  # numbers in one row of find_many_numbers


class Seen:
    """`messages` 0: mentioned only, by an alias or beside a known id. `known`: (position, time) at
    which it was a user id, each earlier in time than the one before. `position`: of the first
    mention.
    """

    __slots__ = ("first", "known", "last", "messages", "position")

    def __init__(self, position: int, messages: int = 0, at: datetime | None = None) -> None:
        self.messages = messages
        self.first = at
        self.last = at
        self.known: list[tuple[int, datetime]] = []
        self.position = position

    def again(self, at: datetime) -> None:
        self.messages += 1
        if self.first is None or at < self.first:
            self.first = at
        if self.last is None or at > self.last:
            self.last = at

    @property
    def known_since(self) -> datetime | None:
        return self.known[-1][1] if self.known else None


class Earlier(NamedTuple):
    """An id that was used as a user id at an earlier time than was known."""

    number: int
    known_before: datetime | None
    newest_link: datetime | None


class Counted(NamedTuple):
    """What there was before. The others are new."""

    earlier: dict[Id, Earlier]
    numbers: dict[Id, int]  # of those that are new


def seen_in(messages: Sequence[tuple[int, int, Message | Unmerged]]) -> dict[Id, Seen]:
    """Of (app number, position, event). In the order of first mention, which is the order of
    their numbers.
    """
    seen: dict[Id, Seen] = {}
    for app, position, message in messages:
        if isinstance(message, Unmerged):
            for other in (one for pair in message.pairs for one in pair):
                seen.setdefault((app, other), Seen(position))
            continue
        at = message.timestamp
        user_id = message.user_id
        sender = (app, user_id or message.anonymous_id or "")
        known = seen.get(sender)
        if known is None:
            known = seen[sender] = Seen(position, 1, at)
        else:
            known.again(at)
        if user_id and (not known.known or at < known.known[-1][1]):
            known.known.append((position, at))
        if message.anonymous_id or isinstance(message, Aliased):
            for other in also_mentioned(message):
                seen.setdefault((app, other), Seen(position))
    return seen


def also_mentioned(message: Message) -> Iterator[str]:
    if message.user_id and message.anonymous_id:
        yield message.anonymous_id
    if isinstance(message, Aliased):
        yield message.previous_id


def count(connection: Connection, seen: dict[Id, Seen]) -> Counted:
    """Adds to the ids that are there, and numbers the others."""
    connection.execute(_BY_INDEX)
    given = columns(zip(*_rows(seen), strict=True), *_COLUMNS)
    keys = list(seen)
    found = connection.execute(_COUNT, given | {"count": len(seen)}).all()
    earlier = {
        keys[row.ordinal - 1]: Earlier(row.number, row.known_before, row.newest_link)
        for row in found
        if row.number is not None
    }
    unknown = {row.ordinal for row in found if row.number is None}
    new = {key: seen[key] for n, key in enumerate(seen, start=1) if n in unknown} if unknown else {}
    return Counted(earlier, _number(connection, new))


def _rows(seen: dict[Id, Seen]) -> Iterator[tuple[Any, ...]]:
    for (app, distinct_id), of in seen.items():
        known_since = of.known[-1][1] if of.known else None
        yield app, distinct_id, of.messages, of.first, of.last, known_since


def _number(connection: Connection, new: dict[Id, Seen]) -> dict[Id, int]:
    """Stores ids that were never seen, each with its app's next number."""
    if not new:
        return {}
    last: dict[int, int] = {}
    numbers = {}
    for key in new:
        app = key[0]
        if app not in last:
            last[app] = connection.execute(_LAST_NUMBER, {"app": app}).scalar_one()
        last[app] += 1
        numbers[key] = last[app]
    rows = (
        (*row, numbers[key], new[key].position) for key, row in zip(new, _rows(new), strict=True)
    )
    connection.execute(_NEW_IDS, columns(zip(*rows, strict=True), *_COLUMNS, "number", "position"))
    return numbers


def find_numbers(connection: Connection, ids: Sequence[Id]) -> dict[Id, int]:
    """The numbers of those ids that have one."""
    if not ids:
        return {}
    connection.execute(_BY_INDEX)
    rows = connection.execute(_FIND, columns(zip(*ids, strict=True), "app_number", "distinct_id"))
    return {(row.app_number, row.distinct_id): row.number for row in rows}


def find_many_numbers(connection: Connection, most: int) -> list[tuple[int, list[str], list[int]]]:
    """App number, ids, and the number of each; of at most so many ids altogether. Each takes a
    hundredth of the time of `find_numbers`.
    """
    wanted = (distinct_ids.c.app_number, distinct_ids.c.distinct_id, distinct_ids.c.number)
    some = select(*wanted).limit(most).subquery()
    query = select(
        some.c.app_number, func.array_agg(some.c.distinct_id), func.array_agg(some.c.number)
    ).group_by(some.c.app_number, some.c.number / _GROUP)
    return [(app, ids, numbers) for app, ids, numbers in connection.execute(query)]


_TIME = DateTime(timezone=True)

_wanted = arrays(app_number=Integer(), distinct_id=Text())
_FIND = each(
    _wanted,
    select(distinct_ids.c.app_number, distinct_ids.c.distinct_id, distinct_ids.c.number).where(
        distinct_ids.c.app_number == _wanted.c.app_number,
        distinct_ids.c.distinct_id == _wanted.c.distinct_id,
    ),
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
    "known_since": _TIME,
}
_COLUMNS = tuple(_COUNTED)
# An id is looked up in the index, however many others there are. The planner can't know how many
# are given, and would read all that are stored.
_BY_INDEX = select(
    func.set_config("enable_hashjoin", "off", True),
    func.set_config("enable_mergejoin", "off", True),
    func.set_config("enable_seqscan", "off", True),
    func.set_config("enable_bitmapscan", "off", True),
)
_counted = arrays(**_COUNTED)
_BEFORE = literal_column("old.known_since", _TIME)  # PostgreSQL 18: the row as it was
_updated = (
    update(distinct_ids)
    .values(
        messages=distinct_ids.c.messages + _counted.c.messages,
        first_seen=func.least(distinct_ids.c.first_seen, _counted.c.first_seen),
        last_seen=func.greatest(distinct_ids.c.last_seen, _counted.c.last_seen),
        known_since=func.least(distinct_ids.c.known_since, _counted.c.known_since),
    )
    .where(
        distinct_ids.c.app_number == _counted.c.app_number,
        distinct_ids.c.distinct_id == _counted.c.distinct_id,
    )
    .returning(
        _counted.c.ordinal,
        distinct_ids.c.number,
        distinct_ids.c.newest_link,
        _BEFORE.label("known_before"),
        distinct_ids.c.known_since.is_distinct_from(_BEFORE).label("earlier"),
    )
    .cte("updated")
)
_all = func.generate_series(
    cast(1, BigInteger()), cast(bindparam("count"), BigInteger())
).column_valued("ordinal")
_absent = select(_all).except_(select(_updated.c.ordinal)).subquery()
# Those that were not there to update, without a number; and those known earlier than before.
_COUNT = select(
    _absent.c.ordinal,
    null().cast(Integer).label("number"),
    null().cast(_TIME).label("newest_link"),
    null().cast(_TIME).label("known_before"),
).union_all(
    select(
        _updated.c.ordinal, _updated.c.number, _updated.c.newest_link, _updated.c.known_before
    ).where(_updated.c.earlier)
)
_new = arrays(**_COUNTED, number=Integer(), position=BigInteger())
_NEW_IDS = insert(distinct_ids).from_select(
    [*_COUNTED, "number", "position", "person"],
    select(*(_new.c[name] for name in (*_COUNTED, "number", "position", "number"))),
)
