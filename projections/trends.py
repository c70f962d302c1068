"""Trends from the events table: the cheapest source that gives the exact answer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from domain.buckets import Buckets
from domain.past import NOW, Past
from domain.trends import ALL, Kind, Question, Series, values
from projections.conditions import Parameters, all_of, group_key, typed
from projections.event_queries import up_to, within
from projections.events import TABLE, rollup
from projections.person_map import persons, scalars
from projections.ranking import told

Source = Literal["day", "hour", "rows"]
_Unit = Literal["day", "hour", "second"]
_EVENT = "$event"  # the one fact that the rollups are kept by
_PERSON = "pid0"


class Plan(NamedTuple):
    """A query and where it reads: the rollup by UTC day, that by UTC hour, or the rows."""

    sql: str
    parameters: dict[str, object]
    settings: dict[str, object]
    source: Source


class _Measure(NamedTuple):
    """How a cell is counted, how cells are joined, and the number that a joined cell stands for;
    `scalars` is what the query needs for that.
    """

    cell: str
    joined: str
    number: str
    scalars: str = ""


def _measure(name: str, app_number: int, known_at: int | None) -> _Measure:
    if name == "total":
        return _Measure("count()", "sum({cell})", "{cell}")
    return _Measure(
        f"groupBitmapState({_PERSON})",
        "groupBitmapMergeState({cell})",
        f"bitmapCardinality({persons('{cell}', app_number, known_at)})",
        f"WITH {scalars(app_number, known_at)}",
    )


_ONE = """
SELECT 0 AS other, CAST(NULL AS Nullable(String)) AS value,
    groupArray((bucket, {number})), {joined_number}
FROM ({cells})"""

# Values are ranked by their number over the whole range; those after the first `limit` become one.
# NULL is no value: it is not ranked among them, and stays on its own.
_BROKEN_DOWN = """
SELECT other, shown, groupArray((bucket, {number})), {joined_number}
FROM (
    SELECT value IS NOT NULL AND rank > {limit} AS other, if(other, NULL, value) AS shown,
        pair.1 AS bucket, {joined_pair} AS cell
    FROM (
        SELECT {value} AS value, groupArray((bucket, cell)) AS pairs,
            row_number() OVER (
                PARTITION BY value IS NULL ORDER BY {joined_number} DESC, value ASC
            ) AS rank
        FROM ({cells}) GROUP BY value
    ) ARRAY JOIN pairs AS pair
    GROUP BY other, shown, bucket
) GROUP BY other, shown"""


def plan(
    question: Question,
    buckets: Buckets,
    *,
    app_number: int,
    past: Past = NOW,
    table: str = TABLE,
) -> Plan:
    source = _source(question, buckets, past)
    parameters = Parameters(now=past.as_of)
    measure = _measure(question.measure, app_number, past.known_at)
    joined = measure.joined.format(cell="cell")
    template = _BROKEN_DOWN if question.breakdown else _ONE
    conditions = [f"app_number = {app_number:d}", *up_to(past)]
    keys, rest = _grouped(question, buckets, source, parameters=parameters, conditions=conditions)
    sql = measure.scalars + template.format(
        number=measure.number.format(cell="cell"),
        joined_number=measure.number.format(cell=joined),
        joined_pair=measure.joined.format(cell="pair.2"),
        limit=question.breakdown.limit if question.breakdown else 0,
        value=typed(question.breakdown.property, "key") if question.breakdown else "",
        cells=f"SELECT {keys}, {measure.cell} AS cell FROM {table} {rest}",
    )
    settings: dict[str, object] = {"max_query_size": 4 * 1024 * 1024}
    if source != "rows":
        settings["priority"] = 1
        by_event = question.event is not None or _EVENT in _asked(question)
        settings["preferred_optimize_projection_name"] = rollup(source, by_event=by_event)
    return Plan(sql, dict(parameters), settings, source)


def series(
    question: Question, buckets: Buckets, rows: Sequence[Sequence[Any]], *, now: datetime
) -> list[Series]:
    """From the answer's rows: (other, value, [(bucket start, value)], total); largest first, and
    what was left over at the end.
    """
    ordered = sorted(rows, key=lambda row: (row[0], -row[3], row[1] is None, row[1]))
    return [
        Series(*_named(question, row), values(buckets, dict(row[2]), now), row[3])
        for row in ordered
    ]


def _named(question: Question, row: Sequence[Any]) -> tuple[str, Kind, Any]:
    return told(row) if question.breakdown else (question.event or ALL, "all", None)


def _source(question: Question, buckets: Buckets, past: Past) -> Source:
    """A rollup serves when it has all facts asked for and every bound falls between its units; it
    knows of no past.
    """
    unit = "second" if past != NOW else _unit(buckets)
    return "rows" if unit == "second" or not _asked(question) <= {_EVENT} else unit


def _unit(buckets: Buckets) -> _Unit:
    bounds = [*buckets.bounds, buckets.start.timestamp(), buckets.end.timestamp()]
    if all(bound % 86_400 == 0 for bound in bounds):
        return "day"
    return "hour" if all(bound % 3600 == 0 for bound in bounds) else "second"


def _asked(question: Question) -> set[str]:
    asked = {where.property for where in question.where}
    return asked | ({question.breakdown.property} if question.breakdown else set())


def _grouped(
    question: Question,
    buckets: Buckets,
    source: Source,
    *,
    parameters: Parameters,
    conditions: Sequence[str],
) -> tuple[str, str]:
    """The keys of a cell, and what follows the table's name."""
    unit = _unit(buckets)
    keys = {"bucket": f"roundDown({_SECOND[unit]}, {buckets.bounds})"}
    if question.breakdown:
        keys["key"] = group_key(question.breakdown.property, parameters)
    conditions = [*conditions, *_range(buckets, unit=unit, source=source)]
    if question.event is not None:
        conditions.append(f"event = {parameters.text(question.event)}")
    conditions += all_of(question.where, parameters)
    named = ", ".join(f"{sql} AS {name}" for name, sql in keys.items())
    return named, f"WHERE {' AND '.join(conditions)} GROUP BY {', '.join(keys)}"


# The coarser the column, the less there is to read.
_SECOND: dict[_Unit, str] = {
    "day": "toUInt32(toDateTime(day, 'UTC'))",
    "hour": "toUInt32(hour)",
    "second": "toUInt32(toUnixTimestamp(ts))",
}


def _range(buckets: Buckets, *, unit: _Unit, source: Source) -> list[str]:
    start, end = buckets.start, buckets.end
    if unit == "day":
        return [f"day >= toDate('{start:%Y-%m-%d}')", f"day < toDate('{end:%Y-%m-%d}')"]
    # The days are for the index of the rows; the rollup by hour does not have them.
    days = [f"day >= toDate('{start:%Y-%m-%d}')", f"day <= toDate('{end:%Y-%m-%d}')"]
    if unit == "hour":
        first, last = int(start.timestamp()), int(end.timestamp())
        hours = [f"hour >= toDateTime({first}, 'UTC')", f"hour < toDateTime({last}, 'UTC')"]
        return hours if source == "hour" else hours + days
    return within(start, end)
