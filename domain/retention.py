"""Retention: of those who began in a day, week or month, how many came back in each one after it.

A cohort is a calendar unit of the zone, with the persons whose cohort event lies in it and in the
range. Period N is the Nth unit after the cohort's; returns are followed beyond the range's end.

- `first_time`: the cohort event is the person's first start event ever, of those that can be seen.
- `recurring`: it is the person's first start event in the unit, in every unit that has one.

Of start events at one instant the first recorded is the first. Period 0 is the cohort's own unit:
there a person returns with a return event at or after the cohort event that is another event.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Literal, NamedTuple

import msgspec

from domain.buckets import Range, following, label, split
from domain.conditions import Where, check_all
from domain.errors import Rejected
from domain.limits import MAX_RETENTION_CELLS, MAX_RETENTION_PERIODS
from domain.questions import Breakdown, Ranged, check_breakdown, check_event, check_range
from domain.trends import Kind

_PERIODS = {"day": 14, "week": 8, "month": 12}


class Question(Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events None: any. `unbounded`: returned in period N or later, else in N itself. `periods`:
    after the cohort's own; by default 14 days, 8 weeks or 12 months. `period_zero`: what the values
    begin with, those who `returned` in the cohort's own unit, or the `cohort` itself. `breakdown`
    is by the value of the cohort event. `where` holds for start and return events.
    """

    start_event: str | None = None
    start_where: tuple[Where, ...] = ()
    return_event: str | None = None
    return_where: tuple[Where, ...] = ()
    kind: Literal["first_time", "recurring"] = "first_time"
    unbounded: bool = False
    interval: Literal["day", "week", "month"] = "week"
    periods: int | None = None
    period_zero: Literal["returned", "cohort"] = "returned"
    breakdown: Breakdown | None = None


class Value(msgspec.Struct, frozen=True):
    """`rate` is of the cohort, null where that is empty. `complete` is False while the period is
    not over.
    """

    count: int
    rate: float | None
    complete: bool


class Cohort(msgspec.Struct, frozen=True):
    """`start` is ISO 8601 with the offset of the time zone. `values` are those of the periods from
    0 on.
    """

    start: str
    size: int
    values: list[Value]


class Total(msgspec.Struct, frozen=True):
    """Over all cohorts whose period is complete: their sizes, those who returned, and the rate of
    these, in which large cohorts weigh more.
    """

    period: int
    size: int
    count: int
    rate: float | None


class Series(msgspec.Struct, frozen=True):
    """`label`, `kind` and `value` as of trends. `size` is the sum of the cohorts'; in recurring
    retention a person is in several.
    """

    label: str
    kind: Kind
    value: Any
    size: int
    cohorts: list[Cohort]
    totals: list[Total]


class Asked(NamedTuple):
    """A question that was checked. `bounds` are Unix seconds: the starts of `cohorts` units, those
    of the `periods` units after them, and the end of the last one.
    """

    within: Range
    bounds: list[int]
    cohorts: int
    periods: int


class Counted(NamedTuple):
    """Of a cohort: its size, and period -> who returned; what is missing is 0."""

    size: int
    returned: Mapping[int, int]


def check(question: Question) -> Asked:
    """Raises Rejected, naming the field."""
    within = check_range(question)
    check_breakdown(question.breakdown)
    for name in ("start", "return"):
        event = getattr(question, f"{name}_event")
        if event is not None:
            check_event(event, f"{name}_event")
        check_all(getattr(question, f"{name}_where"), f"{name}_where")
    periods = _PERIODS[question.interval] if question.periods is None else question.periods
    if not 1 <= periods <= MAX_RETENTION_PERIODS:
        raise Rejected("periods", f"must lie between 1 and {MAX_RETENTION_PERIODS}")
    bounds = split(within, question.interval).bounds
    cohorts = len(bounds) - 1
    if cohorts * (periods + 1) > MAX_RETENTION_CELLS:
        issue = f"{cohorts} cohorts of {periods} are more than {MAX_RETENTION_CELLS} values"
        raise Rejected("periods", f"{issue}; ask for less time, fewer periods or longer ones")
    later = following(bounds[-1], question.interval, zone=within.zone)
    return Asked(within, [*bounds, *islice(later, periods)], cohorts, periods)


def cohorts(asked: Asked, counted: Mapping[int, Counted], until: datetime) -> list[Cohort]:
    """`counted`: by the cohort's start; what is missing is empty. `until`: domain/past.py."""
    nobody = Counted(0, {})
    found = []
    for place, start in enumerate(asked.bounds[: asked.cohorts]):
        one = counted.get(start, nobody)
        ends = asked.bounds[place + 1 : place + asked.periods + 2]
        values = [
            Value(count, rate(count, one.size), end <= until.timestamp())
            for period, end in enumerate(ends)
            for count in [one.returned.get(period, 0)]
        ]
        found.append(Cohort(label(start, asked.within.zone), one.size, values))
    return found


def totals(found: Sequence[Cohort]) -> list[Total]:
    made = []
    for period in range(len(found[0].values)):
        complete = [cohort for cohort in found if cohort.values[period].complete]
        size = sum(cohort.size for cohort in complete)
        count = sum(cohort.values[period].count for cohort in complete)
        made.append(Total(period, size, count, rate(count, size)))
    return made


def rate(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
