"""Which rollup of the events table serves a range, and the SQL that reads it or the rows."""

from collections.abc import Iterable, Sized
from datetime import datetime
from typing import Literal, NamedTuple

from projections.event_queries import within

Unit = Literal["day", "hour", "second"]
Source = Literal["day", "hour", "rows"]

# The coarser the column, the less there is to read.
SECOND: dict[Unit, str] = {
    "day": "toUInt32(toDateTime(day, 'UTC'))",
    "hour": "toUInt32(hour)",
    "second": "toUInt32(toUnixTimestamp(ts))",
}
_DAY, _HOUR = 86_400, 3600


class Plan(NamedTuple):
    """A query and where it reads: the rollup by UTC day, that by UTC hour, or the rows. `most`: of
    more rows than these it tells only so many, and has to be asked in another way.
    """

    sql: str
    parameters: dict[str, object]
    settings: dict[str, object]
    source: Source
    most: int | None = None

    def answers(self, rows: Sized) -> bool:
        return self.most is None or len(rows) <= self.most


def coarsest(bounds: Iterable[float]) -> Unit:
    """The longest units between which all these Unix seconds fall."""
    seconds = list(bounds)
    for unit, length in (("day", _DAY), ("hour", _HOUR)):
        if all(second % length == 0 for second in seconds):
            return unit  # type: ignore[return-value]  # it is one of the two
    return "second"


def between(start: datetime, end: datetime | None, source: Source) -> list[str]:
    """Conditions of what lies in [start, end), which fall between the source's units."""
    if source == "rows":
        return within(start, end)
    if source == "day":
        days = [f"day >= toDate('{start:%Y-%m-%d}')"]
        return days if end is None else [*days, f"day < toDate('{end:%Y-%m-%d}')"]
    hours = [f"hour >= toDateTime({int(start.timestamp())}, 'UTC')"]
    return hours if end is None else [*hours, f"hour < toDateTime({int(end.timestamp())}, 'UTC')"]
