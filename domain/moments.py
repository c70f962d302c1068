"""Moments and time zones as questions name them: one reader for all of them.

What is sent with an event is read in domain/admission.py, by the forms that the SDKs use.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.errors import Rejected
from domain.limits import MAX_NUMBER, MAX_YEAR, MIN_YEAR

D = TypeVar("D", bound=date)
EXAMPLES = "2026-01-31, 2026-01-31T12:00:00Z or 1769860800 (epoch seconds)"
_DAY = r"\d{4}-\d\d-\d\d|\d{8}|\d{4}-W\d\d-\d|\d{4}W\d{3}|(?P<year>\d{4})-?(?P<of_year>\d{3})"
_ISO = re.compile(rf"(?P<day>{_DAY})([T ](?P<clock>\d\d.*))?", re.ASCII | re.IGNORECASE)
_SECONDS, _MILLISECONDS = re.compile("[0-9]{10}"), re.compile("[0-9]{13}")
_SPACE_FOR_PLUS = re.compile(r"\d[T ]\d.* \d", re.ASCII | re.IGNORECASE)
_NO_PLACE = re.compile("(right|posix)/.*|localtime|posixrules|Factory")  # tzdata has them beside


def read_moment(given: str | int, field: str, zone: ZoneInfo, *, is_end: bool) -> datetime:
    """UTC. A date is its first instant in `zone` or, where `is_end`, that of the day after it; a
    time without an offset is of `zone`; 10 digits are epoch seconds and 13 milliseconds. Raises
    Rejected.
    """
    text = _text(given)
    iso = _ISO.fullmatch(text)
    try:
        if iso is None:
            return _of_year(_from_epoch(text), field).astimezone(UTC)
        day = _of_year(_day(iso), field)
        if iso["clock"] is None:
            return midnight(day + timedelta(days=1) if is_end else day, zone)
        local = datetime.fromisoformat(f"{day}T{iso['clock'].upper()}")
    except (ValueError, OverflowError):
        raise Rejected(field, _issue(text)) from None
    return (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(UTC)


def check_order(start: datetime, end: datetime) -> None:
    """Raises Rejected where nothing lies from `start` to `end`."""
    if end <= start:
        raise Rejected("to", "must lie after `from`")


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of the day; where midnight is skipped, the instant of the skip."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def known_zone(name: str) -> str:
    """Raises Rejected. Names that mean this machine's own zone, or none, are refused too."""
    if _NO_PLACE.fullmatch(name) or not _exists(name):
        raise Rejected("timezone", "is not an IANA time zone; try Europe/Berlin")
    return name


def _exists(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _text(given: str | int) -> str:
    if isinstance(given, str):
        return given
    return str(given) if 0 <= given <= MAX_NUMBER else ""


def _day(iso: re.Match[str]) -> date:
    if iso["year"] is None:
        return date.fromisoformat(iso["day"].upper())
    first = date(int(iso["year"]), 1, 1)
    found = first + timedelta(days=int(iso["of_year"]) - 1)
    if found.year != first.year:
        raise ValueError(found)
    return found


def _from_epoch(text: str) -> datetime:
    if _SECONDS.fullmatch(text):
        return datetime.fromtimestamp(int(text), UTC)
    if _MILLISECONDS.fullmatch(text):
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(text))
    raise ValueError(text)


def _of_year(found: D, field: str) -> D:
    if not MIN_YEAR <= found.year <= MAX_YEAR:
        issue = f"must lie in the years {MIN_YEAR} to {MAX_YEAR}, such as 2026-01-31"
        raise Rejected(field, issue)
    return found


def _issue(text: str) -> str:
    hint = "; a `+` is written %2B in an address" if _SPACE_FOR_PLUS.search(text) else ""
    return f"must be a date or a time, such as {EXAMPLES}{hint}"
