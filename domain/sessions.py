"""Sessions: how many visits there were, and how long and rich they were.

A session is a run of one person's events, over all distinct ids, in which no two neighbours lie
more than the gap apart; exactly the gap is the same session. Only events that `event` and `where`
choose are seen. A session belongs to the moment of its first event: one that began before the range
does not count, not even what of it lies in the range; of one that reaches beyond the range's end
the events before that end count.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from domain.buckets import Buckets, Interval, split
from domain.errors import Rejected
from domain.limits import MAX_SESSION_GAP_MINUTES
from domain.questions import (
    Breakdown,
    Ranged,
    check_breakdown,
    check_event,
    check_range,
    check_size,
)
from domain.trends import Kind


class Question(Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`event` None: all events. `breakdown` is by the value of the session's first event; of events
    at one instant the first recorded is the first.
    """

    gap_minutes: int = 30
    event: str | None = None
    interval: Interval = "day"
    breakdown: Breakdown | None = None


class Figures(msgspec.Struct, frozen=True):
    """Of the sessions that began in a time. A session lasts from its first event to its last, so
    one of a single event lasts 0 seconds; `bounce_rate` is the share of these. Null where there
    were no sessions.
    """

    sessions: int
    persons: int
    average_seconds: float | None
    median_seconds: float | None
    events_per_session: float | None
    bounce_rate: float | None


class Value(Figures, frozen=True):
    """`start` is ISO 8601 with the offset of the time zone. `complete` is False for a bucket that
    is not over yet; a session that began in it may end after it.
    """

    start: str
    complete: bool


class Series(msgspec.Struct, frozen=True):
    """`label`, `kind` and `value` as of trends. `total` is over the whole range."""

    label: str
    kind: Kind
    value: Any
    values: list[Value]
    total: Figures


class Counted(NamedTuple):
    """Sums over sessions, and the median; times are microseconds."""

    sessions: int = 0
    persons: int = 0
    duration: int = 0
    median: float = 0
    events: int = 0
    bounces: int = 0


def check(question: Question) -> Buckets:
    """Raises Rejected, naming the field."""
    if question.event is not None:
        check_event(question.event, "event")
    within = check_range(question)
    check_breakdown(question.breakdown)
    read_gap(question.gap_minutes)
    buckets = split(within, question.interval)
    check_size(len(buckets.bounds) - 1, question.breakdown)
    return buckets


def read_gap(minutes: int) -> timedelta:
    """Raises Rejected."""
    if not 1 <= minutes <= MAX_SESSION_GAP_MINUTES:
        raise Rejected("gap_minutes", f"must lie between 1 and {MAX_SESSION_GAP_MINUTES}")
    return timedelta(minutes=minutes)


def figures(counted: Counted) -> Figures:
    return Figures(*_figures(counted))


def values(buckets: Buckets, counted: Mapping[int, Counted], until: datetime) -> list[Value]:
    """`counted`: bucket start -> sums; what is missing is 0. `until`: domain/past.py."""
    starts = zip(buckets.starts(), buckets.bounds, buckets.complete(until), strict=False)
    return [
        Value(*_figures(counted.get(first, Counted())), start, complete)
        for start, first, complete in starts
    ]


def _figures(
    counted: Counted,
) -> tuple[int, int, float | None, float | None, float | None, float | None]:
    count = counted.sessions
    if not count:
        return 0, 0, None, None, None, None
    return (
        count,
        counted.persons,
        round(counted.duration / count / 1_000_000, 6),
        round(counted.median / 1_000_000, 6),
        round(counted.events / count, 6),
        round(counted.bounces / count, 6),
    )
