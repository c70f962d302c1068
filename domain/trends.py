"""Trends: how often something happened, per hour, day, week or month of a time zone."""

import bisect
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from domain.conditions import Where, check_all, check_property
from domain.errors import Rejected
from domain.limits import MAX_BREAKDOWN, MAX_BUCKETS, MAX_NAME_CHARS, MAX_NUMBER
from domain.moments import check_order, known_zone, midnight, read_moment

Interval = Literal["hour", "day", "week", "month"]
Kind = Literal["all", "value", "none", "other"]  # all: nothing was broken down
ALL = "$all"  # the label when neither an event nor a breakdown was asked for
NONE = "$none"  # of events that do not have the property
OTHER = "$other"  # of everything below the first `limit`

_SHORTEST_SECONDS = {"hour": 1800, "day": 23 * 3600, "week": 167 * 3600, "month": 671 * 3600}


class Breakdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    property: str
    limit: int = 10


class Question(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"start": "from"}
):
    """`start` (`from` in JSON) and `to` have the forms of domain/moments.py. A date is that whole
    day in `timezone`, the last one included; a time is an instant (in `timezone` if it has no
    offset), and `to` is then excluded. `event` None: all events. `known_at` and `as_of` are the
    two times to ask at (domain/past.py), as they come over the wire.
    """

    start: str | int
    to: str | int
    event: str | None = None
    measure: Literal["total", "unique"] = "total"
    interval: Interval = "day"
    timezone: str = "UTC"
    breakdown: Breakdown | None = None
    where: tuple[Where, ...] = ()
    min_position: int | None = None
    known_at: str | int | None = None
    as_of: str | int | None = None


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


class Buckets(NamedTuple):
    """Events in [start, end) count. `bounds` are Unix seconds: the starts of all buckets and, last,
    the end of the last one. The first and the last may reach beyond the range: they are whole
    calendar units, of which only the part within the range is counted.
    """

    start: datetime
    end: datetime
    bounds: list[int]
    zone: ZoneInfo

    def values(self, counted: dict[int, int], now: datetime) -> list[Value]:
        """`counted`: bucket start -> value; what is missing is 0."""
        over = now.timestamp()
        return [
            Value(self._label(first), counted.get(first, 0), end <= over)
            for first, end in zip(self.bounds, self.bounds[1:], strict=False)
        ]

    def _label(self, second: int) -> str:
        return datetime.fromtimestamp(second, self.zone).isoformat()


def check(question: Question) -> Buckets:
    """Raises Rejected, naming the field."""
    if question.event is not None and not 1 <= len(question.event) <= MAX_NAME_CHARS:
        raise Rejected("event", f"must have 1 to {MAX_NAME_CHARS} characters")
    check_all(question.where)
    if question.min_position is not None and not 0 <= question.min_position <= MAX_NUMBER:
        raise Rejected("min_position", "must be a position that a write answered")
    if question.breakdown is not None:
        check_property(question.breakdown.property, "breakdown.property")
        if not 1 <= question.breakdown.limit <= MAX_BREAKDOWN:
            raise Rejected("breakdown.limit", f"must lie between 1 and {MAX_BREAKDOWN}")
    return _buckets(question, ZoneInfo(known_zone(question.timezone)))


def _buckets(question: Question, zone: ZoneInfo) -> Buckets:
    start = read_moment(question.start, "from", zone, is_end=False)
    end = read_moment(question.to, "to", zone, is_end=True)
    check_order(start, end)
    if (end - start).total_seconds() / _SHORTEST_SECONDS[question.interval] > 2 * MAX_BUCKETS:
        raise Rejected("interval", _too_many(question.interval))
    bounds = list(_bounds(start, end, interval=question.interval, zone=zone))
    if len(bounds) - 1 > MAX_BUCKETS:
        raise Rejected("interval", _too_many(question.interval))
    return Buckets(start, end, bounds, zone)


def _too_many(interval: str) -> str:
    return f"more than {MAX_BUCKETS} buckets of one {interval}; ask for longer ones or less time"


def _bounds(start: datetime, end: datetime, *, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    if interval == "hour":
        return _hours(start, end, zone)
    return _days(start, end, interval=interval, zone=zone)


def _days(start: datetime, end: datetime, *, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    day = _first_day(start.astimezone(zone).date(), interval)
    while True:
        at = midnight(day, zone)
        yield int(at.timestamp())
        if at >= end:
            return
        day = _next_day(day, interval)


def _first_day(day: date, interval: Interval) -> date:
    match interval:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def _next_day(day: date, interval: Interval) -> date:
    match interval:
        case "week":
            return day + timedelta(days=7)
        case "month":
            return (day + timedelta(days=31)).replace(day=1)
        case _:
            return day + timedelta(days=1)


def _hours(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[int]:
    """An hour as a clock on the wall shows it; the one that is shown twice is two."""
    at = int(midnight(start.astimezone(zone).date(), zone).timestamp())
    while (following := _next_hour(at, zone)) <= start.timestamp():
        at = following
    while at < end.timestamp():
        yield at
        at = _next_hour(at, zone)
    yield at


def _next_hour(at: int, zone: ZoneInfo) -> int:
    offset = _offset(at, zone)
    following = at + 3600 - (at + offset) % 3600
    if _offset(following - 1, zone) == offset:
        return following
    # The clocks change within the hour: where they do, another one begins.
    return (
        bisect.bisect_left(
            range(at, following), True, key=lambda second: _offset(second, zone) != offset
        )
        + at
    )


def _offset(second: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
