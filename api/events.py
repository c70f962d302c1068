"""Events as they were sent, newest first, and the names that there are."""

import asyncio
from datetime import UTC, date, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, QueryParameter

from api import cursors
from api.reading import EVENTS, Cursor, Limit, names_meant, nobody
from api.time_machine import AsOf, KnownAt, reached, read_past
from api.waiting import MinPosition
from api.where import WhereText, read_where
from domain import conditions
from domain.limits import DEFAULT_PAGE, MAX_NAME_CHARS
from domain.moments import EXAMPLES, check_order, read_moment
from domain.past import NOW
from infrastructure.analytics_engine import LIGHT
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing
from projections import event_queries, people
from projections.apps import Caller
from projections.event_queries import EventFilter
from projections.people.whose import find_whose

Name = Annotated[str | None, QueryParameter(max_length=MAX_NAME_CHARS)]
From = Annotated[
    str | None,
    QueryParameter(name="from", description=f"a date or a time, included: {EXAMPLES}"),
]
To = Annotated[
    str | None,
    QueryParameter(description="the same; a date is that whole day, a time is excluded"),
]

Numbers = tuple[int, ...]
_UTC = ZoneInfo("UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventShown(msgspec.Struct, frozen=True, kw_only=True):
    """`timestamp` is when it happened, by our clock; `country` and what follows was worked out
    from address and user agent and is null where that is not known.
    """

    event_id: str
    event_name: str
    kind: str
    user_id: str | None
    anonymous_id: str | None
    distinct_id: str
    message_id: str
    timestamp: datetime
    received_at: datetime
    position: int
    properties: dict[str, Any]
    context: dict[str, Any]
    source: str
    country: str | None
    browser: str | None
    os: str | None
    device: str | None


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """`cursor` asks for the next page; null on the last."""

    events: list[EventShown]
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


class EventName(msgspec.Struct, frozen=True, kw_only=True):
    event_name: str
    count: int
    first_day: date
    last_day: date


class EventNames(msgspec.Struct, frozen=True, kw_only=True):
    names: list[EventName]
    position: int
    lag_ms: float
    success: bool = True


@get("/v1/events")
async def list_events(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    event_name: Name = None,
    user_id: FromQuery[str | None] = None,
    start: From = None,
    to: To = None,
    where: WhereText = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Events:
    first, end = _range(start, to)
    wanted = EventFilter(
        app_number=reader.app_number or 0,
        event=event_name,
        start=first,
        end=end,
        where=read_where(where, conditions.check_all),
    )
    names = () if user_id is None else names_meant(user_id, "user_id")
    query = cursors.query_of(wanted, names, known_at, as_of)
    wanted = _behind(cursor, query, wanted)
    past = await read_past(adapters, known_at, as_of)
    standing = await reached(adapters, _read_models(names), min_position, past)
    wanted = msgspec.structs.replace(wanted, past=past)
    found = await asyncio.to_thread(_page, adapters, wanted, names, limit)
    return _answer(found or [], limit, query, standing)


@get("/v1/users/{user_id:str}/events")
async def list_events_of_user(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Events:
    names = names_meant(user_id, "user_id")
    wanted = EventFilter(app_number=reader.app_number or 0)
    query = cursors.query_of(wanted, names, known_at, as_of)
    wanted = _behind(cursor, query, wanted)
    past = await read_past(adapters, known_at, as_of)
    standing = await reached(adapters, _read_models(names), min_position, past)
    wanted = msgspec.structs.replace(wanted, past=past)
    found = await asyncio.to_thread(_page, adapters, wanted, names, limit)
    if found is None:
        raise nobody()
    return _answer(found, limit, query, standing)


@get("/v1/events/names")
async def list_event_names(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    prefix: FromQuery[str] = "",
    limit: Limit = 100,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> EventNames:
    past = await read_past(adapters, known_at, as_of)
    standing = await reached(adapters, (EVENTS,), min_position, past)
    query = event_queries.names(reader.app_number or 0, prefix=prefix, limit=limit, past=past)
    settings = LIGHT if past == NOW else None
    answer = await asyncio.to_thread(
        adapters.analytics.query, query.sql, query.parameters, settings
    )
    names = [
        EventName(event_name=name, count=count, first_day=first, last_day=last)
        for name, count, first, last in answer.rows
    ]
    return EventNames(names=names, position=standing.position, lag_ms=standing.lag_ms)


def _read_models(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that must have come to a position: who a person was is in the other one."""
    return (EVENTS, people.name) if names else (EVENTS,)


def _range(start: str | None, to: str | None) -> tuple[datetime | None, datetime | None]:
    """In UTC, as is all of an event's times."""
    first = None if start is None else read_moment(start, "from", _UTC, is_end=False)
    end = None if to is None else read_moment(to, "to", _UTC, is_end=True)
    if first is not None and end is not None:
        check_order(first, end)
    return first, end


def _behind(cursor: str | None, query: bytes, wanted: EventFilter) -> EventFilter:
    """Where the page before ended."""
    found = cursors.decode(cursor, query)
    before = None if found is None else (found.time, found.position)
    return msgspec.structs.replace(wanted, before=before)


def _numbers(adapters: Adapters, wanted: EventFilter, names: tuple[str, ...]) -> Numbers | None:
    """Of all ids of the person. None: there is no such person."""
    with adapters.engine.connect() as connection:
        for name in names:
            whose = find_whose(connection, wanted.app_number, name, wanted.past.known_at)
            if whose is not None:
                return whose.numbers
    return None


def _page(
    adapters: Adapters, wanted: EventFilter, names: tuple[str, ...], limit: int
) -> list[dict[str, Any]] | None:
    """`names`: of one person, or of nobody for events of all. None: there is no such person."""
    if names:
        wanted = msgspec.structs.replace(wanted, numbers=_numbers(adapters, wanted, names))
        if wanted.numbers is None:
            return None
    since = _since(adapters, wanted, limit) if wanted.in_rollups else None
    query = event_queries.newest(wanted, since=since, limit=limit)
    answer = adapters.analytics.query(query.sql, query.parameters)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _since(adapters: Adapters, wanted: EventFilter, limit: int) -> date | None:
    """The newest days hold enough; the first and last of a range may count only in part."""
    query = event_queries.days(wanted)
    certain = 0
    settings = LIGHT if wanted.past == NOW else None  # of a past there are no rollups
    answer = adapters.analytics.query(query.sql, query.parameters, settings)
    for at, (day, count) in enumerate(answer.rows):
        certain += count if at else 0
        if certain >= limit:
            return date.fromisoformat(str(day))
    return None


def _answer(rows: list[dict[str, Any]], limit: int, query: bytes, standing: Standing) -> Events:
    cursor = None
    if len(rows) == limit:
        last = rows[-1]
        micros = round((last["ts"].replace(tzinfo=UTC) - _EPOCH).total_seconds() * 1e6)
        cursor = cursors.encode(cursors.Cursor(query, micros, last["position"]))
    shown = [_shown(row) for row in rows]
    return Events(events=shown, cursor=cursor, position=standing.position, lag_ms=standing.lag_ms)


def _shown(row: dict[str, Any]) -> EventShown:
    return EventShown(
        event_id="evt_" + row["event_id"].hex,
        event_name=row["event"],
        kind=row["kind"],
        user_id=row["user_id"] or None,
        anonymous_id=row["anonymous_id"] or None,
        distinct_id=row["distinct_id"],
        message_id=row["message_id"],
        timestamp=row["ts"],
        received_at=row["received_at"],
        position=row["position"],
        properties=msgspec.json.decode(row["properties"]),
        context=msgspec.json.decode(row["context"]),
        source=row["source"],
        country=row["country"] or None,
        browser=row["browser"] or None,
        os=row["os"] or None,
        device=row["device"] or None,
    )


ROUTES = (list_events, list_events_of_user, list_event_names)
