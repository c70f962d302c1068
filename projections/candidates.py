"""Whose answers to criteria may have changed between two evaluations, from ClickHouse.

More than changed may be found, never fewer. All are rows (person, cause), of a table that is in
memory (see CREATE): 1 one of their ids is another's, 2 something was said or done, 3 time passed.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from domain.conditions.moving import Edge
from domain.conditions.tree import Needs
from projections import person_traits
from projections.conditions import Parameters
from projections.event_queries import Query, within
from projections.events import TABLE as EVENTS
from projections.person_map import CHANGES, person, scalars

TABLE = "segment_candidates"  # how the name of each evaluator's own begins
OURS = f"database = currentDatabase() AND startsWith(name, '{TABLE}')"
CREATE = "CREATE TABLE {table} (person UInt64, cause UInt8) ENGINE = Memory"
PERSON, EVENT, TIME = 1, 2, 3
_MICROSECOND = timedelta(microseconds=1)


class Span(NamedTuple):
    """Positions in (after, upto], which the clock has seen go from `since` to `now`. `known` is the
    highest number of a distinct id at `after`, `ids` that at `upto`.
    """

    app_number: int
    after: int
    upto: int
    since: datetime
    now: datetime
    known: int
    ids: int


def fill(
    table: str,
    span: Span,
    needed: Needs,
    edges: Collection[Edge],
    listed: Sequence[int],
    *,
    is_newest: bool,
) -> Query:
    """`listed`: persons that entered or left lists. `is_newest`: as of criteria.Asked."""
    parameters = Parameters()
    map_at = None if is_newest else span.upto
    who = person(span.app_number, map_at)
    fresh = (
        f"SELECT arrayJoin(range(toUInt64({span.known + 1:d}), toUInt64({span.ids + 1:d}))) AS pid0"
    )
    parts = [f"SELECT {who} AS person, {EVENT} AS cause FROM ({fresh})"]
    parts.append(_moved(span))
    if needed.traits:
        parts.append(f"SELECT person, {EVENT} FROM {person_traits.TABLE} WHERE {_in_span(span)}")
    if listed:
        numbers = ", ".join(map(str, listed))
        parts.append(f"SELECT arrayJoin(CAST([{numbers}], 'Array(UInt64)')), {EVENT}")
    if needed.any_event or needed.events:
        named = _named(None if needed.any_event else needed.events, parameters)
        events = (
            f"FROM {EVENTS} WHERE app_number = {span.app_number:d} AND position <= {span.upto:d}"
        )
        parts.append(f"SELECT {who}, {EVENT} {events} AND position > {span.after:d}{named}")
        passed = _between(span.since, span.now)
        parts.append(f"SELECT {who}, {TIME} {events} AND {passed}{named}")
        for age, names in _by_age(edges).items():
            passed = _between(span.since - age, span.now - age)
            which = _named(None if None in names else names, parameters)
            parts.append(f"SELECT {who}, {TIME} {events} AND {passed}{which}")
    rows = " UNION ALL ".join(parts)
    known = scalars(span.app_number, map_at)
    sql = (
        f"INSERT INTO {table} WITH {known} SELECT person, min(cause) FROM ({rows}) GROUP BY person"
    )
    return Query(sql, dict(parameters))


def _in_span(span: Span) -> str:
    return (
        f"app_number = {span.app_number:d} AND position > {span.after:d}"
        f" AND position <= {span.upto:d}"
    )


def _moved(span: Span) -> str:
    """Every person that a number has had, if it has another one since."""
    of_app = f"app_number = {span.app_number:d} AND position <= {span.upto:d}"
    numbers = f"SELECT number FROM {CHANGES} WHERE {_in_span(span)}"
    return (
        f"SELECT arrayJoin([number, person]), {PERSON} FROM {CHANGES}"
        f" WHERE {of_app} AND number IN ({numbers})"
    )


def _between(first: datetime, last: datetime) -> str:
    return " AND ".join(within(first, last + _MICROSECOND))


def _named(names: Collection[str | None] | None, parameters: Parameters) -> str:
    if names is None:
        return ""
    told = ", ".join(parameters.text(name) for name in sorted(filter(None, names)))
    return f" AND event IN ({told})"


def _by_age(edges: Collection[Edge]) -> dict[timedelta, set[str | None]]:
    found: dict[timedelta, set[str | None]] = defaultdict(set)
    for edge in edges:
        found[edge.age].add(edge.event)
    return found
