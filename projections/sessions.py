"""Sessions from the rows of events, cut at the gaps at query time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from domain.buckets import Buckets, Range
from domain.past import NOW, Past, seen_until
from domain.sessions import Counted, Question, Series, figures, read_gap, values
from domain.trends import ALL, Kind
from projections.conditions import Parameters, all_of
from projections.event_queries import Query, up_to, within
from projections.events import TABLE
from projections.group_keys import GroupKey, carried_key
from projections.people_asked import Among, bound, known, theirs
from projections.person_map import person
from projections.ranking import ranked, told

_MICROSECOND = timedelta(microseconds=1)

# An event as one number, since numbers are sorted far faster than tuples: microseconds since the
# first that may be, position, and the event's place among all of the person.
_ONE = """bitOr(bitShiftLeft(toUInt128(toUnixTimestamp64Micro(ts) - {first}), 68),
    bitShiftLeft(toUInt128(position), 28))"""
_TIME = "toInt64(bitShiftRight({one}, 68)) + {first}"
_PLACE = "toUInt32(bitAnd({one}, 268435455))"
_ORDERED = """
SELECT person, facts, arraySort(
    arrayMap((one, place) -> bitOr(one, toUInt128(place)), ones, arrayEnumerate(ones))) AS events
FROM (
    SELECT {person} AS person, groupArray({one}) AS ones, groupArray({fact}) AS facts
    FROM {table} WHERE {conditions} GROUP BY person)"""

# The events before the range tell which sessions began there.
_SESSIONS = """
SELECT person, session FROM (
    SELECT person, arraySplit(
        (event, since) -> since > {gap}, events, arrayDifference(arrayMap(event -> event.1, events))
    ) AS split
    FROM (
        SELECT person, arrayMap(one -> ({time}, facts[{place}]), events) AS events FROM ({ordered}))
) ARRAY JOIN split AS session WHERE session[1].1 >= {start}"""

_TIMES = """
SELECT {person} AS person, arraySort(groupArray(toUnixTimestamp64Micro(ts))) AS times
FROM {table} WHERE {conditions} GROUP BY person"""
_TIMES_AND_KEYS = """
SELECT person, events, facts, arrayMap(one -> {time}, events) AS times FROM ({ordered})"""
_RUNS = """
SELECT person, key, size, since, till - since AS lasted FROM (
    SELECT *, arrayFilter(
            (place, gap) -> place = 1 OR gap > {gap}, arrayEnumerate(times), arrayDifference(times)
        ) AS firsts,
        arrayPushBack(arrayPopFront(firsts), length(times) + 1) AS nexts
    FROM ({times})
) ARRAY JOIN arrayMap(place -> times[place], firsts) AS since,
    arrayMap(place -> times[place - 1], nexts) AS till,
    arrayMap((first, next) -> next - first, firsts, nexts) AS size,
    arrayMap(place -> {key}, firsts) AS key
WHERE since >= {start}"""

_CELLS = """
SELECT key, bucket, count() AS n, groupBitmapState(person) AS people, sum(lasted) AS time,
    quantileExactInclusiveState(0.5)(lasted) AS middle, sum(size) AS events,
    countIf(size = 1) AS ones
FROM (
    SELECT *, roundDown(toUInt32(intDiv(since, 1000000)), {bounds}) AS bucket FROM ({runs})
) GROUP BY key, bucket"""

# Bucket 0 is the whole range.
_FIGURES = """
SELECT other, shown, bucket, sum(n), bitmapCardinality(groupBitmapMergeState(people)), sum(time),
    quantileExactInclusiveMerge(0.5)(middle), sum(events), sum(ones)
FROM ({cells}) GROUP BY GROUPING SETS ((other, shown, bucket), (other, shown))"""
_COLUMNS = ("bucket", "n", "people", "time", "middle", "events", "ones")


class Cut(NamedTuple):
    """What sessions are made of. `fact`: SQL of what is kept of an event beside its time; None:
    nothing.
    """

    within: Range
    gap: timedelta
    fact: str | None
    conditions: Sequence[str]


def plan(
    question: Question,
    buckets: Buckets,
    *,
    app_number: int,
    past: Past = NOW,
    chosen: Among | None = None,
    table: str = TABLE,
) -> Query:
    """Rows: (other, value, bucket's start or 0 for all, and the fields of Counted)."""
    parameters = Parameters(now=past.as_of)
    conditions = all_of(question.where, parameters)
    if question.event is not None:
        conditions.append(f"event = {parameters.text(question.event)}")
    conditions += theirs(app_number, past.known_at, chosen)
    key = carried_key(question.breakdown, parameters, app_number=app_number, table=table)
    cut = Cut(
        Range(buckets.start, buckets.end, buckets.zone),
        read_gap(question.gap_minutes),
        key.carried if question.breakdown else None,
        [*conditions, *key.conditions],
    )
    runs = _runs(_parts(cut, app_number, past, table))
    cells = _broken_down(question, key, _CELLS.format(bounds=buckets.bounds, runs=runs))
    scalars = ", ".join([known(app_number, past.known_at, chosen), *key.scalars])
    return Query(f"WITH {scalars} {_FIGURES.format(cells=cells)}", bound(parameters, chosen))


def sessions_of(cut: Cut, *, app_number: int, past: Past, table: str) -> str:
    """Rows (person, session): of each session that begins in the range the events before its end,
    (microseconds since 1970, fact), by time and position. Needs person_map.scalars.
    """
    parts = _parts(cut, app_number, past, table)
    return _SESSIONS.format(**parts, ordered=_ORDERED.format(**parts))


def _parts(cut: Cut, app_number: int, past: Past, table: str) -> dict[str, object]:
    start, end, _ = cut.within
    first = _micros(start - cut.gap)
    seen = [f"app_number = {app_number:d}", *up_to(past), *within(start - cut.gap, end)]
    return {
        "gap": cut.gap // _MICROSECOND,
        "person": person(app_number, past.known_at),
        "one": _ONE.format(first=first),
        "time": _TIME.format(one="one", first=first),
        "place": _PLACE.format(one="one"),
        "fact": cut.fact,
        "table": table,
        "conditions": " AND ".join([*seen, *cut.conditions]),
        "start": _micros(start),
    }


def _runs(parts: dict[str, object]) -> str:
    """Rows (person, key, size, since, lasted) of the sessions, without their events."""
    if parts["fact"] is None:
        return _RUNS.format(**parts, times=_TIMES.format(**parts), key="''")
    ordered = _ORDERED.format(**parts)
    key = f"facts[{_PLACE.format(one='events[place]')}]"
    return _RUNS.format(**parts, times=_TIMES_AND_KEYS.format(**parts, ordered=ordered), key=key)


def _micros(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond


def _broken_down(question: Question, key: GroupKey, cells: str) -> str:
    if question.breakdown is None:
        return f"SELECT 0 AS other, CAST(NULL AS Nullable(String)) AS shown, * FROM ({cells})"
    rows = ranked(
        cells,
        key,
        counted=f"groupArray(({', '.join(_COLUMNS)})) AS cells",
        merged="groupArrayArray(cells) AS cells",
        by="sum(n)",
        limit=question.breakdown.limit,
    )
    named = ", ".join(f"cell.{place} AS {name}" for place, name in enumerate(_COLUMNS, 1))
    return f"SELECT other, shown, {named} FROM ({rows}) ARRAY JOIN cells AS cell"


def series(
    question: Question,
    buckets: Buckets,
    rows: Sequence[Sequence[Any]],
    *,
    now: datetime,
    past: Past = NOW,
) -> list[Series]:
    """From the answer's rows; largest first, and what was left over at the end."""
    found: dict[tuple[Any, ...], dict[int, Counted]] = {}
    if question.breakdown is None:
        found[0, None] = {0: Counted()}
    for other, value, bucket, *sums in rows:
        found.setdefault((other, value), {})[bucket] = Counted(*sums)
    ordered = sorted(
        found.items(),
        key=lambda one: (one[0][0], -one[1][0].sessions, one[0][1] is None, one[0][1]),
    )
    until = seen_until(now, past)
    return [
        Series(*_named(question, key), values(buckets, counted, until), figures(counted[0]))
        for key, counted in ordered
    ]


def _named(question: Question, key: Sequence[Any]) -> tuple[str, Kind, Any]:
    return told(key) if question.breakdown else (ALL, "all", None)
