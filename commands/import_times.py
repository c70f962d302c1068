"""When a row of a file says that it happened."""

import re
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from domain.errors import Rejected
from domain.limits import MIN_YEAR

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_DAY = re.compile(r"(19|20)[0-9]{6}")  # as a number it would be a day in 1970
_EARLIEST = datetime(MIN_YEAR, 1, 1, tzinfo=UTC).timestamp()


def moment(value: Any, zone: ZoneInfo) -> Any:
    """What a request leaves out happened when it came; a row of a file did not."""
    if value is None:
        raise Rejected("timestamp", "is missing; a row must say when it happened")
    found = read_time(value, zone)
    if found.__class__ in (int, float) and found < _EARLIEST:
        form = "write a date as 2026-01-31, or a time as 2026-01-31T12:00:00Z"
        issue = f"{value} is read as epoch seconds and lies before {MIN_YEAR}; {form}"
        raise Rejected("timestamp", issue)
    return found


def read_time(value: Any, zone: ZoneInfo) -> Any:
    """A datetime with an offset, or an epoch number; anything else as it is, to be refused.

    What the API takes is read as the API reads it. Beside that, files have dates, and numbers as
    text.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if NUMBER.fullmatch(text) and not _DAY.fullmatch(text):
        return float(text) if "." in text else int(text)
    try:
        found = _iso_8601(text)
    except ValueError:
        return value
    return found.replace(tzinfo=zone) if found.tzinfo is None else found


def _iso_8601(text: str) -> datetime:
    """Raises ValueError."""
    try:
        return msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return datetime.fromisoformat(text)
