"""What a merge or an un-merge would come to: tried on the links in memory, nothing is written."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
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
from projections.people.tables import distinct_ids, link_history, said

_LAST = b"\xff" * 16  # an event id after all others


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """`user_id`: the oldest known id, else the oldest. `ids`: at most MOST_IDS of them."""

    user_id: str
    ids: list[str]
    ids_total: int
    traits: dict[str, Any]


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """`outcome`: of the link, or `unmerged`, `not_linked`. `moving`: numbers of the ids that would
    belong to another person. `pairs`: the links that would be cut, as ids.
    """

    outcome: Outcome | Literal["unmerged", "not_linked"]
    before: list[Person]
    after: list[Person]
    moving: list[int]
    pairs: list[tuple[str, str]] = []


class Ids(NamedTuple):
    """Two ids that there are."""

    user: int
    alias: int


def refused(reason: Reason) -> Tried:
    """What no links could change."""
    return Tried(outcome=reason, before=[], after=[], moving=[])


def try_merge(
    connection: Connection,
    app_number: int,
    ids: Ids,
    *,
    names: tuple[str, str],
    forced: bool,
    now: datetime,
) -> Tried:
    network = _network(connection, app_number)
    network.load(ids)
    numbers = _all_of(network, ids)
    before = _describe(connection, app_number, network, numbers)
    outcome: Outcome = "junk_id"
    if not any(map(is_junk, names)):
        key = (later_than_all(now, map(network.newest_link, numbers)), _LAST)
        outcome = network.link(0, key, ids.user, ids.alias, forced=forced)
    return Tried(
        outcome=outcome,
        before=before,
        after=_describe(connection, app_number, network, numbers),
        moving=_moved(network),
    )


def try_unmerge(
    connection: Connection, app_number: int, ids: Ids, now: datetime
) -> tuple[Tried, datetime]:
    """Of one alias. And the time that the un-merge has to have."""
    network = _network(connection, app_number)
    network.load(ids)
    numbers = _all_of(network, ids)
    key = (_later(connection, app_number, numbers, now), _LAST)
    before = _describe(connection, app_number, network, numbers)
    pairs = cut_alias(network, ids.user, ids.alias, key)
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
    before: list[Person],
    pairs: Sequence[Pair],
) -> Tried:
    numbers = _all_of(network, {n for pair in pairs for n in pair} | network.touched)
    names = _names(connection, app_number, numbers)
    return Tried(
        outcome="unmerged" if pairs else "not_linked",
        before=before,
        after=_describe(connection, app_number, network, numbers),
        moving=_moved(network),
        pairs=[(names[low].distinct_id, names[high].distinct_id) for low, high in pairs],
    )


def _network(connection: Connection, app_number: int) -> Network:
    return Network(DbSource(connection, app_number, []))


def _all_of(network: Network, numbers: Iterable[int]) -> set[int]:
    """Those and all other ids of their persons."""
    return {n for number in numbers for n in network.members(network.person(number))}


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
    connection: Connection, app_number: int, network: Network, numbers: Collection[int]
) -> list[Person]:
    """The persons of these ids, the largest first."""
    names = _names(connection, app_number, numbers)
    rows = connection.execute(_SAID, columns([tuple(numbers)], "number") | {"app": app_number})
    told: dict[int, list[Said]] = defaultdict(list)
    for row in rows:
        told[network.person(row.number)].append(read_said(row))
    groups = {network.person(n): network.members(network.person(n)) for n in sorted(numbers)}
    return [
        _person([names[n] for n in group], told[person])
        for person, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


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
