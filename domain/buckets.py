"""Hours, days, weeks and months of a time zone, as a calendar and a clock on the wall show them."""

import bisect
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from domain.errors import Rejected
from domain.limits import MAX_BUCKETS
from domain.moments import midnight

Interval = Literal["hour", "day", "week", "month"]

_SHORTEST_SECONDS = {"hour": 1800, "day": 23 * 3600, "week": 167 * 3600, "month": 671 * 3600}


class Range(NamedTuple):
    """Events in [start, end) count. Both are UTC; days are those of `zone`."""

    start: datetime
    end: datetime
    zone: ZoneInfo


class Buckets(NamedTuple):
    """Events in [start, end) count. `bounds` are Unix seconds: the starts of all buckets and, last,
    the end of the last one. The first and the last may reach beyond the range: they are whole
    calendar units, of which only the part within the range is counted.
    """

    start: datetime
    end: datetime
    bounds: list[int]
    zone: ZoneInfo

    def starts(self) -> list[str]:
        """ISO 8601 with the offset of the time zone."""
        return [label(second, self.zone) for second in self.bounds[:-1]]

    def complete(self, now: datetime) -> list[bool]:
        """False: of a bucket that is not over yet."""
        return [end <= now.timestamp() for end in self.bounds[1:]]


def preceding(second: int, count: int, zone: ZoneInfo) -> list[int]:
    """The starts of the days before the one that starts at `second`."""
    day = datetime.fromtimestamp(second, zone).date()
    days = (day - timedelta(days=n) for n in range(count, 0, -1))
    return [int(midnight(one, zone).timestamp()) for one in days]


def label(second: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(second, zone).isoformat()


def split(within: Range, interval: Interval) -> Buckets:
    """Raises Rejected for more than MAX_BUCKETS."""
    start, end, zone = within
    if (end - start).total_seconds() / _SHORTEST_SECONDS[interval] > 2 * MAX_BUCKETS:
        raise Rejected("interval", _too_many(interval))
    bounds = list(_bounds(start, end, interval=interval, zone=zone))
    if len(bounds) - 1 > MAX_BUCKETS:
        raise Rejected("interval", _too_many(interval))
    return Buckets(start, end, bounds, zone)


def _too_many(interval: str) -> str:
    return f"more than {MAX_BUCKETS} buckets of one {interval}; ask for longer ones or less time"


def _bounds(start: datetime, end: datetime, *, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    if interval == "hour":
        return _hours(start, end, zone)
    return _days(start, end, interval=interval, zone=zone)


def _days(start: datetime, end: datetime, *, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    for at in _midnights(_first_day(start.astimezone(zone).date(), interval), interval, zone):
        yield at
        if at >= end.timestamp():
            return


def following(second: int, interval: Interval, *, zone: ZoneInfo) -> Iterator[int]:
    """The starts of the days, weeks or months after the one that starts at `second`; endless."""
    after = _next_day(datetime.fromtimestamp(second, zone).date(), interval)
    return (at for at in _midnights(after, interval, zone) if at > second)


def _midnights(day: date, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    """Without the days that a zone left out when it crossed the date line."""
    last = None
    while True:
        at = int(midnight(day, zone).timestamp())
        if at != last:
            yield at
        last, day = at, _next_day(day, interval)


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
