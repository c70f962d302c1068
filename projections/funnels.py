"""Funnels from the rows of events: the cheapest of four queries that gives the exact answer."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from domain.funnels import Asked, Question, Reached, Series, Times, follows_itself
from domain.past import NOW, Past
from domain.trends import ALL
from projections.conditions import Parameters, all_of, happened
from projections.event_queries import Query, up_to, within
from projections.events import AT, TABLE
from projections.group_keys import GroupKey, carried_key
from projections.people_asked import Among, bound, known, theirs
from projections.person_map import person
from projections.ranking import ranked, told

_T = "toUInt64(toUnixTimestamp64Micro(ts))"
_MICROSECOND = timedelta(microseconds=1)
_NEVER = 2**64 - 1


class _Events(NamedTuple):
    """The events that the question sees. `conditions`: all but those of the steps. `steps`: of each
    its condition, the first one's with the range. `end` and `window` are microseconds.
    """

    app_number: int
    known_at: int | None
    table: str
    conditions: list[str]
    steps: list[str]
    exclusions: str
    entered: str
    key: GroupKey
    window: int

    def select(self, columns: str, *, only_steps: bool, rest: str = "") -> str:
        conditions = list(self.conditions)
        if only_steps:
            which = [*self.steps, *([self.exclusions] if self.exclusions else [])]
            conditions.append(f"({' OR '.join(which)})")
        who = person(self.app_number, self.known_at)
        return (
            f"SELECT {who} AS person, {columns} FROM {self.table}"
            f" WHERE {' AND '.join(conditions)} {rest}"
        )


def plan(
    question: Question,
    asked: Asked,
    *,
    app_number: int,
    past: Past = NOW,
    chosen: Among | None = None,
    table: str = TABLE,
) -> Query:
    """Rows: (other, value, persons by step, seconds to each further step of those who took it)."""
    parameters = Parameters(now=past.as_of)
    seen = _events(question, asked, parameters, app_number=app_number, past=past, table=table)
    seen.conditions.extend(theirs(app_number, past.known_at, chosen))
    counted = _grouped(question, seen.key, _persons(question, seen))
    scalars = ", ".join([known(app_number, past.known_at, chosen), *seen.key.scalars])
    return Query(f"WITH {scalars} {counted}", bound(parameters, chosen))


def _events(
    question: Question,
    asked: Asked,
    parameters: Parameters,
    *,
    app_number: int,
    past: Past,
    table: str,
) -> _Events:
    start, end, _ = asked.within
    in_range = f"ts < fromUnixTimestamp64Micro({_micros(end.timestamp())}, 'UTC')"
    steps = [happened(step.event, step.where, parameters) for step in question.steps]
    if question.order != "any":
        steps[0] = f"({steps[0]} AND {in_range})"
    key = carried_key(question.breakdown, parameters, app_number=app_number, table=table)
    return _Events(
        app_number=app_number,
        known_at=past.known_at,
        table=table,
        conditions=[
            f"app_number = {app_number:d}",
            *up_to(past),
            *within(start, end + asked.window),
            *all_of(question.where, parameters),
            *key.conditions,
        ],
        steps=steps,
        exclusions=" OR ".join(
            happened(one.event, one.where, parameters) for one in question.exclusions
        ),
        entered=in_range if question.order == "any" else steps[0],
        key=key,
        window=asked.window // _MICROSECOND,
    )


def _persons(question: Question, seen: _Events) -> str:
    """Rows (person, level, key, took): the furthest step, what to break down by, and microseconds
    to each further step, 0 where it was not taken.
    """
    if question.order == "strict":
        return _strict(seen)
    if question.order == "any":
        return _any(seen)
    overlaps = any(follows_itself(question.steps, n) for n in range(len(question.steps)))
    if overlaps or question.exclusions or question.times:
        return _ordered(question, seen)
    return _windowed(seen)


def _windowed(seen: _Events) -> str:
    """The engine's own function, which sorts events of one instant by their step."""
    funnel = f"windowFunnel({seen.window})({_T}, {', '.join(seen.steps)})"
    columns = f"{funnel} AS level, {_first_key(seen)} AS key, emptyArrayUInt64() AS took"
    return seen.select(columns, only_steps=True, rest="GROUP BY person HAVING level > 0")


def _first_key(seen: _Events) -> str:
    """What the person's first event that enters has; read only where it does."""
    if seen.key.breakdown is None:
        return seen.key.nothing
    key = f"if({seen.entered}, {seen.key.carried}, {seen.key.nothing})"
    return f"argMinIf({key}, {AT}, {seen.entered})"


def _ordered(question: Question, seen: _Events) -> str:
    """Step after step: the latest start with which an event can be that step, 0 if with none. The
    later the start, the longer the window still is and the fewer exclusions lie behind it, so no
    other start need be kept.
    """
    count = len(seen.steps)
    flags = ", ".join(f"{condition} AS s{n}" for n, condition in enumerate(seen.steps, 1))
    rows = seen.select(
        f"{_T} AS t, {flags}, {seen.exclusions or '0'} AS x{_key_of(seen)}",
        only_steps=True,
    )
    sql = f"SELECT *, if(s1, t, 0) AS start1, {_over('if(x, t, 0)')} AS excluded FROM ({rows})"
    for n in range(2, count + 1):
        is_later = follows_itself(question.steps, n - 1)
        latest = _over(f"start{n - 1}", upto="1 PRECEDING" if is_later else "CURRENT ROW")
        holds = f"s{n} AND best > 0 AND t - best <= {seen.window} AND best >= excluded"
        inner = f"SELECT *, {latest} AS best FROM ({sql})"
        sql = f"SELECT * EXCEPT best, if({holds}, best, 0) AS start{n} FROM ({inner})"
    levels = ", ".join(f"max(start{n}) > 0" for n in range(1, count + 1))
    took = ", ".join(f"argMinIf(t - start{n}, t, start{n} > 0)" for n in range(2, count + 1))
    entered = ", ".join(f"max(start{n}) > 0" for n in range(2, count + 1))
    return (
        f"SELECT person, arraySum([{levels}]) AS level,"
        f" {_chosen(seen, 'argMinIf(key, at, s1)')} AS key,"
        f" arrayMap((is_there, it) -> if(is_there, it + 1, 0), [{entered}], [{took}]) AS took"
        f" FROM ({sql}) GROUP BY person HAVING level > 0"
    )


def _over(what: str, upto: str = "CURRENT ROW") -> str:
    return (
        f"max({what}) OVER (PARTITION BY person ORDER BY t"
        f" RANGE BETWEEN UNBOUNDED PRECEDING AND {upto})"
    )


def _chosen(seen: _Events, key: str) -> str:
    return key if seen.key.breakdown else seen.key.nothing


def _key_of(seen: _Events) -> str:
    """More columns of a row, where there is something to break down by."""
    if seen.key.breakdown is None:
        return ""
    return f", {AT} AS at, if({seen.entered}, {seen.key.carried}, {seen.key.nothing}) AS key"


def _strict(seen: _Events) -> str:
    """All events of a person in their order, each with what it is, beside those that follow."""
    flags = ", ".join(f"toUInt8({condition})" for condition in seen.steps)
    count = len(seen.steps)
    rows = seen.select(
        f"arraySort(groupArray(({_T}, position, [{flags}]))) AS events, {_first_key(seen)} AS key",
        only_steps=False,
        rest="GROUP BY person",
    )
    shifted = [f"arrayShiftLeft(events, {n})" if n else "events" for n in range(count)]
    levels = []
    for n in range(1, count + 1):
        names = [f"e{place}" for place in range(n)]
        steps = [f"{name}.3[{place}]" for place, name in enumerate(names, 1)]
        holds = " AND ".join([*steps, f"{names[-1]}.1 - e0.1 <= {seen.window}"])
        arrays = ", ".join(shifted[:n])
        levels.append(f"arrayExists(({', '.join(names)}) -> {holds}, {arrays})")
    return (
        f"SELECT person, arraySum([{', '.join(levels)}]) AS level, key,"
        f" emptyArrayUInt64() AS took FROM ({rows}) WHERE level > 0"
    )


def _any(seen: _Events) -> str:
    """From each event that enters, how many of the steps lie within the window from it on."""
    flags = ", ".join(f"{condition} AS s{n}" for n, condition in enumerate(seen.steps, 1))
    rows = seen.select(
        f"{_T} AS t, {flags}, {seen.entered} AS entered{_key_of(seen)}",
        only_steps=True,
    )
    nearest = [
        f"min(if(s{n}, t, {_NEVER})) OVER (PARTITION BY person ORDER BY t DESC"
        " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        for n in range(1, len(seen.steps) + 1)
    ]
    taken = " + ".join(f"({at} <= t + {seen.window})" for at in nearest)
    return (
        f"SELECT person, max(taken) AS level, {_chosen(seen, 'argMin(key, at)')} AS key,"
        f" emptyArrayUInt64() AS took FROM (SELECT *, {taken} AS taken FROM ({rows}))"
        " WHERE entered GROUP BY person"
    )


def _grouped(question: Question, key: GroupKey, persons: str) -> str:
    count = len(question.steps)
    reached = ", ".join(f"countIf(level >= {n})" for n in range(1, count + 1))
    took = "groupArrayIf(took, level > 1)" if question.times else "[emptyArrayUInt64()]"
    if question.breakdown is None:
        rows = (
            f"SELECT 0 AS other, CAST(NULL AS Nullable(String)) AS shown, [{reached}] AS reached,"
            f" {took} AS took FROM ({persons})"
        )
    else:
        rows = ranked(
            persons,
            key,
            counted=f"[{reached}] AS reached, {took} AS took",
            merged="sumForEach(reached) AS reached, groupArrayArray(took) AS took",
            by="reached[1]",
            limit=question.breakdown.limit,
        )
    times = _times_of(count) if question.times else "emptyArrayUInt64()"
    return f"SELECT other, shown, reached, {times} FROM ({rows})"


def _times_of(count: int) -> str:
    """Of each further step median, ninth decile and average, in microseconds."""
    these = "arrayMap(one -> one[step] - 1, arrayFilter(one -> one[step] > 0, took))"
    return (
        f"arrayMap(step -> arrayPushBack(arrayReduce('quantilesExactInclusive(0.5, 0.9)', {these}),"
        f" arrayReduce('avg', {these})), range(1, {count}))"
    )


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)


def series(question: Question, rows: Sequence[Sequence[Any]]) -> list[Series]:
    """From the answer's rows; largest first, and what was left over at the end."""
    ordered = sorted(rows, key=lambda row: (row[0], -row[2][0], row[1] is None, row[1]))
    return [_series(question, row) for row in ordered]


def _series(question: Question, row: Sequence[Any]) -> Series:
    steps = _steps(question, row[2], row[3])
    if question.breakdown is None:
        return Series(ALL, "all", None, steps)
    return Series(*told(row), steps)


def _steps(
    question: Question, reached: Sequence[int], times: Sequence[Sequence[float]]
) -> list[Reached]:
    return [
        Reached(
            step=n + 1,
            event=step.event if question.order != "any" else None,
            persons=reached[n],
            rate=_rate(reached[n], reached[0]),
            rate_of_previous=_rate(reached[n], reached[n - 1] if n else reached[0]),
            times=_times(times[n - 1]) if question.times and n and reached[n] else None,
        )
        for n, step in enumerate(question.steps)
    ]


def _rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _times(micros: Sequence[float]) -> Times:
    median, p90, average = (round(each / 1_000_000, 6) for each in micros)
    return Times(median=median, average=average, p90=p90)
