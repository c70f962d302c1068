"""Retention from the events table: bitmaps of persons by unit, and what two of them share."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from domain.past import NOW, Past, seen_until
from domain.retention import Asked, Counted, Question, Series, cohorts, totals
from domain.trends import ALL, Kind
from projections.conditions import Parameters, all_of, columns, happened
from projections.event_queries import up_to, within
from projections.events import AT, TABLE, rollup
from projections.group_keys import GroupKey, carried_key
from projections.people_asked import Among, bound, known, theirs, those
from projections.person_map import person
from projections.ranking import ranked, told
from projections.rollups import SECOND, Plan, Source, between, coarsest

_NO_KEY = "''"  # SQL: there is nothing to break down by

# A row for each cohort: who is in it, who came back in its own unit, and who in those after it.
_COUNTED = """
WITH {scalars}
SELECT other, shown, unit, bitmapCardinality(people), bitmapCardinality(back),
    arrayMap(
        pair -> (pair.1, bitmapAndCardinality(people, pair.2), {back_too}),
        arrayFilter(pair -> pair.1 > unit AND pair.1 <= {last}, pairs))
FROM ({cohorts}) AS cohorts
CROSS JOIN (
    SELECT arraySort(pair -> pair.1, groupArray((since, those))) AS pairs FROM ({returns})
) AS after
"""

# The same where one and the same events start and return: they are read once.
_SAME = """
WITH {scalars}
SELECT 0, CAST(NULL AS Nullable(String)), one.1 AS unit, bitmapCardinality(one.3) AS size, size,
    arrayMap(
        pair -> (pair.1, bitmapAndCardinality(one.3, pair.2), 0),
        arrayFilter(pair -> pair.1 > unit AND pair.1 <= {last}, units))
FROM (
    SELECT arraySort(pair -> pair.1, groupArray((unit, those, begun))) AS units FROM (
        SELECT roundDown(piece, {bounds}) AS unit, groupBitmapMergeState(people) AS those,
            groupBitmapMergeState(if(piece < {end}, people, bitmapAnd(people, nobody))) AS begun
        FROM (SELECT unit AS piece, people, bitmapBuild(emptyArrayUInt64()) AS nobody
            FROM ({pieces})) GROUP BY unit)
) ARRAY JOIN units AS one WHERE unit < {end}
"""

# Turned around, the greatest is the first recorded of those at the last instant.
_TURN = "toUInt128(18446744073709551615)"
_LAST = "maxIf(at, returns)"
_LOWEST = f"bitXor(maxIf(bitXor(at, {_TURN}), returns), {_TURN})"
# Whether another event than the first lies at or after it: the last one does, or one at its
# instant, and of those the first and the last recorded tell whether there is another.
_RETURNED = (
    f"(bitShiftRight({_LAST}, 64) >= bitShiftRight(first, 64)"
    f" AND ({_LAST} != first OR {_LOWEST} != first))"
)


class _Events(NamedTuple):
    """The events that the question sees. `starts` and `returns` are conditions."""

    app_number: int
    past: Past
    table: str
    source: Source
    conditions: list[str]
    starts: str
    returns: str
    key: GroupKey
    chosen: Among | None
    scalars: str


def plan(
    question: Question,
    asked: Asked,
    *,
    app_number: int,
    past: Past = NOW,
    chosen: Among | None = None,
    table: str = TABLE,
) -> Plan:
    """Rows: (other, value, cohort, size, returned in its own unit, [(unit, returned, of these
    returned in its own unit too)]); units are told by the second at which they start.
    """
    parameters = Parameters(now=past.as_of)
    source = _source(question, asked, past)
    if source != "rows" and chosen is not None:
        chosen = chosen.whole
    key = carried_key(question.breakdown, parameters, app_number=app_number, table=table)
    seen = _Events(
        app_number=app_number,
        past=past,
        table=table,
        source=source,
        conditions=[
            f"app_number = {app_number:d}",
            *up_to(past),
            *all_of(question.where, parameters),
            *key.conditions,
            *(theirs(app_number, past.known_at, chosen) if source == "rows" else ()),
        ],
        starts=happened(question.start_event, question.start_where, parameters),
        returns=happened(question.return_event, question.return_where, parameters),
        key=key,
        chosen=None if source == "rows" else chosen,
        scalars=", ".join([known(app_number, past.known_at, chosen), *key.scalars]),
    )
    last = "4294967295" if question.unbounded else _last(asked)
    if _is_one_reading(question, asked):
        sql = _same(asked, seen, last)
    else:
        sql = _COUNTED.format(
            scalars=seen.scalars,
            cohorts=_broken_down(question, key, _cohorts(question, asked, seen)),
            returns=_returns(question, asked, seen),
            back_too="bitmapAndCardinality(back, pair.2)" if question.unbounded else "0",
            last=last,
        )
    settings = _settings(question, source, is_small=chosen is None)
    return Plan(sql, bound(parameters, chosen), settings, source)


def _last(asked: Asked) -> str:
    """The unit up to which a cohort is followed."""
    return f"{asked.bounds}[indexOf({asked.bounds}, unit) + {asked.periods}]"


def _is_one_reading(question: Question, asked: Asked) -> bool:
    return (
        _is_by_unit(question)
        and not (asked.within.start.microsecond or asked.within.end.microsecond)
        and not question.unbounded
        and question.start_event == question.return_event
        and question.start_where == question.return_where
    )


def _same(asked: Asked, seen: _Events, last: str) -> str:
    """Units are cut where the range begins and ends: beyond it events only return."""
    start, end = (int(at.timestamp()) for at in asked.within[:2])
    cuts = sorted({start, end, *(unit for unit in asked.bounds if unit > start)})
    times = between(asked.within.start, _instant(asked.bounds[-1]), seen.source)
    return _SAME.format(
        scalars=seen.scalars,
        pieces=_bitmaps(seen, [*times, seen.starts], cuts),
        bounds=asked.bounds,
        end=end,
        last=last,
    )


def _settings(question: Question, source: Source, *, is_small: bool) -> dict[str, object]:
    settings: dict[str, object] = {}
    if source != "rows":
        if is_small:
            settings["priority"] = 1
        settings["preferred_optimize_projection_name"] = rollup(source, _columns(question))
    return settings


def _is_by_unit(question: Question) -> bool:
    """Whether it does not matter which of a person's events in a unit is the first."""
    return (
        question.kind == "recurring"
        and question.period_zero == "cohort"
        and question.breakdown is None
    )


def _source(question: Question, asked: Asked, past: Past) -> Source:
    """A rollup serves as with trends, and knows of no order within its units."""
    if past != NOW or not _is_by_unit(question):
        return "rows"
    start, end, _ = asked.within
    unit = coarsest([*asked.bounds, start.timestamp(), end.timestamp()])
    return "rows" if unit == "second" or rollup(unit, _columns(question)) is None else unit


def _columns(question: Question) -> set[str]:
    conditions = (*question.where, *question.start_where, *question.return_where)
    asked = columns(where.property for where in conditions)
    return asked | ({"event"} if {question.start_event, question.return_event} != {None} else set())


def _unit(bounds: Sequence[int], source: Source) -> str:
    return f"roundDown({SECOND['second' if source == 'rows' else source]}, {list(bounds)})"


def _bitmaps(seen: _Events, conditions: Sequence[str], bounds: Sequence[int]) -> str:
    """Rows (unit, people) of all events that the conditions choose."""
    people = those("numbers", seen.app_number, seen.past.known_at, seen.chosen)
    found = (
        f"SELECT unit, {people} AS people FROM (SELECT {_unit(bounds, seen.source)} AS unit,"
        f" groupBitmapState(pid0) AS numbers FROM {seen.table}"
        f" WHERE {' AND '.join([*seen.conditions, *conditions])} GROUP BY unit)"
    )
    if seen.chosen is None:
        return found
    return f"SELECT unit, people FROM ({found}) WHERE bitmapCardinality(people) > 0"


def _returns(question: Question, asked: Asked, seen: _Events) -> str:
    """Rows (since, those): who returned in the unit or, if that will do, since it began."""
    end = None if question.unbounded else _instant(asked.bounds[-1])
    times = between(_instant(asked.bounds[1]), end, seen.source)
    found = _bitmaps(seen, [*times, seen.returns], asked.bounds[1:])
    if not question.unbounded:
        return f"SELECT unit AS since, people AS those FROM ({found})"
    return (
        "SELECT unit AS since, groupBitmapMergeState(people) OVER (ORDER BY unit DESC) AS those"
        f" FROM ({found})"
    )


def _cohorts(question: Question, asked: Asked, seen: _Events) -> str:
    """Rows (unit, key, people, back)."""
    if _is_by_unit(question):
        times = between(asked.within.start, asked.within.end, seen.source)
        found = _bitmaps(seen, [*times, seen.starts], asked.bounds[: asked.cohorts])
        return f"SELECT unit, '' AS key, people, people AS back FROM ({found})"
    found = _firsts(question, asked, seen)
    if question.kind == "first_time":
        # One who began before the range is in no cohort.
        key = "key" if question.breakdown else "0"
        found = (
            f"SELECT person, one.1 AS unit, {_key(question, 'one.3')} AS key, one.2 AS returned"
            f" FROM (SELECT person, argMin((unit, returned, {key}), first) AS one,"
            f" min(first) AS ever FROM ({found}) GROUP BY person)"
            f" WHERE bitShiftRight(ever, 64) >= {_micros(asked.within.start)}"
        )
    return (
        "SELECT unit, key, groupBitmapState(person) AS people,"
        f" groupBitmapStateIf(person, returned) AS back FROM ({found}) GROUP BY unit, key"
    )


def _firsts(question: Question, asked: Asked, seen: _Events) -> str:
    """Rows (person, unit, first, key, returned): of each person the first start event in each unit
    (0: before the first cohort's), and whether the unit has a return to it.
    """
    start, end, _ = asked.within
    since = start if question.kind == "recurring" else None
    starts = " AND ".join([seen.starts, *within(since, end)])
    returns, returned = "0", "1"
    if question.period_zero == "returned":
        units_end = _instant(asked.bounds[asked.cohorts])
        returns, returned = " AND ".join([seen.returns, *within(start, units_end)]), _RETURNED
    rows = (
        f"SELECT {person(seen.app_number, seen.past.known_at)} AS person,"
        f" {_unit([0, *asked.bounds[: asked.cohorts]], 'rows')} AS unit,"
        f" {AT} AS at, {starts} AS starts, {returns} AS returns,"
        f" {_key(question, f'if(starts, {seen.key.carried}, {seen.key.nothing})')} AS key"
        f" FROM {seen.table} WHERE {' AND '.join(seen.conditions)} AND (starts OR returns)"
    )
    return (
        "SELECT person, unit, minIf(at, starts) AS first,"
        f" {_key(question, 'argMinIf(key, at, starts)')} AS key, {returned} AS returned"
        f" FROM ({rows}) GROUP BY person, unit HAVING countIf(starts) > 0"
    )


def _key(question: Question, sql: str) -> str:
    """Text costs much while rows are joined: only where it is asked for."""
    return sql if question.breakdown else _NO_KEY


def _broken_down(question: Question, key: GroupKey, found: str) -> str:
    """Rows (other, shown, unit, people, back)."""
    if question.breakdown is None:
        nothing = "CAST(NULL AS Nullable(String))"
        return f"SELECT 0 AS other, {nothing} AS shown, unit, people, back FROM ({found})"
    rows = ranked(
        found,
        key,
        counted="groupArray((unit, people, back)) AS cells",
        merged="groupArrayArray(cells) AS cells",
        by="sum(bitmapCardinality(people))",
        limit=question.breakdown.limit,
    )
    return (
        "SELECT other, shown, cell.1 AS unit, groupBitmapMergeState(cell.2) AS people,"
        f" groupBitmapMergeState(cell.3) AS back FROM ({rows}) ARRAY JOIN cells AS cell"
        " GROUP BY other, shown, unit"
    )


def series(
    question: Question,
    asked: Asked,
    rows: Sequence[Sequence[Any]],
    *,
    now: datetime,
    past: Past = NOW,
) -> list[Series]:
    """From the answer's rows; largest first, and what was left over at the end."""
    found: dict[tuple[Any, ...], dict[int, Counted]] = {}
    if question.breakdown is None:
        found[0, None] = {}
    for other, value, unit, size, back, pairs in rows:
        returned = _by_period(asked, unit, back, pairs, unbounded=question.unbounded)
        found.setdefault((other, value), {})[unit] = Counted(size, returned)
    until = seen_until(now, past)
    made = [
        (key, sum(one.size for one in counted.values()), counted) for key, counted in found.items()
    ]
    made.sort(key=lambda one: (one[0][0], -one[1], one[0][1] is None, one[0][1]))
    return [_series(question, asked, key, counted=counted, until=until) for key, _, counted in made]


def _series(
    question: Question,
    asked: Asked,
    key: tuple[Any, ...],
    *,
    counted: Mapping[int, Counted],
    until: datetime,
) -> Series:
    named: tuple[str, Kind, Any] = told(key) if question.breakdown else (ALL, "all", None)
    these = cohorts(asked, counted, until)
    return Series(*named, sum(c.size for c in these), these, totals(these))


def _by_period(
    asked: Asked, unit: int, back: int, pairs: Sequence[tuple[int, int, int]], *, unbounded: bool
) -> dict[int, int]:
    """Period -> who returned. `pairs` are in order; of unbounded ones each stands for the units
    before it too, in which nobody returned.
    """
    first = asked.bounds.index(unit)
    if not unbounded:
        return {0: back} | {asked.bounds.index(at) - first: n for at, n, _ in pairs}
    returned = {0: back + pairs[0][1] - pairs[0][2] if pairs else back}
    for period in range(1, asked.periods + 1):
        start = asked.bounds[first + period]
        returned[period] = next((n for at, n, _ in pairs if at >= start), 0)
    return returned


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


def _micros(instant: datetime) -> int:
    return int(instant.timestamp()) * 1_000_000 + instant.microsecond
