"""Lengths of time as questions name them: `14 days`."""

import re
from datetime import timedelta

from domain.errors import Rejected
from domain.limits import MAX_DURATION_DAYS

_UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(hours=24),
    "week": timedelta(days=7),
}
_FORM = re.compile(rf"([0-9]{{1,9}}) ?({'|'.join(_UNITS)})s?", re.ASCII)


def read_duration(text: str, field: str, *, most_days: int = MAX_DURATION_DAYS) -> timedelta:
    """A day is 24 hours. Raises Rejected."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise Rejected(
            field,
            f"must be a number of {', '.join(f'{unit}s' for unit in _UNITS)}, such as `14 days`",
        )
    try:
        length = int(found[1]) * _UNITS[found[2]]
    except OverflowError:
        length = timedelta.max
    if not timedelta(0) < length <= timedelta(days=most_days):
        raise Rejected(field, f"must be more than nothing and at most {most_days} days")
    return length
