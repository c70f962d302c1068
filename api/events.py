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
from api.paths import part_of_path
from api.shapes import refusal
from api.waiting import MinPosition, caught_up
from domain import conditions
from domain.admission import UNREADABLE, checked_id
from domain.conditions import Where
from domain.errors import NotFound, Rejected
from domain.json_objects import ROOT, examine
from domain.limits import DEFAULT_PAGE, MAX_NAME_CHARS, MAX_PAGE
from domain.moments import EXAMPLES, check_order, read_moment
from infrastructure.analytics_engine import LIGHT
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing
from projections import event_queries, people
from projections.apps import Caller
from projections.event_queries import EventFilter

READ_MODEL = "events"
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str | None, QueryParameter(description="`cursor` of the page before")]
Name = Annotated[str | None, QueryParameter(max_length=MAX_NAME_CHARS)]
From = Annotated[
    str | None,
    QueryParameter(name="from", description=f"a date or a time, included: {EXAMPLES}"),
]
To = Annotated[
    str | None,
    QueryParameter(description="the same; a date is that whole day, a time is excluded"),
]
WhereText = Annotated[
    str | None,
    QueryParameter(
        description='JSON: [{"property": "plan", "operator": "equals", "value": "pro"}]'
    ),
]

_decode_where = msgspec.json.Decoder(tuple[Where, ...]).decode
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
) -> Events:
    first, end = _range(start, to)
    wanted = EventFilter(
        app_number=reader.app_number or 0,
        event=event_name,
        start=first,
        end=end,
        where=_where(where),
    )
    if user_id is not None:
        user_id = checked_id(user_id, "user_id")
    query = cursors.query_of(wanted, user_id)
    wanted = _behind(cursor, query, wanted)
    standing = await caught_up(adapters, READ_MODEL, min_position)
    found = await asyncio.to_thread(_page, adapters, wanted, user_id, limit)
    return _answer(found, limit, query, standing)


@get("/v1/users/{user_id:str}/events")
async def list_events_of_user(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Events:
    user_id = checked_id(part_of_path(user_id, "user_id"), "user_id")
    wanted = EventFilter(app_number=reader.app_number or 0)
    query = cursors.query_of(wanted, user_id)
    wanted = _behind(cursor, query, wanted)
    standing = await caught_up(adapters, READ_MODEL, min_position)
    if await asyncio.to_thread(_number, adapters, wanted.app_number, user_id) is None:
        raise NotFound("nobody with this id has sent an event")
    found = await asyncio.to_thread(_page, adapters, wanted, user_id, limit)
    return _answer(found, limit, query, standing)


@get("/v1/events/names")
async def list_event_names(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    prefix: FromQuery[str] = "",
    limit: Limit = 100,
    min_position: MinPosition = None,
) -> EventNames:
    standing = await caught_up(adapters, READ_MODEL, min_position)
    query = event_queries.names(reader.app_number or 0, prefix=prefix, limit=limit)
    answer = await asyncio.to_thread(adapters.analytics.query, query.sql, query.parameters, LIGHT)
    names = [
        EventName(event_name=name, count=count, first_day=first, last_day=last)
        for name, count, first, last in answer.rows
    ]
    return EventNames(names=names, position=standing.position, lag_ms=standing.lag_ms)


def _range(start: str | None, to: str | None) -> tuple[datetime | None, datetime | None]:
    """In UTC, as is all of an event's times."""
    first = None if start is None else read_moment(start, "from", _UTC, is_end=False)
    end = None if to is None else read_moment(to, "to", _UTC, is_end=True)
    if first is not None and end is not None:
        check_order(first, end)
    return first, end


def _where(text: str | None) -> tuple[Where, ...]:
    if text is None:
        return ()
    _check_exact(text)
    try:
        found = _decode_where(text)
    except msgspec.ValidationError as error:
        raise refusal(error, tuple[Where, ...], "where") from None
    except UNREADABLE as error:
        raise Rejected("where", f"is not a JSON list of conditions: {error}") from None
    conditions.check_all(found)
    return found


def _check_exact(text: str) -> None:
    """Raises Rejected for what the decoder would let pass: a key that comes twice, a number that
    it would round.
    """
    try:
        examine(b'{"where": %s}' % text.encode(), "")
    except Rejected as error:
        if error.field != ROOT:  # else it is no JSON, which the decoder tells by its own places
            raise


def _behind(cursor: str | None, query: bytes, wanted: EventFilter) -> EventFilter:
    """Where the page before ended."""
    found = cursors.decode(cursor, query)
    before = None if found is None else (found.time, found.position)
    return msgspec.structs.replace(wanted, before=before)


def _number(adapters: Adapters, app_number: int, user_id: str) -> int | None:
    key = (app_number, user_id)
    with adapters.engine.connect() as connection:
        return people.find_numbers(connection, [key]).get(key)


def _page(
    adapters: Adapters, wanted: EventFilter, user_id: str | None, limit: int
) -> list[dict[str, Any]]:
    if user_id is not None:
        number = _number(adapters, wanted.app_number, user_id)
        if number is None:
            return []
        wanted = msgspec.structs.replace(wanted, number=number)
    since = _since(adapters, wanted, limit) if wanted.in_rollups else None
    query = event_queries.newest(wanted, since=since, limit=limit)
    answer = adapters.analytics.query(query.sql, query.parameters)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _since(adapters: Adapters, wanted: EventFilter, limit: int) -> date | None:
    """The newest days hold enough; the first and last of a range may count only in part."""
    query = event_queries.days(wanted)
    certain = 0
    for at, (day, count) in enumerate(
        adapters.analytics.query(query.sql, query.parameters, LIGHT).rows
    ):
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
