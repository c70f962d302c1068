"""Who fulfils criteria (domain/conditions/tree.py), from ClickHouse.

What one reading tells becomes one bitmap of persons: all clauses on what a person did from one of
the events that any of them needs, grouped by person; traits from person_traits; sequences from a
reading each. The tree is then an algebra of bitmaps (held.py). Criteria that also hold of somebody
who did nothing are asked the other way round: all persons but those of whom they do not.
"""

import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple, assert_never

import msgspec

from domain.conditions.dates import micros_of
from domain.conditions.judging import Person, evaluate
from domain.conditions.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Bounds,
    Did,
    FirstDid,
    InSequence,
    Member,
    Not,
    OfTrait,
    Sample,
    Step,
    Stopped,
    Tree,
    as_where,
    bounds,
)
from domain.durations import read_duration
from projections import person_traits
from projections.conditions import Parameters, all_of, column, group_key, is_number, raw, typed
from projections.criteria.asked import Asked
from projections.criteria.comparing import compared, lies_in, often
from projections.criteria.held import (
    Held,
    OnEvents,
    both,
    either,
    gathered,
    joined,
    said,
    source,
)
from projections.event_queries import up_to, within
from projections.person_map import numbers_of_rows, person

_T = "toUnixTimestamp64Micro(ts)"
_NEVER = 2**62
_MICROSECOND = timedelta(microseconds=1)
EVERYONE = "everyone"
FEW = "few"  # persons of whom the rest of the criteria holds, a bitmap
# What no index of persons serves: the engine need not weigh the other orders of the rows.
_IN_ITS_ORDER = " SETTINGS optimize_use_projections = 0"
_encode = msgspec.json.Encoder().encode
_NOBODY = Person(0, {}, ())


class _OfEvents(NamedTuple):
    """A clause on single events. `columns` of a person, which `holds` is about."""

    step: Step
    within: Bounds
    columns: Mapping[str, str]
    holds: str


def _both(one: Bounds, other: Bounds) -> Bounds:
    lows = one.low, other.low
    low = None if None in lows else min(filter(None, lows))
    return Bounds(low, max(one.high, other.high))


class Building:
    """`are_few`: traits are asked of the persons of FEW only."""

    def __init__(self, asked: Asked, parameters: Parameters, *, are_few: bool = False) -> None:
        self.parameters = parameters
        self._asked = asked
        self._are_few = are_few
        self._needs_everyone = False
        self._known: dict[bytes, Held] = {}  # criteria, as JSON
        self._clauses: dict[bytes, str] = {}  # clause, as JSON -> SQL on a person
        self._of_events: list[_OfEvents] = []
        self._of_rows: dict[str, str] = {}  # SQL on a row of events -> its name
        self._of_traits: dict[str, str] = {}  # name -> SQL on a row of traits
        self._event_bitmaps: dict[str, str] = {}  # name -> SQL on a person
        self._trait_bitmaps: dict[str, str] = {}
        self._others: list[str] = []

    # --- the algebra -------------------------------------------------------------------------

    def held(self, tree: Tree) -> Held:
        text = _encode(tree)
        if text not in self._known:
            self._known[text] = self._found(tree)
        return self._known[text]

    def among_all(self, held: Held) -> str:
        """The bitmap of those who are asked about."""
        self._needs_everyone = True
        how = "bitmapAndnot" if held.is_rest else "bitmapAnd"
        return f"{how}({EVERYONE}, {held.bitmap})"

    def _found(self, tree: Tree) -> Held:
        if source(tree) is not None:
            return self._told(tree)
        match tree:
            case AllOf(conditions=parts):
                return joined(self.held, both, gathered(parts, AllOf))
            case AnyOf(conditions=parts):
                return joined(self.held, either, gathered(parts, AnyOf))
            case Not(condition=part):
                return self.held(part).opposite
            case InSequence() | Member() | Sample():
                return self._alone(tree)
            case _:  # has a source
                raise ValueError(tree)

    def _alone(self, node: InSequence | Member | Sample) -> Held:
        match node:
            case InSequence():
                return Held(self._other(*self._sequence(node)), is_sure=self._is_of_all)
            case Sample():
                return Held(self._other(*self._sample(node)), is_sure=True)
            case Member(segment=segment):
                rows = self._asked.members_of[segment]
                return Held(self._other("groupBitmapState(toUInt64(person))", rows))
            case _:
                assert_never(node)

    @property
    def _is_of_all(self) -> bool:
        """Else the events of a person asked about may be those of another one by now."""
        return self._asked.among is None

    @property
    def _is_known(self) -> str:
        """Of a person of events, who may be newer than the number of ids."""
        return f"person <= {self._asked.ids:d} AND " if self._is_of_all else ""

    def _other(self, bitmap: str, rows: str) -> str:
        name = f"o{len(self._others)}"
        self._others.append(f"SELECT {bitmap} AS {name} FROM ({rows})")
        return name

    def _told(self, tree: Tree) -> Held:
        """Of criteria that also hold of somebody of whom nothing is known, the others are told."""
        is_default = evaluate(tree, _NOBODY, self._asked.now, lambda _: False)
        is_of_traits = source(tree) == "traits"
        bitmaps = self._trait_bitmaps if is_of_traits else self._event_bitmaps
        name = f"{'t' if is_of_traits else 'b'}{len(bitmaps)}"
        bitmaps[name] = ("NOT " if is_default else "") + said(tree, self._clause)
        is_sure = not is_of_traits and not is_default and self._is_of_all
        return Held(name, is_rest=is_default, is_sure=is_sure)

    def _clause(self, node: OnEvents | OfTrait) -> str:
        text = _encode(node)
        if text not in self._clauses:
            self._clauses[text] = self._made(node)
        return self._clauses[text]

    def _made(self, node: OnEvents | OfTrait) -> str:
        if isinstance(node, OfTrait):
            (held,) = all_of([as_where(node)], self.parameters)
            name = f"h{len(self._of_traits)}"
            self._of_traits[name] = f"ifNull({held}, 0)"
            return name
        clause = self._on_events(node, f"{len(self._of_events)}")
        self._of_events.append(clause)
        return clause.holds

    # --- where bitmaps come from -------------------------------------------------------------

    def sources(self) -> list[str]:
        """Queries of one row each, whose columns are the bitmaps that were asked for."""
        found = [*([self._everyone()] if self._needs_everyone else []), *self._others]
        if self._event_bitmaps:
            found.append(self._events())
        if self._trait_bitmaps:
            found.append(self._traits())
        return found

    def _everyone(self) -> str:
        if self._asked.among is None:
            rows = f"SELECT number FROM numbers(1, {self._asked.ids:d})"
        else:
            rows = f"SELECT person AS number FROM ({self._persons()})"
        rows += f" WHERE number BETWEEN 1 AND {self._asked.ids:d}"
        return f"SELECT bitmapAndnot(groupBitmapState(number), moved) AS {EVERYONE} FROM ({rows})"

    def _persons(self) -> str:
        """Rows: (person), those asked about."""
        if isinstance(self._asked.among, str):
            return self._asked.among
        numbers = ", ".join(f"{number:d}" for number in self._asked.among or ())
        return f"SELECT arrayJoin(CAST([{numbers}], 'Array(UInt64)')) AS person"

    def _traits(self) -> str:
        asked = self._asked
        narrowed = [] if asked.among is None else [f"person IN ({self._persons()})"]
        if self._are_few:
            narrowed.append(f"bitmapContains({FEW}, person)")
        rows = person_traits.latest(
            asked.app_number,
            asked.past.known_at,
            table=asked.tables.traits,
            conditions=narrowed,
            facts=self._of_traits,
        )
        bitmaps = ", ".join(
            f"groupBitmapStateIf(person, {holds}) AS {name}"
            for name, holds in self._trait_bitmaps.items()
        )
        return f"SELECT {bitmaps} FROM ({rows})"

    def _events(self) -> str:
        """What several clauses say of a row has one name, and so is planned and reckoned once."""
        clauses = self._of_events
        columns = [f"{sql} AS {n}" for clause in clauses for n, sql in clause.columns.items()]
        bitmaps = [
            f"groupBitmapStateIf(person, {self._is_known}{holds}) AS {name}"
            for name, holds in self._event_bitmaps.items()
        ]
        who = person(self._asked.app_number, self._asked.map_at)
        named = ", ".join(f"{sql} AS {name}" for sql, name in self._of_rows.items())
        rows = (
            f"SELECT {who} AS person, {named} FROM {self._asked.tables.events}"
            f" WHERE {self._needed([(clause.step, clause.within) for clause in clauses])}"
        )
        if self._is_of_all:
            rows += _IN_ITS_ORDER
        rows = f"SELECT person, {', '.join(columns)} FROM ({rows}) GROUP BY person"
        return f"SELECT {', '.join(bitmaps)} FROM ({rows})"

    def _row(self, sql: str) -> str:
        return self._of_rows.setdefault(sql, f"r{len(self._of_rows)}")

    def _needed(self, steps: Sequence[tuple[Step, Bounds]]) -> str:
        """Which rows any of the steps reads, and perhaps more: by event and time, which the index
        knows.
        """
        asked = self._asked
        conditions = [f"app_number = {asked.app_number:d}", *up_to(asked.past)]
        if asked.among is not None:
            whose = numbers_of_rows(self._persons(), asked.app_number, asked.map_at)
            conditions.append(f"pid0 IN ({whose})")
        spans: dict[str | None, Bounds] = {}
        for step, limits in steps:
            spans[step.event] = _both(spans.get(step.event, limits), limits)
        conditions += within(*functools.reduce(_both, spans.values()))
        if None not in spans:
            names: dict[Bounds, list[str]] = defaultdict(list)
            for name, limits in spans.items():
                names[limits].append(self.parameters.text(name or ""))
            ways = (self._way(named, limits, len(names)) for limits, named in names.items())
            conditions.append(f"({' OR '.join(ways)})")
        return " AND ".join(conditions)

    def _way(self, names: Sequence[str], limits: Bounds, ways: int) -> str:
        named = f"event IN ({', '.join(names)})"
        return f"({' AND '.join([named, *(within(*limits) if ways > 1 else ())])})"

    def _step(self, step: Step, limits: Bounds) -> list[str]:
        """What holds of a row that is the step; 1 where all are."""
        named = [] if step.event is None else [f"event = {self.parameters.text(step.event)}"]
        times = [one for one in within(*limits) if one.startswith("ts")]
        return [*named, *times, *all_of(step.where, self.parameters)] or ["1"]

    def _is_step(self, step: Step, limits: Bounds) -> str:
        return f"({' AND '.join(self._step(step, limits))})"

    # --- clauses on single events --------------------------------------------------------------

    def _on_events(self, node: OnEvents, name: str) -> _OfEvents:
        step, now = Step(node.event, node.where), self._asked.now
        ever = bounds(None, now)
        limits = ever if isinstance(node, FirstDid | Stopped) else bounds(node.within, now)
        held = " AND ".join(map(self._row, self._step(step, limits)))
        m = f"m_{name}"
        match node:
            case Did(times=times):
                told = f"countIf({held})", often(times, m)
            case FirstDid(within=window):
                first = f"min(if({held}, {self._row(_T)}, {_NEVER}))"
                told = first, lies_in(m, bounds(window, now))
            case Stopped(last=last):
                edge = micros_of(now - read_duration(last, "last"))
                told = f"max(if({held}, {self._row(_T)}, 0))", f"{m} > 0 AND {m} < {edge}"
            case _:
                return self._aggregate(node, _OfEvents(step, limits, {}, held), name)
        return _OfEvents(step, limits, {m: told[0]}, told[1])

    def _aggregate(self, node: Aggregate, clause: _OfEvents, name: str) -> _OfEvents:
        m, q = f"m_{name}", f"q_{name}"
        here = clause.holds
        if node.function == "count_distinct":
            key, is_there = map(self._row, self._distinct(node.property))
            columns = {m: f"toInt128(uniqExactIf({key}, {here} AND {is_there})) * 1000000"}
            return clause._replace(columns=columns, holds=compared(node, m, "1"))
        json = raw(node.property, self.parameters)
        here = f"{here} AND {self._row(is_number(json))}"
        value = self._row(f"toInt128(round(JSONExtractFloat({json}) * 1000000.))")
        how = node.function if node.function in {"min", "max"} else "sum"
        columns = {m: f"{how}If({value}, {here})", q: f"countIf({here})"}
        holds = compared(node, m, f"toInt128({q})" if node.function == "avg" else "1")
        if node.function != "sum":
            holds = f"{q} > 0 AND {holds}"
        return clause._replace(columns=columns, holds=holds)

    def _distinct(self, name: str) -> tuple[str, str]:
        """What tells values apart, and whether there is one that does."""
        if column(name) is not None:
            return name.removeprefix("$"), f"{column(name)} != ''"
        json = group_key(name, self.parameters)
        return (
            f"ifNull({typed(name, json)}, '')",
            f"{json} NOT IN ('', 'null') AND ascii({json}) NOT IN (91, 123)",
        )

    # --- the others ------------------------------------------------------------------------------

    def _sample(self, node: Sample) -> tuple[str, str]:
        """domain/conditions/judging.sampled"""
        text = f"concat({self.parameters.text(node.seed)}, ':', toString(number))"
        place = f"reinterpretAsUInt64(substring(MD5({text}), 1, 8)) % 10000"
        rows = f"SELECT arrayJoin(bitmapToArray({EVERYONE})) AS number FROM ({self._everyone()})"
        return f"groupBitmapStateIf(number, {place} < {round(node.percent * 100):d})", rows

    def _sequence(self, node: InSequence) -> tuple[str, str]:
        asked = self._asked
        length = read_duration(node.within, "within") // _MICROSECOND
        limits = bounds(node.window, asked.now)
        begins, ever = self._is_step(node.first, limits), bounds(None, asked.now)
        follows = self._is_step(node.then, limits._replace(high=ever.high))
        which = self._needed([(node.first, limits), (node.then, limits._replace(high=ever.high))])
        who = person(asked.app_number, asked.map_at)
        rows = (
            f"SELECT {who} AS person, {_T} AS t, position, {begins} AS x, {follows} AS y"
            f" FROM {asked.tables.events} WHERE {which}"
        )
        over = "OVER (PARTITION BY person ORDER BY t, position ROWS BETWEEN"
        if node.followed:
            near = f"max(if(x, t, 0)) {over} UNBOUNDED PRECEDING AND 1 PRECEDING)"
            holds = f"y AND near > 0 AND t - near <= {length}"
        else:
            near = f"min(if(y, t, {_NEVER})) {over} 1 FOLLOWING AND UNBOUNDED FOLLOWING)"
            is_over = f"t + {length} < {micros_of(asked.now)}"
            holds = f"x AND (near = 0 OR near > t + {length}) AND {is_over}"
        return (
            f"groupBitmapStateIf(person, {self._is_known}{holds})",
            f"SELECT person, t, x, y, {near} AS near FROM ({rows})",
        )
