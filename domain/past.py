"""The two times at which a question may be asked: of the log, and of what happened."""

from datetime import datetime, timedelta
from typing import NamedTuple


class Past(NamedTuple):
    """`known_at`: as the log stood at this position; `as_of`: of what happened up to this time, it
    included. None: all that there is now.
    """

    known_at: int | None = None
    as_of: datetime | None = None

    def at(self, position: int) -> "Past":
        """Standing at the position where no other was asked for."""
        return self if self.known_at is not None else self._replace(known_at=position)


NOW = Past()
_TICK = timedelta(microseconds=1)


def seen_until(now: datetime, past: Past) -> datetime:
    """What happens from then on can't be in an answer."""
    return now if past.as_of is None else min(now, past.as_of + _TICK)
