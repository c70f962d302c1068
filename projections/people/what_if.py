"""What a merge or an un-merge would come to: tried on the links in memory, nothing is written."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import BindParameter, Connection, Integer, bindparam, func, select

from domain.identity import Network, Outcome, Pair, Reason
from domain.junk import is_junk
from domain.traits import Said, fold
from domain.unmerging import cut_alias, later_than_all
from projections.array_rows import arrays, columns, each
from projections.people import shown
from projections.people.links import DbSource
from projections.people.said import read_said
from projections.people.shown import Member
from projections.people.tables import distinct_ids, link_history, said

MOST_PERSONS = 100  # told of in full
MOST_PAIRS = 1000
_LAST = b"\xff" * 16  # an event id after all others
_NEW = 2**31 - 1  # the number of an id that nobody has sent yet: after all others


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """`user_id`: the oldest known id, else the oldest. `ids`: at most MOST_IDS of them."""

    user_id: str
    ids: list[str]
    ids_total: int
    traits: dict[str, Any]


class Persons(NamedTuple):
    """Of `total` persons the MOST_PERSONS that have most ids, and `numbers`: of each one's ids."""

    shown: list[Person]
    total: int
    numbers: Sequence[Collection[int]] = ()


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome`: of the link, or `unmerged`, `not_linked`. `numbers`: of all ids that are touched;
    `moving`: of those that would belong to another person. `pairs`: the links that would be cut, as
    ids.
    """

    outcome: Outcome | Literal["unmerged", "not_linked"]
    before: Persons = Persons([], 0)
    after: Persons = Persons([], 0)
    numbers: Collection[int] = ()
    moving: Sequence[int] = ()
    pairs: list[tuple[str, str]] = []


class Ids(NamedTuple):
    """Two ids that are stored; `alias` None: one that nobody has sent yet."""

    user: int
    alias: int | None


def refused(reason: Reason) -> Tried:
    """What no links could change."""
    return Tried(outcome=reason)


def try_merge(
    connection: Connection,
    app_number: int,
    ids: Ids,
    *,
    names: tuple[str, str],
    forced: bool,
    now: datetime,
) -> Tried:
    alias = _NEW if ids.alias is None else ids.alias
    network = _network(connection, app_number, fresh={alias} - {ids.alias})
    network.load((ids.user, alias))
    numbers = _all_of(network, (ids.user, alias))
    new = {_NEW: Member(number=_NEW, distinct_id=names[1])} if ids.alias is None else {}
    before = _describe(connection, app_number, network, numbers - new.keys())
    outcome: Outcome = "junk_id"
    if not any(map(is_junk, names)):
        key = (later_than_all(now, map(network.newest_link, numbers)), _LAST)
        outcome = network.link(0, key, ids.user, alias, forced=forced)
    return Tried(
        outcome=outcome,
        before=before,
        after=_describe(connection, app_number, network, numbers, new),
        numbers=numbers,
        moving=_moved(network),
    )


def try_unmerge(
    connection: Connection, app_number: int, ids: tuple[int, int], now: datetime
) -> tuple[Tried, datetime]:
    """Of the second from the first. And the time that the un-merge has to have."""
    network = _network(connection, app_number)
    network.load(ids)
    numbers = _all_of(network, ids)
    key = (_later(connection, app_number, numbers, now), _LAST)
    before = _describe(connection, app_number, network, numbers)
    pairs = cut_alias(network, *ids, key)
    return _unmerged(connection, app_number, network, before=before, pairs=pairs), key[0]


def try_unmerge_since(
    connection: Connection, app_number: int, number: int, *, since: int, now: datetime
) -> tuple[Tried, datetime]:
    """Of all links of the person that were made after the position."""
    network = _network(connection, app_number)
    network.load([number])
    numbers = _all_of(network, [number])
    key = (_later(connection, app_number, numbers, now), _LAST)
    before = _describe(connection, app_number, network, numbers)
    pairs = _made_since(connection, app_number, numbers, since)
    network.unlink(0, key, pairs)
    return _unmerged(connection, app_number, network, before=before, pairs=pairs), key[0]


def _later(
    connection: Connection, app_number: int, numbers: Collection[int], now: datetime
) -> datetime:
    """Than all that was said of links of these ids, also again and again: that a link is repeated
    is in the history alone.
    """
    given = columns([tuple(numbers)], "number") | {"app": app_number}
    last = [row.at for query in _LAST_SAID for row in connection.execute(query, given)]
    return later_than_all(now, last)


def _unmerged(
    connection: Connection,
    app_number: int,
    network: Network,
    *,
    before: Persons,
    pairs: Sequence[Pair],
) -> Tried:
    numbers = _all_of(network, {n for pair in pairs for n in pair} | network.touched)
    names = _names(connection, app_number, numbers)
    return Tried(
        outcome="unmerged" if pairs else "not_linked",
        before=before,
        after=_describe(connection, app_number, network, numbers),
        numbers=numbers,
        moving=_moved(network),
        pairs=[(names[low].distinct_id, names[high].distinct_id) for low, high in pairs],
    )


def persons_now(connection: Connection, app_number: int, numbers: Collection[int]) -> Persons:
    """To whom these ids belong."""
    network = _network(connection, app_number)
    network.load(numbers)
    return _describe(connection, app_number, network, _all_of(network, numbers))


def _network(
    connection: Connection, app_number: int, fresh: Collection[int] = frozenset()
) -> Network:
    return Network(DbSource(connection, app_number, []), fresh=fresh)


def _all_of(network: Network, numbers: Collection[int]) -> set[int]:
    """Those and all other ids of their persons."""
    network.load(numbers)
    persons = {network.person(number) for number in numbers}
    return {number for person in persons for number in network.members(person)}


def _moved(network: Network) -> list[int]:
    return sorted({number for _, number in network.changes})


def _made_since(
    connection: Connection, app_number: int, numbers: Collection[int], since: int
) -> list[Pair]:
    """Pairs that are linked now and were not at the position."""
    h = link_history.c
    rows = connection.execute(
        select(h.low, h.high, h.position, h.timestamp, h.event_id, h.verb)
        .join(_given, h.low == _given.c.number)
        .where(h.app_number == app_number, h.outcome.not_in(("junk_id", "cycle")))
        .order_by(h.timestamp, h.event_id),
        columns([tuple(numbers)], "number"),
    )
    then: dict[Pair, bool] = {}
    now: dict[Pair, bool] = {}
    for row in rows:
        pair = (row.low, row.high)
        now[pair] = row.verb == "link"
        if row.position <= since:
            then[pair] = row.verb == "link"
    return sorted(
        pair
        for pair, is_linked in now.items()
        if is_linked and not then.get(pair) and pair[1] in numbers  # else it was refused
    )


def _describe(
    connection: Connection,
    app_number: int,
    network: Network,
    numbers: Collection[int],
    new: Mapping[int, Member] | None = None,
) -> Persons:
    """The persons of these ids, the largest first. `new`: those that are not stored."""
    groups = {one: network.members(one) for one in sorted(set(map(network.person, numbers)))}
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:MOST_PERSONS]
    of_these = [number for _, group in largest for number in group]
    names = _names(connection, app_number, of_these) | dict(new or {})
    rows = connection.execute(_SAID, columns([tuple(of_these)], "number") | {"app": app_number})
    told: dict[int, list[Said]] = defaultdict(list)
    for row in rows:
        told[network.person(row.number)].append(read_said(row))
    shown = [_person([names[n] for n in group], told[person]) for person, group in largest]
    return Persons(shown, len(groups), [group for _, group in largest])


def _person(ids: Sequence[Any], told: Iterable[Any]) -> Person:
    ordered = sorted(ids, key=shown.age)
    return Person(
        user_id=ordered[0].distinct_id,
        ids=[row.distinct_id for row in ordered[: shown.MOST_IDS]],
        ids_total=len(ordered),
        traits=shown.values(fold(told)),
    )


def _names(connection: Connection, app_number: int, numbers: Collection[int]) -> dict[int, Any]:
    given = columns([tuple(numbers)], "number") | {"app": app_number}
    return {row.number: row for row in connection.execute(_NAMES, given)}


_app: BindParameter[int] = bindparam("app")
_given = arrays(number=Integer())
_NAMES = (
    select(distinct_ids)
    .join(_given, distinct_ids.c.number == _given.c.number)
    .where(distinct_ids.c.app_number == _app)
)
_LAST_SAID = [
    each(
        _given,
        select(func.max(link_history.c.timestamp).label("at")).where(
            link_history.c.app_number == _app, side == _given.c.number
        ),
    )
    for side in (link_history.c.low, link_history.c.high)
]
_SAID = (
    select(said)
    .join(_given, said.c.number == _given.c.number)
    .where(said.c.app_number == _app, said.c.kind == "identify")
)
