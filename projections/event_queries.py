"""Questions to the events read model that are no trends: lists, and which names there are."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import msgspec

from domain.conditions import Where
from domain.past import NOW, Past
from projections.conditions import Parameters, all_of
from projections.events import TABLE

COLUMNS = (
    "event_id",
    "event",
    "kind",
    "user_id",
    "anonymous_id",
    "distinct_id",
    "message_id",
    "ts",
    "received_at",
    "position",
    "properties",
    "context",
    "source",
    "country",
    "browser",
    "os",
    "device",
)


class Query(NamedTuple):
    """ClickHouse SQL with {name:Type} parameters, and their values."""

    sql: str
    parameters: Mapping[str, object]


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """All that is given must hold. `end` is excluded. `numbers` are those of distinct ids.
    `before`: (microseconds since 1970, position) of the last row of the page before.
    """

    app_number: int
    event: str | None = None
    numbers: tuple[int, ...] | None = None
    past: Past = NOW
    start: datetime | None = None
    end: datetime | None = None
    where: tuple[Where, ...] = ()
    before: tuple[int, int] | None = None

    @property
    def in_rollups(self) -> bool:
        """Whether the rollups know all that is asked for."""
        return self.numbers is None and not self.where


def newest(wanted: EventFilter, *, since: date | None, limit: int) -> Query:
    """Newest first by (ts, position). `since`: a day by which the caller knows the page is full."""
    parameters = Parameters(now=wanted.past.as_of)
    conditions = _conditions(wanted, parameters)
    if since is not None:
        conditions.append(f"day >= toDate('{since:%Y-%m-%d}')")
    sql = (
        f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE {' AND '.join(conditions)}"
        f" ORDER BY ts DESC, position DESC LIMIT {limit:d}"
    )
    return Query(sql, dict(parameters))


def days(wanted: EventFilter) -> Query:
    """(day, count), newest first, from the rollup: where a page's worth of events lies."""
    parameters = Parameters(now=wanted.past.as_of)
    conditions = [f"app_number = {wanted.app_number:d}", *up_to(wanted.past)]
    if wanted.event is not None:
        conditions.append(f"event = {parameters.text(wanted.event)}")
    if wanted.start is not None:
        conditions.append(f"day >= toDate('{wanted.start:%Y-%m-%d}')")
    if wanted.end is not None:
        conditions.append(f"day <= toDate('{wanted.end:%Y-%m-%d}')")
    if wanted.before is not None:
        conditions.append(f"day <= toDate(fromUnixTimestamp64Micro({wanted.before[0]:d}, 'UTC'))")
    sql = (
        f"SELECT day, count() FROM {TABLE} WHERE {' AND '.join(conditions)}"
        " GROUP BY day ORDER BY day DESC"
    )
    return Query(sql, dict(parameters))


def names(app_number: int, *, prefix: str, limit: int, past: Past = NOW) -> Query:
    """(event, count, first day, last day), most frequent first; of now from the rollup."""
    parameters = Parameters()
    of_app = " AND ".join([f"app_number = {app_number:d}", *up_to(past)])
    begins = f" WHERE startsWith(event, {parameters.text(prefix)})" if prefix else ""
    sql = (
        "SELECT event, sum(events) AS total, min(day), max(day) FROM ("
        f"SELECT event, day, count() AS events FROM {TABLE}"
        f" WHERE {of_app} GROUP BY event, day){begins}"
        f" GROUP BY event ORDER BY total DESC, event LIMIT {limit:d}"
    )
    return Query(sql, dict(parameters))


def sent(app_number: int, numbers: Collection[int] | None, past: Past) -> Query:
    """(number, events, first, last, first of those with a user id), in microseconds since 1970, of
    each of these numbers, or of all, that has sent any.
    """
    conditions = [f"app_number = {app_number:d}", *up_to(past)]
    parameters: dict[str, object] = {}
    if numbers is not None:
        conditions.append("pid0 IN {numbers:Array(UInt64)}")
        parameters["numbers"] = list(numbers)
    micros = "toUnixTimestamp64Micro(ts)"
    # domain/tracking.Message.ordered_at
    ordered = "toUnixTimestamp64Micro(if(ts >= received_at OR ts >= recorded_at, recorded_at, ts))"
    sql = (
        f"SELECT pid0, count(), min({micros}), max({micros}),"
        f" minOrNullIf({ordered}, user_id != '') FROM {TABLE}"
        f" WHERE {' AND '.join(conditions)} GROUP BY pid0"
    )
    return Query(sql, parameters)


def mentions(app_number: int, numbers: Sequence[int], ids: Sequence[str]) -> Query:
    """(position) of every event that one of these numbers has sent, or that names one of these ids
    beside its sender's.
    """
    sql = (
        f"SELECT position FROM {TABLE} WHERE app_number = {app_number:d}"
        " AND (pid0 IN {numbers:Array(UInt64)} OR anonymous_id IN {ids:Array(String)})"
    )
    return Query(sql, {"numbers": list(numbers), "ids": list(ids)})


def seen_beside(app_number: int, numbers: Sequence[int]) -> Query:
    """(anonymous id, whether others name it too) of each that these numbers' events name."""
    of_app = f"FROM {TABLE} WHERE app_number = {app_number:d}"
    of_numbers = "pid0 IN {numbers:Array(UInt64)}"
    sql = (
        f"SELECT anonymous_id, max(NOT {of_numbers}) {of_app} AND anonymous_id IN"
        f" (SELECT anonymous_id {of_app} AND {of_numbers} AND anonymous_id != '')"
        " GROUP BY anonymous_id"
    )
    return Query(sql, {"numbers": list(numbers)})


def up_to(past: Past) -> list[str]:
    """Conditions that only what there was then fulfils."""
    conditions = []
    if past.known_at is not None:
        conditions.append(f"position <= {past.known_at:d}")
    if past.as_of is not None:
        conditions.append(f"ts <= {_time(past.as_of)}")
        conditions.append(f"day <= toDate('{past.as_of:%Y-%m-%d}')")
    return conditions


def within(start: datetime | None, end: datetime | None) -> list[str]:
    """Conditions of the events in [start, end); the days are for the index."""
    conditions = days_of(start, end)
    if start is not None:
        conditions.append(f"ts >= {_time(start)}")
    if end is not None:
        conditions.append(f"ts < {_time(end)}")
    return conditions


def days_of(start: datetime | None, end: datetime | None) -> list[str]:
    """Conditions of all days that [start, end) touches."""
    first = [] if start is None else [f"day >= toDate('{start:%Y-%m-%d}')"]
    return first if end is None else [*first, f"day <= toDate('{end:%Y-%m-%d}')"]


def _conditions(wanted: EventFilter, parameters: Parameters) -> list[str]:
    conditions = [f"app_number = {wanted.app_number:d}", *up_to(wanted.past)]
    if wanted.event is not None:
        conditions.append(f"event = {parameters.text(wanted.event)}")
    if wanted.numbers is not None:
        conditions.append(f"pid0 IN ({', '.join(map(str, wanted.numbers))})")
    conditions += within(wanted.start, wanted.end)
    if wanted.before is not None:
        micros, position = wanted.before
        at = f"fromUnixTimestamp64Micro({micros:d}, 'UTC')"
        conditions.append(f"(ts < {at} OR (ts = {at} AND position < {position:d}))")
        conditions.append(f"day <= toDate({at})")
    return [*conditions, *all_of(wanted.where, parameters)]


def _time(instant: datetime) -> str:
    return f"toDateTime64('{instant:%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')"
