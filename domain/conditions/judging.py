"""Criteria in memory: whether they hold of a person, and what decides it."""

import hashlib
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from domain.conditions.properties import lookup, matches
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
    Times,
    Tree,
    as_where,
    bounds,
)
from domain.durations import read_duration

MAX_EVIDENCE = 10  # events told of one clause: the newest
_MILLION = 1_000_000
_NO_FACTS: Mapping[str, str] = MappingProxyType({})


class Event(NamedTuple):
    """`properties` is the decoded JSON; `facts` those of BUILT_IN, "" for one not known."""

    timestamp: datetime
    name: str
    properties: Mapping[str, Any]
    facts: Mapping[str, str]
    position: int
    event_id: str | None = None


class Person(NamedTuple):
    """`number` is the person's, the lowest of its ids'. `events` are in any order."""

    number: int
    traits: Mapping[str, Any]
    events: Sequence[Event]


class Evidence(msgspec.Struct, frozen=True):
    position: int
    event_id: str | None
    event: str
    timestamp: datetime


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """`number` is what was counted or reckoned; of a sample where in 0 to 100 the person lies; null
    where there is none. `value` is that of a trait. `evidence`: the events that decide it, oldest
    first; of more than MAX_EVIDENCE the newest. `parts` are those of all, any and not, and the
    criteria of a live segment that is named.
    """

    type: str
    holds: bool
    number: float | None = None
    value: Any = None
    evidence: tuple[Evidence, ...] = ()
    parts: "tuple[Judgement, ...]" = ()
    text: str = ""


class _Found(NamedTuple):
    holds: bool
    number: float | None = None
    value: Any = None
    events: Sequence[Event] = ()


class _Seen(NamedTuple):
    """A person at an instant; `events` are those up to then, in order."""

    person: Person
    events: Sequence[Event]
    now: datetime
    is_member: Callable[[str], bool]


def evaluate(tree: Tree, person: Person, now: datetime, is_member: Callable[[str], bool]) -> bool:
    """`is_member`: of the segment with this id."""
    return _holds(tree, _seen(person, now, is_member))


def explain(
    tree: Tree,
    person: Person,
    now: datetime,
    is_member: Callable[[str], bool],
    *,
    text: Callable[[Tree], str] = lambda _: "",
    criteria_of: Callable[[str], Tree | None] = lambda _: None,
) -> Judgement:
    """`text`: how a clause is written (domain/conditions/text.py). `criteria_of`: the segment with
    this id, None of a list; none is named by itself.
    """
    return _explained(tree, _seen(person, now, is_member), text, criteria_of)


def _seen(person: Person, now: datetime, is_member: Callable[[str], bool]) -> _Seen:
    events = sorted(
        (event for event in person.events if event.timestamp <= now),
        key=lambda event: (event.timestamp, event.position),
    )
    return _Seen(person, events, now, is_member)


def _holds(tree: Tree, seen: _Seen) -> bool:
    match tree:
        case AllOf(conditions=parts):
            return all(_holds(part, seen) for part in parts)
        case AnyOf(conditions=parts):
            return any(_holds(part, seen) for part in parts)
        case Not(condition=part):
            return not _holds(part, seen)
        case _:
            return _clause(tree, seen).holds


def _explained(
    tree: Tree,
    seen: _Seen,
    text: Callable[[Tree], str],
    criteria_of: Callable[[str], Tree | None],
) -> Judgement:
    kind = str(tree.__struct_config__.tag)
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            judged = tuple(_explained(part, seen, text, criteria_of) for part in parts)
            each = [one.holds for one in judged]
            holds = all(each) if isinstance(tree, AllOf) else any(each)
            return Judgement(kind, holds, parts=judged, text=text(tree))
        case Not(condition=part):
            inner = _explained(part, seen, text, criteria_of)
            return Judgement(kind, not inner.holds, parts=(inner,), text=text(tree))
        case Member(segment=segment) if (criteria := criteria_of(segment)) is not None:
            inner = _explained(criteria, seen, text, criteria_of)
            return Judgement(kind, inner.holds, parts=(inner,), text=text(tree))
        case _:
            found = _clause(tree, seen)
            evidence = tuple(
                Evidence(event.position, event.event_id, event.name, event.timestamp)
                for event in found.events[-MAX_EVIDENCE:]
            )
            return Judgement(
                kind, found.holds, found.number, found.value, evidence, text=text(tree)
            )


def _clause(
    tree: OfTrait | Did | FirstDid | Stopped | InSequence | Aggregate | Member | Sample,
    seen: _Seen,
) -> _Found:
    match tree:
        case OfTrait():
            where = as_where(tree)
            holds = matches(where, seen.person.traits, _NO_FACTS, seen.now)
            return _Found(holds, value=lookup(tree.trait, seen.person.traits, _NO_FACTS))
        case Member(segment=segment):
            return _Found(seen.is_member(segment))
        case Sample(percent=percent, seed=seed):
            place = sampled(seed, seen.person.number)
            return _Found(place < round(percent * 100), place / 100)
        case InSequence():
            return _sequence(tree, seen)
        case Aggregate():
            return _aggregate(tree, seen)
        case _:
            return _happened(tree, seen)


def sampled(seed: str, number: int) -> int:
    """Where in 0 to 9999 a person lies. projections/criteria reckons the same."""
    digest = hashlib.md5(f"{seed}:{number}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "little") % 10_000


def _happened(tree: Did | FirstDid | Stopped, seen: _Seen) -> _Found:
    found = _of_step(Step(tree.event, tree.where), seen)
    match tree:
        case Did(times=times, within=window):
            counted = _in(found, bounds(window, seen.now))
            return _Found(_is_often(times, len(counted)), len(counted), events=counted)
        case FirstDid(within=window):
            first = found[:1]
            holds = bool(_in(first, bounds(window, seen.now)))
            return _Found(holds, events=first)
        case Stopped(last=last):
            edge = seen.now - read_duration(last, "last")
            return _Found(bool(found) and found[-1].timestamp < edge, events=found[-1:])


def _of_step(step: Step, seen: _Seen) -> list[Event]:
    return [event for event in seen.events if _is_step(step, event, seen.now)]


def _is_step(step: Step, event: Event, now: datetime) -> bool:
    if step.event is not None and event.name != step.event:
        return False
    return all(matches(where, event.properties, event.facts, now) for where in step.where)


def _in(events: Iterable[Event], within: Bounds) -> list[Event]:
    low, high = within
    return [
        event
        for event in events
        if (low is None or low <= event.timestamp) and event.timestamp < high
    ]


def _is_often(times: Times, count: int) -> bool:
    if times.at_least is not None:
        return count >= times.at_least
    if times.at_most is not None:
        return count <= times.at_most
    return count == times.exactly


def _sequence(tree: InSequence, seen: _Seen) -> _Found:
    length = read_duration(tree.within, "within")
    starts = set(map(id, _in(_of_step(tree.first, seen), bounds(tree.window, seen.now))))
    if tree.followed:
        return _followed(tree.then, seen, starts, length)
    return _unfollowed(tree.then, seen, starts, length)


def _followed(then: Step, seen: _Seen, starts: set[int], length: timedelta) -> _Found:
    """The latest start before a `then` is the one that it can be nearest to."""
    start: Event | None = None
    for event in seen.events:
        is_near = start is not None and event.timestamp - start.timestamp <= length
        if start is not None and is_near and _is_step(then, event, seen.now):
            return _Found(True, events=(start, event))
        if id(event) in starts:
            start = event
    return _Found(False, events=() if start is None else (start,))


def _unfollowed(then: Step, seen: _Seen, starts: set[int], length: timedelta) -> _Found:
    following: Event | None = None
    newest: tuple[Event, ...] = ()
    for event in reversed(seen.events):
        if id(event) in starts:
            is_free = following is None or following.timestamp - event.timestamp > length
            if is_free and event.timestamp + length < seen.now:
                return _Found(True, events=(event,))
            newest = newest or (event, *([] if following is None else [following]))
        if _is_step(then, event, seen.now):
            following = event
    return _Found(False, events=newest)


def _aggregate(tree: Aggregate, seen: _Seen) -> _Found:
    events = _in(_of_step(Step(tree.event, tree.where), seen), bounds(tree.within, seen.now))
    told = [(lookup(tree.property, event.properties, event.facts), event) for event in events]
    if tree.function == "count_distinct":
        counted = [(key, event) for value, event in told if (key := _key(value)) is not None]
        used: Sequence[Event] = [event for _, event in counted]
        amount: Fraction | None = Fraction(len({key for key, _ in counted}))
    else:
        numbers = [(n, event) for value, event in told if (n := millionths(value)) is not None]
        amount, used = _reckoned(tree.function, numbers)
    if amount is None:
        return _Found(False)
    number = int(amount) if amount.denominator == 1 else float(amount)
    return _Found(_compared(tree, amount), number, events=used)


def millionths(value: Any) -> int | None:
    """None: no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(float(value) * 1_000_000.0)


def _key(value: Any) -> tuple[str, Any] | None:
    match value:
        case bool() | str():
            return type(value).__name__, value
        case int() | float():
            return "number", float(value)
        case _:
            return None


def _reckoned(
    function: str, numbers: Sequence[tuple[int, Event]]
) -> tuple[Fraction | None, Sequence[Event]]:
    values = [number for number, _ in numbers]
    if not values and function != "sum":
        return None, ()
    match function:
        case "sum":
            amount = Fraction(sum(values), _MILLION)
        case "avg":
            amount = Fraction(sum(values), _MILLION * len(values))
        case _:
            value = min(values) if function == "min" else max(values)
            return Fraction(value, _MILLION), [e for number, e in numbers if number == value]
    return amount, [event for _, event in numbers]


def _compared(tree: Aggregate, amount: Fraction) -> bool:
    given = tree.value if tree.operator == "between" else [tree.value]
    low, *high = (Fraction(millionths(one) or 0, _MILLION) for one in given)
    if high:
        return low <= amount <= high[0]
    return _COMPARISONS[tree.operator](amount, low)


_COMPARISONS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "greater": operator.gt,
    "greater_or_equal": operator.ge,
    "less": operator.lt,
    "less_or_equal": operator.le,
    "equals": operator.eq,
}
