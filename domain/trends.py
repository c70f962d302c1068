"""Trends: how often something happened, per hour, day, week or month of a time zone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from domain.buckets import Buckets, Interval, split
from domain.errors import Rejected
from domain.limits import MAX_NUMBER
from domain.measures import OF_PERSONS, ROLLING, Measure, Measured, check_measure
from domain.questions import (
    Breakdown,
    Ranged,
    check_breakdown,
    check_event,
    check_range,
    check_size,
)

Kind = Literal["all", "value", "none", "other"]  # all: nothing was broken down
ALL = "$all"  # the label when neither an event nor a breakdown was asked for
NONE = "$none"  # of events that do not have the property
OTHER = "$other"  # of everything below the first `limit`


class Question(Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`event` None: all events. `property`: whose numbers are measured (domain/measures.py)."""

    event: str | None = None
    measure: Measure = "total"
    property: str | None = None
    interval: Interval = "day"
    breakdown: Breakdown | None = None


class Value(msgspec.Struct, frozen=True):
    """`start` is ISO 8601 with the offset of the time zone. `value` is null where there is nothing
    to measure. `complete` is False for a bucket that is not over yet.
    """

    start: str
    value: float | None
    complete: bool


class Series(msgspec.Struct, frozen=True):
    """`kind` and `value` tell series apart. `label` is for showing and may be that of two: of the
    number 5 and the string "5", of OTHER and a string that reads so. `value` is the JSON value
    broken down by, null where `kind` is not "value". `total` measures all that the values
    do, together: of unique that is not their sum, and of a rolling measure it includes the days
    before the range.
    """

    label: str
    kind: Kind
    value: Any
    values: list[Value]
    total: float | None


def check(question: Question) -> Buckets:
    """Raises Rejected, naming the field."""
    if question.event is not None:
        check_event(question.event, "event")
    within = check_range(question)
    check_breakdown(question.breakdown)
    check_measure(measured(question), question.interval)
    if question.estimate is not None and question.measure not in OF_PERSONS:
        issue = f"is of persons: measure one of {', '.join(OF_PERSONS)}, or leave it out"
        raise Rejected("estimate", issue)
    buckets = split(within, question.interval)
    check_size(len(buckets.bounds) - 1, question.breakdown)
    return buckets


def measured(question: Question) -> Measured:
    return Measured(question.measure, question.property)


class Bucket(NamedTuple):
    """`start` as it is shown, `second` since 1970; `complete`: it is over."""

    start: str
    second: int
    complete: bool


def shown_buckets(buckets: Buckets, now: datetime) -> list[Bucket]:
    complete = buckets.complete(now)
    return list(map(Bucket, buckets.starts(), buckets.bounds, complete))


def values(
    question: Question, buckets: Sequence[Bucket], counted: dict[int, float | None]
) -> list[Value]:
    """`counted`: bucket start -> value."""
    none = nothing(question)
    return [
        Value(bucket.start, plain(counted.get(bucket.second, none)), bucket.complete)
        for bucket in buckets
    ]


def nothing(question: Question) -> int | None:
    """What no events at all measure."""
    is_sum = question.measure in {"total", "unique", "sum", *ROLLING}
    return 0 if is_sum else None


def plain(value: float | None) -> float | None:
    """A number that is whole is an int."""
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < MAX_NUMBER
    return int(value) if is_whole and value is not None else value
