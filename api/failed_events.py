"""Messages that were refused: listed with the reason, and taken after all once the rule allows."""

import asyncio
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from api.auth import require
from api.dialects.calls import readmit
from api.waiting import MinPosition, caught_up
from commands.ingest import Outcome, Replay, replay
from domain.errors import NotFound
from domain.limits import DEFAULT_PAGE, MAX_NUMBER, MAX_PAGE
from domain.tracking import Refused
from infrastructure import codec
from infrastructure.bootstrap import Adapters
from projections import failed_events
from projections.apps import Caller

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]
Before = Annotated[
    int | None,
    QueryParameter(ge=0, le=MAX_NUMBER, description="a position: only what is older"),
]


class FailedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is what was received; bytes that are no text are shown as U+FFFD."""

    id: UUID
    position: int
    received_at: datetime
    dialect: str
    kind: str | None
    field: str
    issue: str
    body: str


class FailedEvents(msgspec.Struct, frozen=True, kw_only=True):
    """`before`: ask with it for the next page; null on the last."""

    failed_events: list[FailedEvent]
    total: int
    before: int | None
    position: int
    lag_ms: float
    success: bool = True


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    outcome: Outcome
    success: bool = True


@get("/v1/failed-events")
async def list_failed(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    limit: Limit = DEFAULT_PAGE,
    before: Before = None,
    min_position: MinPosition = None,
) -> FailedEvents:
    standing = await caught_up(adapters, failed_events.name, min_position)
    shown, total = await asyncio.to_thread(_listed, adapters, reader.app_number or 0, limit, before)
    return FailedEvents(
        failed_events=shown,
        total=total,
        before=shown[-1].position if len(shown) == limit else None,
        position=standing.position,
        lag_ms=standing.lag_ms,
    )


def _listed(
    adapters: Adapters, app_number: int, limit: int, before: int | None
) -> tuple[list[FailedEvent], int]:
    with adapters.engine.connect() as connection:
        rows = failed_events.list_refused(connection, app_number, limit=limit, before=before)
        return [_shown(row) for row in rows], failed_events.count_refused(connection, app_number)


@post("/v1/failed-events/{failed_id:uuid}/replay", status_code=200)
async def replay_failed(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    failed_id: FromPath[UUID],
) -> Replayed:
    require(reader, "write")
    assert reader.app_id is not None  # a secret key is an app's
    refused = await asyncio.to_thread(_refused, adapters, reader, failed_id)
    wanted = Replay(reader.app_id, failed_id.bytes, refused, readmit)
    barred = await adapters.barred.of(reader.app_id)
    return Replayed(outcome=await replay(adapters.log, wanted, adapters.clock(), barred))


def _refused(adapters: Adapters, reader: Caller, failed_id: UUID) -> Refused:
    """From the log: the read model may be behind."""
    with adapters.engine.connect() as connection:
        row = failed_events.stored_refusal(connection, reader.app_id, failed_id)
    if row is None:
        raise NotFound("no such failed event")
    event: Refused = codec.decode(*row)
    return event


def _shown(row: dict[str, Any]) -> FailedEvent:
    return FailedEvent(
        id=row["failed_id"],
        position=row["position"],
        received_at=row["received_at"],
        dialect=row["dialect"],
        kind=row["kind"],
        field=row["field"],
        issue=row["issue"],
        body=row["body"].decode(errors="replace"),
    )


WRITES = (replay_failed,)
READS = (list_failed,)
