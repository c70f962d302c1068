"""Trends: how often something happened, per hour, day, week or month of a time zone."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from domain.buckets import Buckets, Interval, split
from domain.questions import Breakdown, Ranged, check_breakdown, check_event, check_range

Kind = Literal["all", "value", "none", "other"]  # all: nothing was broken down
ALL = "$all"  # the label when neither an event nor a breakdown was asked for
NONE = "$none"  # of events that do not have the property
OTHER = "$other"  # of everything below the first `limit`


class Question(Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`event` None: all events."""

    event: str | None = None
    measure: Literal["total", "unique"] = "total"
    interval: Interval = "day"
    breakdown: Breakdown | None = None


class Value(msgspec.Struct, frozen=True):
    """`start` is ISO 8601 with the offset of the time zone. `complete` is False for a bucket that
    is not over yet.
    """

    start: str
    value: int
    complete: bool


class Series(msgspec.Struct, frozen=True):
    """`kind` and `value` tell series apart. `label` is for showing and may be that of two: of the
    number 5 and the string "5", of OTHER and a string that reads so. `value` is the JSON value
    broken down by, null where `kind` is not "value". `total` of unique is over the whole range,
    which is not the sum of the values.
    """

    label: str
    kind: Kind
    value: Any
    values: list[Value]
    total: int


def check(question: Question) -> Buckets:
    """Raises Rejected, naming the field."""
    if question.event is not None:
        check_event(question.event, "event")
    within = check_range(question)
    check_breakdown(question.breakdown)
    return split(within, question.interval)


def values(buckets: Buckets, counted: dict[int, int], now: datetime) -> list[Value]:
    """`counted`: bucket start -> value; what is missing is 0."""
    starts = zip(buckets.starts(), buckets.bounds, buckets.complete(now), strict=False)
    return [Value(start, counted.get(first, 0), complete) for start, first, complete in starts]
