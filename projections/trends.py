"""Trends from the events table: the cheapest source that gives the exact answer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from domain.buckets import Buckets, preceding
from domain.measures import NUMERIC, OF_PERSONS, ROLLING
from domain.past import NOW, Past
from domain.trends import ALL, Kind, Question, Series, measured, plain, shown_buckets, values
from projections.conditions import Parameters, all_of, columns, group_key, typed
from projections.event_queries import days_of, up_to
from projections.events import TABLE, rollup
from projections.measures import aggregate
from projections.people_asked import Among, bound, known, theirs, those
from projections.ranking import ranked_cells, told
from projections.rollups import SECOND, Plan, Source, Unit, between, coarsest

_PERSON = "pid0"
CELLS = 5_000  # of a rollup: as many are ranked here, more by the engine

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


def plan(  # noqa: PLR0913  what an answer depends on
    question: Question,
    buckets: Buckets,
    *,
    app_number: int,
    past: Past = NOW,
    chosen: Among | None = None,
    table: str = TABLE,
    cells: int = CELLS,
) -> Plan:
    """`cells`: of so many the counts of a breakdown may be answered as they are; 0: none."""
    looked_at = _looked_at(question, buckets)
    source = _source(question, looked_at, past, chosen)
    if source != "rows" and chosen is not None:
        chosen = chosen.whole
    parameters = Parameters(now=past.as_of)
    measure = aggregate(measured(question), app_number, past.known_at, parameters)
    joined = measure.joined.format(cell="cell")
    template = _BROKEN_DOWN if question.breakdown else _ONE
    conditions = [f"app_number = {app_number:d}", *up_to(past)]
    if source == "rows":
        conditions += theirs(app_number, past.known_at, chosen)
    keys = _keys(question, looked_at, parameters)
    if question.event is not None:
        conditions.append(f"event = {parameters.text(question.event)}")
    conditions += all_of(question.where, parameters)
    named = ", ".join(f"{sql} AS {name}" for name, sql in keys.items())
    reading = " UNION ALL ".join(
        f"SELECT {named}, {measure.cell} AS cell FROM {table}"
        f" WHERE {' AND '.join([*part, *conditions])} GROUP BY {', '.join(keys)}"
        for part in _ranges(question, looked_at, source)
    )
    settings = _settings(question, source, is_small=chosen is None)
    if cells and source != "rows" and question.breakdown and question.measure == "total":
        value = typed(question.breakdown.property, "key")
        sql = f"SELECT bucket, {value}, cell FROM ({reading}) LIMIT {cells + 1:d}"
        return Plan(sql, parameters, settings, source, cells)
    reading = _rolled(question, looked_at, reading)
    if chosen and source != "rows":
        reading = _intersected(reading, those("cell", app_number, past.known_at, chosen))
    with_scalars = f"WITH {known(app_number, past.known_at, chosen)}" if chosen else measure.scalars
    sql = with_scalars + template.format(
        number=measure.number.format(cell="cell"),
        joined_number=measure.number.format(cell=joined),
        joined_pair=measure.joined.format(cell="pair.2"),
        limit=question.breakdown.limit if question.breakdown else 0,
        value=typed(question.breakdown.property, "key") if question.breakdown else "",
        cells=reading,
    )
    return Plan(sql, bound(parameters, chosen), settings, source)


def _settings(question: Question, source: Source, *, is_small: bool) -> dict[str, object]:
    if source == "rows":
        return {}
    settings: dict[str, object] = {"use_skip_indexes": 0}  # a rollup has none; to look costs 1 ms
    if is_small:
        settings["priority"] = 1
    settings["preferred_optimize_projection_name"] = rollup(source, _columns(question))
    return settings


def series(
    question: Question,
    buckets: Buckets,
    rows: Sequence[Sequence[Any]],
    *,
    now: datetime,
    in_cells: bool = False,
) -> list[Series]:
    """From the answer's rows, (other, value, [(bucket start, value)], total), or (bucket start,
    value, count) where they are `in_cells`; largest first, and what was left over at the end.
    """
    if in_cells and question.breakdown:
        rows = [*ranked_cells(((b, v, n) for b, v, n in rows), question.breakdown.limit)]
    in_time = shown_buckets(buckets, now)
    ordered = sorted(rows, key=lambda row: (row[0], *_falling(row[3]), row[1] is None, row[1]))
    return [
        Series(
            *_named(question, row),
            values(question, in_time, dict(row[2])),
            plain(row[3]),
        )
        for row in ordered
    ]


def _falling(number: float | None) -> tuple[bool, float]:
    return number is None, -(number or 0)


def _named(question: Question, row: Sequence[Any]) -> tuple[str, Kind, Any]:
    return told(row) if question.breakdown else (question.event or ALL, "all", None)


def _looked_at(question: Question, buckets: Buckets) -> Buckets:
    """With the whole days before them that a rolling measure looks back on."""
    days = ROLLING.get(question.measure)
    if days is None:
        return buckets
    bounds = [*preceding(buckets.bounds[0], days - 1, buckets.zone), *buckets.bounds]
    return buckets._replace(start=datetime.fromtimestamp(bounds[0], UTC), bounds=bounds)


def _rolled(question: Question, looked_at: Buckets, cells: str) -> str:
    """Each day's cell also in the days after it that look back on it."""
    days = ROLLING.get(question.measure)
    if days is None:
        return cells
    key = ", key" if question.breakdown else ""
    starts = looked_at.bounds[:-1]
    return (
        f"SELECT arrayJoin(arraySlice({starts}, indexOf({starts}, day_start), {days})) AS bucket"
        f"{key}, groupBitmapMergeState(day_cell) AS cell"
        f" FROM (SELECT bucket AS day_start{key}, cell AS day_cell FROM ({cells}))"
        f" GROUP BY bucket{key} HAVING bucket >= {starts[days - 1]}"
    )


def _intersected(cells: str, chosen: str) -> str:
    """Without those in which nobody is left, which rows would not give either."""
    return (
        f"SELECT * FROM (SELECT * REPLACE ({chosen} AS cell) FROM ({cells}))"
        " WHERE bitmapCardinality(cell) > 0"
    )


def _source(question: Question, buckets: Buckets, past: Past, chosen: Among | None) -> Source:
    """A rollup serves when it has all facts asked for and every bound falls between its units; it
    knows of no past and of no numbers, and of chosen persons only that they were there.
    """
    if chosen and question.measure not in OF_PERSONS:
        return "rows"
    unit = "second" if past != NOW or question.measure in NUMERIC else _unit(buckets)
    return "rows" if unit == "second" or rollup(unit, _columns(question)) is None else unit


def _unit(buckets: Buckets) -> Unit:
    return coarsest([*buckets.bounds, buckets.start.timestamp(), buckets.end.timestamp()])


def _columns(question: Question) -> set[str]:
    asked = [where.property for where in question.where]
    asked += [question.breakdown.property] if question.breakdown else []
    return columns(asked) | ({"event"} if question.event is not None else set())


def _keys(question: Question, buckets: Buckets, parameters: Parameters) -> dict[str, str]:
    """Of a cell."""
    keys = {"bucket": f"roundDown({SECOND[_unit(buckets)]}, {buckets.bounds})"}
    if question.breakdown:
        keys["key"] = group_key(question.breakdown.property, parameters)
    return keys


def _ranges(question: Question, buckets: Buckets, source: Source) -> list[list[str]]:
    """Conditions of the range, or of its two halves: a rollup's bitmaps come in one block, so that
    a single thread would make persons of all of them.
    """
    start, end, middle = buckets.start, buckets.end, len(buckets.bounds) // 2
    parts = [(start, end)]
    if source != "rows" and question.measure == "unique" and middle > 1:
        cut = datetime.fromtimestamp(buckets.bounds[middle], UTC)
        parts = [(start, cut), (cut, end)]
    unit = _unit(buckets)
    return [_range(*part, unit=unit, source=source) for part in parts]


def _range(start: datetime, end: datetime, *, unit: Unit, source: Source) -> list[str]:
    """Rows are found by their days; a rollup by hour does not have them."""
    if source != "rows" or unit == "second":
        return between(start, end, source)
    return between(start, end, unit) + ([] if unit == "day" else days_of(start, end))
