"""Dates in conditions: what of a property is read as an instant, and which instants an operator
means.

A property is a date where it is

- text of one of the forms of ISO 8601 `2026-01-31`, `2026-01-31T12:00`, `2026-01-31 12:00:00.123Z`,
  `2026-01-31T12:00:00+02:00` (`+0200`, `+02`), of a day that the calendar has, in the years 1900 to
  2299. A day is its first instant; what has no offset is UTC; digits behind the microsecond are
  left out;
- or a number: seconds since 1970, of the same years.

Everything else is no date, and no operator of dates holds for it. A day is 24 hours.
"""

import math
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from domain.durations import read_duration
from domain.errors import Rejected
from domain.limits import MAX_RELATIVE_DAYS
from domain.moments import read_moment

ABSOLUTE = ("before", "after", "on")
RELATIVE = ("in_last", "in_next", "more_than_ago", "more_than_ahead")
SECONDS = (-2_208_988_800, 10_413_792_000)  # 1900 up to, not including, 2300

# One form for all back ends: Python, RE2 and Postgres read it alike. The calendar is in it, since
# each of them reads 30 February as something else.
_THIRTY_ONE = "(?:01|03|05|07|08|10|12)-(?:0[1-9]|[12][0-9]|3[01])"
_THIRTY = "(?:04|06|09|11)-(?:0[1-9]|[12][0-9]|30)"
_FEBRUARY = "02-(?:0[1-9]|1[0-9]|2[0-8])"
_LEAP = "(?:(?:19|20|21|22)(?:0[48]|[2468][048]|[13579][26])|2000)-02-29"
_DAY = f"(?:19|20|21|22)[0-9][0-9]-(?:{_THIRTY_ONE}|{_THIRTY}|{_FEBRUARY})|{_LEAP}"
_CLOCK = "([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:[.]([0-9]{1,9}))?)?"
_OFFSET = "[Zz]|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?"
# Groups: day, hour, minute, second, fraction, sign, hours and minutes of the offset.
FORM = f"^({_DAY})(?:[Tt ]{_CLOCK}(?:{_OFFSET})?)?$"

_FORM = re.compile(FORM)
_UTC = ZoneInfo("UTC")
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_of_dates(name: str) -> bool:
    return name in ABSOLUTE or name in RELATIVE


class Span(NamedTuple):
    """Microseconds since 1970 or, where `is_relative`, since now; `high` is excluded."""

    low: int | None
    high: int | None
    is_relative: bool = False


def micros_of(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def instant(found: Any) -> int | None:
    """Microseconds since 1970; None: no date."""
    if isinstance(found, str):
        return _of_text(found)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    if not SECONDS[0] <= found < SECONDS[1]:  # nan neither
        return None
    return math.floor(float(found) * 1_000_000.0)


def _of_text(text: str) -> int | None:
    found = None if text.endswith("\n") else _FORM.match(text)
    if found is None:
        return None
    day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    seconds = (date.fromisoformat(day).toordinal() - _EPOCH.toordinal()) * 86_400
    seconds += int(hour or 0) * 3600 + int(minute or 0) * 60 + int(second or 0)
    offset = int(hours or 0) * 3600 + int(minutes or 0) * 60
    seconds -= -offset if sign == "-" else offset
    return seconds * 1_000_000 + int(((fraction or "") + "000000")[:6])


def check_date(name: str, value: Any, field: str) -> None:
    """Raises Rejected."""
    if name in RELATIVE:
        if not isinstance(value, str):
            raise Rejected(field, "must be a length of time, such as `14 days`")
        read_duration(value, field, most_days=MAX_RELATIVE_DAYS)
    elif isinstance(value, bool) or not isinstance(value, str | int):
        raise Rejected(field, "must be a date or a time, such as 2026-01-31")
    else:
        read_moment(value, field, _UTC, is_end=False)


def span(name: str, value: Any) -> Span:
    """What an operator with a value that was checked means."""
    if name in RELATIVE:
        return _relative(name, read_duration(value, "value", most_days=MAX_RELATIVE_DAYS))
    first = micros_of(read_moment(value, "value", _UTC, is_end=False))
    end = micros_of(read_moment(value, "value", _UTC, is_end=True))
    end = max(end, first + 1)  # a time is one instant
    return {"before": Span(None, first), "after": Span(end, None)}.get(name, Span(first, end))


def _relative(name: str, length: timedelta) -> Span:
    """Now itself lies in the last and in the next 14 days, and so do their far ends."""
    micros = length // _MICROSECOND
    match name:
        case "in_last":
            return Span(-micros, 1, is_relative=True)
        case "in_next":
            return Span(0, micros + 1, is_relative=True)
        case "more_than_ago":
            return Span(None, -micros, is_relative=True)
        case _:
            return Span(micros + 1, None, is_relative=True)


def lies_in(wanted: Span, found: Any, now: datetime | None) -> bool:
    """`now`: of a relative span."""
    at = instant(found)
    if at is None:
        return False
    if wanted.is_relative:
        if now is None:
            raise ValueError("a relative date needs to know when it is asked")
        at -= micros_of(now)
    low_holds = wanted.low is None or wanted.low <= at
    return low_holds and (wanted.high is None or at < wanted.high)
