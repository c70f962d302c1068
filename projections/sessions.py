"""Sessions from the rows of events, cut at the gaps at query time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from domain.buckets import Buckets, Range
from domain.past import NOW, Past, seen_until
from domain.sessions import Counted, Question, Series, figures, read_gap, values
from domain.trends import ALL, Kind
from projections.conditions import Parameters, all_of, group_key, typed
from projections.event_queries import Query, up_to, within
from projections.events import TABLE
from projections.people_asked import Among, bound, known, theirs
from projections.person_map import person
from projections.ranking import ranked, told

_MICROSECOND = timedelta(microseconds=1)

# The events before the range tell which sessions began there.
_SESSIONS = """
SELECT person, session FROM (
    SELECT person, arraySplit(
        (event, since) -> since > {gap}, events, arrayDifference(arrayMap(event -> event.1, events))
    ) AS split
    FROM (
        SELECT {person} AS person,
            arraySort(groupArray({event})) AS events
        FROM {table} WHERE {conditions} GROUP BY person)
) ARRAY JOIN split AS session WHERE session[1].1 >= {start}"""

_CELLS = """
SELECT key, bucket, count() AS n, groupBitmapState(person) AS people, sum(lasted) AS time,
    quantileExactInclusiveState(0.5)(lasted) AS middle, sum(size) AS events,
    countIf(size = 1) AS ones
FROM (
    SELECT person, {key} AS key, length(session) AS size,
        session[-1].1 - session[1].1 AS lasted,
        roundDown(toUInt32(intDiv(session[1].1, 1000000)), {bounds}) AS bucket
    FROM ({sessions})
) GROUP BY key, bucket"""

# Bucket 0 is the whole range.
_FIGURES = """
SELECT other, shown, bucket, sum(n), bitmapCardinality(groupBitmapMergeState(people)), sum(time),
    quantileExactInclusiveMerge(0.5)(middle), sum(events), sum(ones)
FROM ({cells}) GROUP BY GROUPING SETS ((other, shown, bucket), (other, shown))"""
_COLUMNS = ("bucket", "n", "people", "time", "middle", "events", "ones")


class Cut(NamedTuple):
    """What sessions are made of. `fact`: SQL of what is kept of an event beside its time and its
    position; None: nothing but its time is kept.
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
    breakdown = question.breakdown
    sessions = sessions_of(
        Cut(
            Range(buckets.start, buckets.end, buckets.zone),
            read_gap(question.gap_minutes),
            group_key(breakdown.property, parameters) if breakdown else None,
            conditions,
        ),
        app_number=app_number,
        past=past,
        table=table,
    )
    key = "session[1].3" if breakdown else "''"
    cells = _broken_down(question, _CELLS.format(key=key, bounds=buckets.bounds, sessions=sessions))
    sql = f"WITH {known(app_number, past.known_at, chosen)} {_FIGURES.format(cells=cells)}"
    return Query(sql, bound(parameters, chosen))


def sessions_of(cut: Cut, *, app_number: int, past: Past, table: str) -> str:
    """Rows (person, session): of each session that begins in the range the events before its end,
    (microseconds since 1970, position, fact) in this order. Needs person_map.scalars.
    """
    time = "toUnixTimestamp64Micro(ts)"
    start, end, _ = cut.within
    seen = [f"app_number = {app_number:d}", *up_to(past), *within(start - cut.gap, end)]
    return _SESSIONS.format(
        gap=cut.gap // _MICROSECOND,
        person=person(app_number, past.known_at),
        event=f"tuple({time})" if cut.fact is None else f"({time}, position, {cut.fact})",
        table=table,
        conditions=" AND ".join([*seen, *cut.conditions]),
        start=int(start.timestamp()) * 1_000_000 + start.microsecond,
    )


def _broken_down(question: Question, cells: str) -> str:
    if question.breakdown is None:
        return f"SELECT 0 AS other, CAST(NULL AS Nullable(String)) AS shown, * FROM ({cells})"
    rows = ranked(
        cells,
        value=typed(question.breakdown.property, "key"),
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
