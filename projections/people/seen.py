"""Counting the ids that messages mention, and giving each new one its number.

Every id that a message mentions gets the app's next number, in log order: deterministic, so every
rebuild gives the same numbers, and small, so bitmaps of them are.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
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
    false,
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
from projections.projection import Recorded

Id = tuple[int, str]  # app number, distinct id
Belong = Callable[[int, int], tuple[int, datetime | None]]
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

    def known_at(self, position: int, at: datetime) -> None:
        if not self.known or at < self.known[-1][1]:
            self.known.append((position, at))

    @property
    def known_since(self) -> datetime | None:
        return self.known[-1][1] if self.known else None


class Found(NamedTuple):
    """An id that was there. `earlier`: it was used as a user id at an earlier time than was known,
    which was `known_before` (domain/tracking.Message.ordered_at).
    """

    number: int
    person: int
    known_before: datetime | None
    newest_link: datetime | None
    earlier: bool


class Counted(NamedTuple):
    """Of the ids that were asked for and those known earlier: what there was before. And the
    numbers of those that are new, which are still to be stored.
    """

    found: dict[Id, Found]
    numbers: dict[Id, int]

    def number_of(self, app_number: int, distinct_id: str) -> int:
        return self.number((app_number, distinct_id))

    def number(self, key: Id) -> int:
        """Of an id that was asked for."""
        number = self.numbers.get(key)
        return self.found[key].number if number is None else number


def seen_in(mentioned: Sequence[tuple[int, Recorded]]) -> dict[Id, Seen]:
    """Of (app number, a Message or Unmerged). In the order of first mention, which is the order of
    their numbers.
    """
    seen: dict[Id, Seen] = {}
    for app, recorded in mentioned:
        message: Any = recorded.event
        if message.__class__ is Unmerged:
            for other in (one for pair in message.pairs for one in pair):
                seen.setdefault((app, other), Seen(recorded.position))
            continue
        at = message.timestamp
        user_id = message.user_id
        sender = (app, user_id or message.anonymous_id or "")
        known = seen.get(sender)
        if known is None:
            known = seen[sender] = Seen(recorded.position, 1, at)
        else:
            known.again(at)
        if user_id:
            known.known_at(recorded.position, message.ordered_at(recorded.recorded_at))
        if message.anonymous_id or message.__class__ is Aliased:
            for other in also_mentioned(message):
                seen.setdefault((app, other), Seen(recorded.position))
    return seen


def also_mentioned(message: Message) -> Iterator[str]:
    if message.user_id and message.anonymous_id:
        yield message.anonymous_id
    if isinstance(message, Aliased):
        yield message.previous_id


def count(connection: Connection, seen: dict[Id, Seen], asked: Collection[Id]) -> Counted:
    """Adds to the ids that are there, tells of those `asked`, and numbers the others."""
    connection.execute(_BY_INDEX)
    spoke = {key: of for key, of in seen.items() if of.messages}
    found, missing = _add(connection, spoke, asked) if spoke else ({}, set())
    if len(spoke) < len(seen):
        silent = [key for key, of in seen.items() if not of.messages]
        known = _find(connection, silent)
        found |= known
        missing.update(key for key in silent if key not in known)
    return Counted(found, _number(connection, [key for key in seen if key in missing]))


def _add(
    connection: Connection, seen: dict[Id, Seen], asked: Collection[Id]
) -> tuple[dict[Id, Found], set[Id]]:
    """What is told of, and the ids that are not there."""
    keys = list(seen)
    rows = ((*row, int(key in asked)) for key, row in zip(keys, _rows(seen), strict=True))
    given = columns(zip(*rows, strict=True), *_COLUMNS, "asked")
    found: dict[Id, Found] = {}
    missing: set[Id] = set()
    for ordinal, number, *rest in connection.execute(_COUNT, given | {"count": len(seen)}).all():
        key = keys[ordinal - 1]
        if number is None:
            missing.add(key)
        else:
            found[key] = Found(number, *rest)
    return found, missing


def _find(connection: Connection, ids: Sequence[Id]) -> dict[Id, Found]:
    given = columns(zip(*ids, strict=True), "app_number", "distinct_id")
    rows = connection.execute(_FIND, given).all()
    return {(row[0], row[1]): Found(row[2], row[3], row[4], row[5], earlier=False) for row in rows}


def _rows(seen: dict[Id, Seen]) -> Iterator[tuple[Any, ...]]:
    for (app, distinct_id), of in seen.items():
        yield app, distinct_id, of.messages, of.first, of.last, of.known_since


def _number(connection: Connection, new: Sequence[Id]) -> dict[Id, int]:
    """Each id's number: its app's next."""
    last: dict[int, int] = {}
    numbers = {}
    for key in new:
        app = key[0]
        if app not in last:
            last[app] = connection.execute(_LAST_NUMBER, {"app": app}).scalar_one()
        last[app] += 1
        numbers[key] = last[app]
    return numbers


def store(
    connection: Connection, seen: dict[Id, Seen], numbers: dict[Id, int], belong: Belong
) -> None:
    """New ids, with their numbers and what `belong` tells of (app number, number): the person, and
    when a link of it was last spoken of.
    """
    if not numbers:
        return
    new = {key: seen[key] for key in numbers}
    rows = (
        (*row, number, new[key].position, *belong(key[0], number))
        for (key, number), row in zip(numbers.items(), _rows(new), strict=True)
    )
    connection.execute(_NEW_IDS, columns(zip(*rows, strict=True), *_NEW))


def find_numbers(connection: Connection, ids: Sequence[Id]) -> dict[Id, int]:
    """The numbers of those ids that have one."""
    if not ids:
        return {}
    connection.execute(_BY_INDEX)
    return {key: found.number for key, found in _find(connection, ids).items()}


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
    select(
        distinct_ids.c.app_number,
        distinct_ids.c.distinct_id,
        distinct_ids.c.number,
        distinct_ids.c.person,
        distinct_ids.c.known_since,
        distinct_ids.c.newest_link,
    ).where(
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
_counted = arrays(**_COUNTED, asked=Integer())
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
        _counted.c.asked,
        distinct_ids.c.number,
        distinct_ids.c.person,
        _BEFORE.label("known_before"),
        distinct_ids.c.newest_link,
        distinct_ids.c.known_since.is_distinct_from(_BEFORE).label("earlier"),
    )
    .cte("updated")
)
_all = func.generate_series(
    cast(1, BigInteger()), cast(bindparam("count"), BigInteger())
).column_valued("ordinal")
_absent = select(_all).except_(select(_updated.c.ordinal)).subquery()
# Those that were not there to update, without a number; and those to tell of.
_COUNT = select(
    _absent.c.ordinal,
    null().cast(Integer).label("number"),
    null().cast(Integer).label("person"),
    null().cast(_TIME).label("known_before"),
    null().cast(_TIME).label("newest_link"),
    false().label("earlier"),
).union_all(
    select(
        _updated.c.ordinal,
        _updated.c.number,
        _updated.c.person,
        _updated.c.known_before,
        _updated.c.newest_link,
        _updated.c.earlier,
    ).where(_updated.c.earlier | (_updated.c.asked == 1))
)
_NEW = (*_COLUMNS, "number", "position", "person", "newest_link")
_new = arrays(
    **_COUNTED, number=Integer(), position=BigInteger(), person=Integer(), newest_link=_TIME
)
_NEW_IDS = insert(distinct_ids).from_select(list(_NEW), select(*(_new.c[name] for name in _NEW)))


def count_ids(connection: Connection, app_number: int, known_at: int) -> int:
    """How many distinct ids the app had at the position; their numbers are 1 to that."""
    d = distinct_ids.c
    query = (
        select(d.number)
        .where(d.app_number == app_number, d.position <= known_at)
        .order_by(d.number.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() or 0
