"""`known_at` and `as_of`: answers as they were, and of what had happened by then.

`known_at` is a position of the log, or an instant, which stands for the last position recorded by
then. Only digits are a position, whatever their number. `as_of` is by the events' own times. A
date means its end, in UTC; a time is included.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from litestar.params import QueryParameter

from api.waiting import caught_up
from domain.errors import Rejected
from domain.limits import MAX_NUMBER
from domain.moments import EXAMPLES, read_moment
from domain.past import Past
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing

KnownAt = Annotated[
    str | None,
    QueryParameter(
        description="a position of the log, or an instant of recording"
        " (2026-01-31T12:00:00Z; a date: its end): the answer is as the log stood there"
    ),
]
AsOf = Annotated[
    str | None,
    QueryParameter(
        description=f"a date (its end) or a time: {EXAMPLES}: what happened later does not count"
    ),
]

_UTC = ZoneInfo("UTC")
_TICK = timedelta(microseconds=1)


async def read_past(
    adapters: Adapters, known_at: str | int | None, as_of: str | int | None = None
) -> Past:
    """Raises Rejected, also for a position ahead of the log."""
    until = None if as_of is None else last_instant(as_of, "as_of")
    position = _position(known_at)
    if position is not None:
        return Past(await _on_log(adapters, position), until)
    if known_at is None:
        return Past(None, until)
    instant = _instant(known_at)
    return Past(await asyncio.to_thread(adapters.positions.position_at, instant), until)


async def reached(
    adapters: Adapters, read_models: tuple[str, ...], min_position: int | None, past: Past
) -> Standing:
    """Waits until all of them have what is asked for. The first one's standing, at the position
    asked for if there is one. Raises NotCaughtUp.
    """
    wanted = max((p for p in (min_position, past.known_at) if p is not None), default=None)
    standing = await caught_up(adapters, read_models[0], wanted)
    for name in read_models[1:]:
        await caught_up(adapters, name, past.at(standing.position).known_at)
    return standing.at(past.known_at)


def last_instant(given: str | int, field: str) -> datetime:
    """The last microsecond that counts. Raises Rejected."""
    end = read_moment(given, field, _UTC, is_end=True)
    return end if end == read_moment(given, field, _UTC, is_end=False) else end - _TICK


def _instant(known_at: str | int) -> datetime:
    try:
        return last_instant(known_at, "known_at")
    except Rejected:
        issue = "must be a position of the log (digits), or a date or a time: 2026-01-31T12:00:00Z"
        raise Rejected("known_at", issue) from None


def _position(known_at: str | int | None) -> int | None:
    """None: it is no position."""
    if isinstance(known_at, str):
        if not (known_at.isascii() and known_at.isdigit()):
            return None
        known_at = int(known_at.lstrip("0")[: len(str(MAX_NUMBER)) + 1] or 0)
    if known_at is not None and not 0 <= known_at <= MAX_NUMBER:
        raise Rejected("known_at", "must be a position of the log or an instant")
    return known_at


async def _on_log(adapters: Adapters, position: int) -> int:
    head = await asyncio.to_thread(adapters.positions.head)
    if position > head:
        raise Rejected("known_at", f"lies ahead of the log, which ends at {head}")
    return position
