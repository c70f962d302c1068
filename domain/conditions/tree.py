"""Criteria: trees of conditions on what a person is and did, for metrics, segments and campaigns.

They are asked at an instant, `now`: an event of a later time does not count, whenever it was
recorded. Events of one instant are in the order of their positions. All times are UTC; a day is 24
hours. The event None is any event, and all conditions of `where` must hold of it.

domain/conditions/judging.py says what they come to in memory, projections/criteria in
ClickHouse, domain/conditions/text.py how they are written.
"""

import functools
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from zoneinfo import ZoneInfo

import msgspec

from domain.conditions.dates import RELATIVE
from domain.conditions.properties import (
    BUILT_IN,
    Operator,
    Where,
    check,
    check_all,
    check_property,
    key_of,
)
from domain.durations import read_duration
from domain.errors import Rejected
from domain.limits import (
    MAX_CRITERIA_DEPTH,
    MAX_CRITERIA_NODES,
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_SEED_CHARS,
    MAX_TIMES,
)
from domain.moments import check_order, read_moment

Function = Literal["sum", "avg", "min", "max", "count_distinct"]
Comparison = Literal["greater", "greater_or_equal", "less", "less_or_equal", "equals", "between"]
MAX_PERCENT = 100
_UTC = ZoneInfo("UTC")
_MICROSECOND = timedelta(microseconds=1)


class Window(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    rename={"start": "from"},
):
    """Either `last`, a duration: from that long ago up to now, both included. Or `start` (`from` in
    JSON) and `to`, in the forms of domain/moments.py: a date is that whole day, `to` too; the
    instant `to` is excluded.
    """

    last: str | None = None
    start: str | int | None = None
    to: str | int | None = None


class Times(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """One of them."""

    at_least: int | None = None
    at_most: int | None = None
    exactly: int | None = None


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    event: str | None = None
    where: tuple[Where, ...] = ()


class _Node(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
):
    pass


class AllOf(_Node, frozen=True, kw_only=True, tag="all"):
    conditions: "tuple[Tree, ...]"


class AnyOf(_Node, frozen=True, kw_only=True, tag="any"):
    conditions: "tuple[Tree, ...]"


class Not(_Node, frozen=True, kw_only=True, tag="not"):
    condition: "Tree"


class OfTrait(_Node, frozen=True, kw_only=True, tag="trait"):
    """Names, operators and values as of Where."""

    trait: str
    operator: Operator
    value: Any = None


class Did(_Node, frozen=True, kw_only=True, tag="did"):
    event: str | None = None
    where: tuple[Where, ...] = ()
    times: Times = Times(at_least=1)
    within: Window | None = None


class FirstDid(_Node, frozen=True, kw_only=True, tag="first_did"):
    """The person's first such event ever lies in the window."""

    event: str | None = None
    where: tuple[Where, ...] = ()
    within: Window | None = None


class Stopped(_Node, frozen=True, kw_only=True, tag="stopped"):
    """Did it before, but not in the `last` (a duration, both ends included)."""

    event: str | None = None
    where: tuple[Where, ...] = ()
    last: str


class InSequence(_Node, frozen=True, kw_only=True, tag="sequence"):
    """There is a `first` in the window after which another event is a `then`, at most `within`
    later. Not `followed`: there is a `first` in the window after which none is, and now is later
    than `within` after it.
    """

    first: Step
    then: Step
    within: str
    followed: bool = True
    window: Window | None = None


class Aggregate(_Node, frozen=True, kw_only=True, tag="aggregate"):
    """Over the values that the property has: numbers, rounded to millionths, added up exactly; of
    `count_distinct` strings, numbers, true and false. Of no values sum and count_distinct are 0,
    and the others are nothing that any comparison holds for.
    """

    function: Function
    event: str | None = None
    property: str
    where: tuple[Where, ...] = ()
    operator: Comparison
    value: Any
    within: Window | None = None


class Member(_Node, frozen=True, kw_only=True, tag="member"):
    segment: str


class Sample(_Node, frozen=True, kw_only=True, tag="sample"):
    """The same persons for the same seed, and of a larger percentage the same ones and more."""

    percent: int | float
    seed: str = ""


Tree: TypeAlias = (
    AllOf
    | AnyOf
    | Not
    | OfTrait
    | Did
    | FirstDid
    | Stopped
    | InSequence
    | Aggregate
    | Member
    | Sample
)


class Bounds(NamedTuple):
    """Events in [low, high) count."""

    low: datetime | None
    high: datetime


def bounds(window: Window | None, now: datetime) -> Bounds:
    """Of a window that was checked."""
    end = now + _MICROSECOND
    if window is None:
        return Bounds(None, end)
    if window.last is not None:
        return Bounds(now - read_duration(window.last, "last"), end)
    assert window.start is not None and window.to is not None  # noqa: PT018  a pair
    low = read_moment(window.start, "from", _UTC, is_end=False)
    return Bounds(low, min(end, read_moment(window.to, "to", _UTC, is_end=True)))


def as_where(node: OfTrait) -> Where:
    return Where(node.trait, node.operator, node.value)


# --- checks ------------------------------------------------------------------------------------


def check_criteria(tree: Tree, field: str = "criteria") -> None:
    """Raises Rejected, naming the place: `criteria.conditions[1].where[0].value`."""
    if _check(tree, field, 1) > MAX_CRITERIA_NODES:
        raise Rejected(field, f"has more than {MAX_CRITERIA_NODES} parts")


def _check(tree: Tree, field: str, depth: int) -> int:
    """How many nodes there are."""
    if depth > MAX_CRITERIA_DEPTH:
        raise Rejected(field, f"nests deeper than {MAX_CRITERIA_DEPTH} levels")
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            if not 1 <= len(parts) <= MAX_CRITERIA_NODES:
                raise Rejected(f"{field}.conditions", f"must be 1 to {MAX_CRITERIA_NODES}")
            places = (f"{field}.conditions[{place}]" for place in range(len(parts)))
            return 1 + sum(
                _check(part, place, depth + 1) for part, place in zip(parts, places, strict=True)
            )
        case Not(condition=part):
            return 1 + _check(part, f"{field}.condition", depth + 1)
        case OfTrait() | Member() | Sample():
            _check_person(tree, field)
        case _:
            _check_events(tree, field)
    return 1


def _check_person(node: OfTrait | Member | Sample, field: str) -> None:
    match node:
        case OfTrait(trait=name):
            if name in BUILT_IN:
                issue = f"is a fact of an event; a trait of that name is `${name}`"
                raise Rejected(f"{field}.trait", issue)
            check_property(name, f"{field}.trait")
            check(as_where(node), field)
        case Member(segment=segment):
            _check_text(segment, f"{field}.segment", 1, MAX_ID_CHARS)
        case Sample(percent=percent, seed=seed):
            _check_text(seed, f"{field}.seed", 0, MAX_SEED_CHARS)
            if not 0 <= percent <= MAX_PERCENT or round(percent, 2) != percent:
                raise Rejected(f"{field}.percent", "must lie between 0 and 100, in steps of 0.01")


def _check_events(node: Did | FirstDid | Stopped | InSequence | Aggregate, field: str) -> None:
    match node:
        case InSequence():
            _check_step(node.first, f"{field}.first")
            _check_step(node.then, f"{field}.then")
            read_duration(node.within, f"{field}.within")
            _check_window(node.window, f"{field}.window")
            return
        case Stopped(last=last):
            read_duration(last, f"{field}.last")
        case Did(times=times):
            _check_times(times, f"{field}.times")
        case Aggregate():
            _check_aggregate(node, field)
    if not isinstance(node, Stopped):
        _check_window(node.within, f"{field}.within")
    _check_step(Step(node.event, node.where), field)


def _check_step(step: Step, field: str) -> None:
    if step.event is not None:
        _check_text(step.event, f"{field}.event", 1, MAX_NAME_CHARS)
    check_all(step.where, f"{field}.where")


def _check_text(text: str, field: str, least: int, most: int) -> None:
    if not least <= len(text) <= most:
        raise Rejected(field, f"must have {least} to {most} characters")
    if "\0" in text:
        raise Rejected(field, "must not hold \\u0000")


def _check_times(times: Times, field: str) -> None:
    given = [name for name in Times.__struct_fields__ if getattr(times, name) is not None]
    if len(given) != 1:
        raise Rejected(field, "must be one of at_least, at_most and exactly")
    least = 1 if times.at_least is not None else 0
    if not least <= getattr(times, given[0]) <= MAX_TIMES:
        raise Rejected(f"{field}.{given[0]}", f"must lie between {least} and {MAX_TIMES}")


def _check_window(window: Window | None, field: str) -> None:
    if window is None:
        return
    if window.last is not None:
        if window.start is not None or window.to is not None:
            raise Rejected(field, "has `last`, or `from` and `to`, not both")
        read_duration(window.last, f"{field}.last")
        return
    if window.start is None or window.to is None:
        raise Rejected(field, "must have `last`, or `from` and `to`; leave it out for ever")
    low = read_moment(window.start, f"{field}.from", _UTC, is_end=False)
    high = read_moment(window.to, f"{field}.to", _UTC, is_end=True)
    try:
        check_order(low, high)
    except Rejected as error:
        raise Rejected(f"{field}.{error.field}", error.issue) from None


def _check_aggregate(node: Aggregate, field: str) -> None:
    check_property(node.property, f"{field}.property")
    if node.property in BUILT_IN and node.function != "count_distinct":
        raise Rejected(f"{field}.property", f"is text, which has no {node.function}")
    if node.operator not in get_args(Comparison):
        raise Rejected(f"{field}.operator", f"must be one of {', '.join(get_args(Comparison))}")
    if node.operator == "equals" and isinstance(node.value, str | bool):
        raise Rejected(f"{field}.value", "must be a number")
    check(Where("n", node.operator, node.value), field)


# --- what they need ------------------------------------------------------------------------------


class Needs(NamedTuple):
    """What can change the answer. `any_event`: any event at all. `traits` are names of traits, of
    nested ones of each that may hold it. `is_time_relative`: time alone can, because a window, a
    date or the end of a sequence moves with now. (Whatever it is, an event sent ahead of its time
    counts from then on.)
    """

    events: frozenset[str] = frozenset()
    any_event: bool = False
    traits: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    is_time_relative: bool = False

    def and_of(self, other: "Needs") -> "Needs":
        return Needs(
            self.events | other.events,
            self.any_event or other.any_event,
            self.traits | other.traits,
            self.segments | other.segments,
            self.is_time_relative or other.is_time_relative,
        )


def needs(tree: Tree) -> Needs:
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            return functools.reduce(Needs.and_of, map(needs, parts))
        case Not(condition=part):
            return needs(part)
        case OfTrait() | Member() | Sample():
            return _needs_of_person(tree)
        case InSequence(first=first, then=then):
            both = _of_step(first).and_of(_of_step(then))
            return both.and_of(Needs(is_time_relative=not tree.followed or _moves(tree.window)))
        case Stopped():
            return _of_step(Step(tree.event, tree.where))._replace(is_time_relative=True)
        case _:
            found = _of_step(Step(tree.event, tree.where))
            return found.and_of(Needs(is_time_relative=_moves(tree.within)))


def _needs_of_person(node: OfTrait | Member | Sample) -> Needs:
    match node:
        case OfTrait(trait=name):
            name = key_of(name)
            names = frozenset({name, name.split(".", maxsplit=1)[0]})
            return Needs(traits=names, is_time_relative=_is_relative((as_where(node),)))
        case Member(segment=segment):
            return Needs(segments=frozenset({segment}))
        case Sample():
            return Needs()


def _of_step(step: Step) -> Needs:
    is_relative = _is_relative(step.where)
    if step.event is None:
        return Needs(any_event=True, is_time_relative=is_relative)
    return Needs(events=frozenset({step.event}), is_time_relative=is_relative)


def _is_relative(conditions: tuple[Where, ...]) -> bool:
    return any(where.operator in (*RELATIVE, "not_in_last") for where in conditions)


def _moves(window: Window | None) -> bool:
    return window is not None and window.last is not None
