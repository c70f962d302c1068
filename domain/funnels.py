"""Funnels: how many of those who took the first step went on to the others, and how fast.

A person enters with an event of the first step in the range, and has the conversion window from
then on for all other steps, beyond the range's end too. Of all attempts the one counts that goes
furthest; a person counts once.

- `ordered`: the steps one after the other, whatever happens between them. Two steps may share an
  instant, in the order of the funnel: clocks are coarse. A step whose event an earlier step names
  too must come later than the step before it, since one event is one step.
- `strict`: nothing of the person lies between two steps; events of one instant are in the order
  in which they were recorded.
- `any`: the steps in any order, within the window from the first of them.

An exclusion is an event that, from an attempt's start (not at its instant) up to the step, ends
the attempt.
"""

from datetime import timedelta
from typing import Literal, NamedTuple

import msgspec

from domain.buckets import Range
from domain.conditions import Where, check_all
from domain.durations import read_duration
from domain.errors import Rejected
from domain.limits import MAX_FUNNEL_EXCLUSIONS, MAX_FUNNEL_STEPS, MIN_FUNNEL_STEPS
from domain.questions import Breakdown, Ranged, check_breakdown, check_event, check_range
from domain.trends import Kind

Order = Literal["ordered", "strict", "any"]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`event` None: any."""

    event: str | None = None
    where: tuple[Where, ...] = ()


class Question(Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`window`: a duration (domain/durations.py). `breakdown` is by the value of the person's first
    event of the first step in the range (of `any`: of whichever step). `times`: whether to tell
    how long it took. `where` holds of every event, those between two steps and exclusions too.
    """

    steps: tuple[Step, ...]
    order: Order = "ordered"
    window: str = "14 days"
    exclusions: tuple[Step, ...] = ()
    breakdown: Breakdown | None = None
    times: bool = False


class Times(msgspec.Struct, frozen=True):
    """Seconds from entering to the step, of those who took it: of each person the attempt that came
    to it first, counted from the latest start that it can have had.
    """

    median: float
    average: float
    p90: float


class Reached(msgspec.Struct, frozen=True):
    """A step, and the persons who came to it. `rate` is of those who entered, `rate_of_previous`
    of those who came to the step before; null where there was nobody. In an `any` funnel the Nth is
    whoever took N of the steps.
    """

    step: int
    event: str | None
    persons: int
    rate: float | None
    rate_of_previous: float | None
    times: Times | None = None


class Series(msgspec.Struct, frozen=True):
    """`label`, `kind` and `value` as of trends."""

    label: str
    kind: Kind
    value: object
    steps: list[Reached]


class Asked(NamedTuple):
    """A question that was checked."""

    within: Range
    window: timedelta


def check(question: Question) -> Asked:
    """Raises Rejected, naming the field."""
    within = check_range(question)
    check_breakdown(question.breakdown)
    if not MIN_FUNNEL_STEPS <= len(question.steps) <= MAX_FUNNEL_STEPS:
        raise Rejected("steps", f"must be {MIN_FUNNEL_STEPS} to {MAX_FUNNEL_STEPS} steps")
    if len(question.exclusions) > MAX_FUNNEL_EXCLUSIONS:
        raise Rejected("exclusions", f"at most {MAX_FUNNEL_EXCLUSIONS} exclusions")
    for name in ("steps", "exclusions"):
        for place, step in enumerate(getattr(question, name)):
            _check_step(step, f"{name}[{place}]")
    _check_order(question)
    return Asked(within, read_duration(question.window, "window"))


def _check_step(step: Step, field: str) -> None:
    if step.event is not None:
        check_event(step.event, f"{field}.event")
    check_all(step.where, f"{field}.where")


def _check_order(question: Question) -> None:
    if question.order == "ordered":
        return
    if question.exclusions:
        raise Rejected("exclusions", "only an ordered funnel has them; leave out `order`")
    if question.times:
        raise Rejected("times", "are told of an ordered funnel only; leave out `order`")
    if question.order == "any":
        names = [step.event for step in question.steps]
        if None in names or len(set(names)) < len(names):
            issue = "must each name another event where their order does not matter"
            raise Rejected("steps", issue)


def follows_itself(steps: tuple[Step, ...], place: int) -> bool:
    """Whether an event of an earlier step could be one of this step too."""
    here, before = steps[place].event, [step.event for step in steps[:place]]
    return bool(before) and (here is None or here in before or None in before)
