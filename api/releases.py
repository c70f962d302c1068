"""Releases, which callers know as versions, and what came of one."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from api import cursors
from api.analytics.answers import Answer, Moment, begin
from api.auth import own_app
from api.metric_values import measure_all, resolve_as_of
from api.metrics import Deleted, MetricShown
from api.parameters import given
from api.reading import Cursor, Limit
from api.shapes import check_body
from api.time_machine import AsOf, KnownAt, reached
from api.waiting import MinPosition
from commands import releases as commands
from domain import releases
from domain.errors import Conflict, NotFound, Rejected
from domain.limits import DEFAULT_PAGE, MAX_RELEASES
from domain.metric_values import series_of
from domain.metrics import Resolved
from domain.moments import known_zone, read_moment
from domain.past import NOW
from domain.questions import Asked
from domain.releases import Impact, NewRelease, Release, check_days
from domain.trends import Question, Value
from infrastructure.bootstrap import Adapters
from projections import metrics
from projections import releases as kept
from projections.apps import Caller

_UTC = ZoneInfo("UTC")
_DAY = timedelta(days=1)
Days = Annotated[
    int, QueryParameter(description="after the release, and before it: whole weeks, 7 to 84")
]


class ReleaseBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`released_at`: a time, or a date, which is its beginning in UTC."""

    version: str
    released_at: str | int
    release_notes: str = ""


class ReleaseChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    released_at: str | int | None = None
    release_notes: str | None = None


class ReleaseShown(msgspec.Struct, frozen=True, kw_only=True):
    version_id: UUID
    version: str
    released_at: datetime
    release_notes: str


class ReleaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`position`: of the log; where the write stands, or what the answer includes."""

    version: ReleaseShown
    position: int
    success: bool = True


class Releases(msgspec.Struct, frozen=True, kw_only=True):
    """`count`: of all, on whatever page; `cursor` asks for the next page, null on the last."""

    versions: list[ReleaseShown]
    count: int
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


class DayShown(msgspec.Struct, frozen=True):
    """`value` is null where there is none, or where the day is not over yet."""

    day: date
    value: float | None


class ImpactAnswer(Answer, frozen=True, kw_only=True):
    """`before` and `after`: the days beside the release, whose own day is neither. `complete`: the
    last of them is over.
    """

    version: ReleaseShown
    metric: MetricShown
    before: list[DayShown]
    after: list[DayShown]
    impact: Impact
    confidence: float
    complete: bool


@post("/v1/versions")
async def create_release(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    data: JSONBody[ReleaseBody],
) -> ReleaseAnswer:
    check_body(await request.body(), ReleaseBody)
    wanted = NewRelease(
        version=data.version,
        released_at=_released_at(data.released_at),
        release_notes=data.release_notes,
    )

    def create() -> commands.Written:
        with adapters.engine.connect() as connection:
            if kept.count_releases(connection, writer.app_number or 0) >= MAX_RELEASES:
                raise Conflict(f"an app has at most {MAX_RELEASES} versions; delete one first")
        return commands.create_release(adapters.streams, adapters.clock, own_app(writer), wanted)

    return _answered(await asyncio.to_thread(create))


@get("/v1/versions")
async def list_releases(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Releases:
    query = cursors.query_of("versions", reader.app_number)
    after = cursors.decode_place(cursor, query, tuple[cursors.Moment, UUID])
    standing = await reached(adapters, (kept.name,), min_position, NOW)

    def listed() -> tuple[list[Release], int]:
        with adapters.engine.connect() as connection:
            return kept.list_releases(connection, reader.app_number or 0, after=after, limit=limit)

    found, count = await asyncio.to_thread(listed)
    last = found[-1] if len(found) == limit else None
    place = None if last is None else (last.released_at, last.release_id)
    return Releases(
        versions=[_shown(one) for one in found],
        count=count,
        cursor=None if place is None else cursors.encode_place(query, place),
        position=standing.position,
        lag_ms=standing.lag_ms,
    )


@get("/v1/versions/{version_id:uuid}")
async def show_release(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    version_id: FromPath[UUID],
    min_position: MinPosition = None,
) -> ReleaseAnswer:
    standing = await reached(adapters, (kept.name,), min_position, NOW)
    found = await asyncio.to_thread(_find, adapters, reader, version_id)
    return ReleaseAnswer(version=_shown(found), position=standing.position)


@patch("/v1/versions/{version_id:uuid}")
async def update_release(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    version_id: FromPath[UUID],
    data: JSONBody[ReleaseChange],
) -> ReleaseAnswer:
    check_body(await request.body(), ReleaseChange)
    at = None if data.released_at is None else _released_at(data.released_at)
    change = releases.Change(released_at=at, release_notes=data.release_notes)
    app_id = own_app(writer)
    written = await asyncio.to_thread(
        commands.update_release, adapters.streams, adapters.clock, app_id, version_id, change
    )
    return _answered(written)


@delete("/v1/versions/{version_id:uuid}", status_code=200)
async def delete_release(
    adapters: NamedDependency[Adapters], writer: NamedDependency[Caller], version_id: FromPath[UUID]
) -> Deleted:
    position = await asyncio.to_thread(
        commands.delete_release, adapters.streams, adapters.clock, own_app(writer), version_id
    )
    return Deleted(position=position, message="deleted; it may be created again")


@get("/v1/versions/{version_id:uuid}/impact")
async def show_impact(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    version_id: FromPath[UUID],
    metric: Annotated[UUID | None, QueryParameter(description="required: the metric's id")] = None,
    days: Days = 14,
    timezone: FromQuery[str] = "UTC",
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> ImpactAnswer:
    metric_id = given(metric, "metric")
    check_days(days)
    zone = ZoneInfo(known_zone(timezone))
    asked = Asked(min_position=min_position, known_at=known_at, as_of=as_of)
    moment = await begin(request, adapters, reader, asked, also=(metrics.name, kept.name))
    release = await asyncio.to_thread(_find, adapters, reader, version_id)
    resolved, used = await asyncio.to_thread(resolve_as_of, moment, metric_id, None)
    day = release.released_at.astimezone(zone).date()
    values = await _values(moment, resolved, _question(day, days, timezone))
    before, after = values[:days], values[days + 1 :]
    held = [[one.value if one.complete else None for one in part] for part in (before, after)]
    return ImpactAnswer(
        version=_shown(release),
        metric=used[metric_id],
        before=_days(day - days * _DAY, held[0]),
        after=_days(day + _DAY, held[1]),
        impact=releases.impact([pair for _, _, pair in releases.pairs_of(*held)]),
        confidence=releases.CONFIDENCE,
        complete=values[-1].complete,
        **moment.told(),
    )


async def _values(moment: Moment, resolved: Resolved, question: Question) -> list[Value]:
    found = await measure_all(moment, resolved, question)
    (series,) = series_of(resolved, found, question)
    return series.values


def _question(day: date, days: int, timezone: str) -> Question:
    try:
        first, last = day - days * _DAY, day + days * _DAY
    except OverflowError:
        raise Rejected("days", "reach beyond the calendar") from None
    return Question(start=first.isoformat(), to=last.isoformat(), timezone=timezone)


def _days(first: date, values: list[float | None]) -> list[DayShown]:
    return [DayShown(first + place * _DAY, value) for place, value in enumerate(values)]


def _find(adapters: Adapters, reader: Caller, version_id: UUID) -> Release:
    with adapters.engine.connect() as connection:
        found = kept.find_release(connection, reader.app_number or 0, version_id)
    if found is None:
        raise NotFound("no such version")
    return found


def _released_at(given: str | int) -> datetime:
    return read_moment(given, "released_at", _UTC, is_end=False)


def _shown(release: Release) -> ReleaseShown:
    return ReleaseShown(
        version_id=release.release_id,
        version=release.version,
        released_at=release.released_at,
        release_notes=release.release_notes,
    )


def _answered(written: commands.Written) -> ReleaseAnswer:
    event = written.event
    release = ReleaseShown(
        version_id=event.originator_id,
        version=event.version,
        released_at=event.released_at,
        release_notes=event.release_notes,
    )
    return ReleaseAnswer(version=release, position=written.position)


WRITES = (create_release, update_release, delete_release)
READS = (list_releases, show_release, show_impact)
