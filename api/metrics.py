"""Metrics: what is measured, under a name, in versions."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from sqlalchemy import Connection

from api import cursors
from api.auth import own_app
from api.reading import Cursor, Limit
from api.shapes import check_body
from api.time_machine import KnownAt, reached, read_past
from api.waiting import MinPosition
from commands import metrics as commands
from commands.metrics import Written
from domain.errors import Conflict, NotFound, Rejected
from domain.limits import DEFAULT_PAGE, MAX_METRICS, MAX_NAME_CHARS
from domain.metrics import (
    Change,
    Definition,
    NewMetric,
    checked_definition,
    refuse_named,
    segments_named,
)
from infrastructure.bootstrap import Adapters
from infrastructure.changes_in_turn import one_at_a_time
from projections import metrics, segments
from projections.apps import Caller
from projections.metrics import Kept

Version = Annotated[
    int | None,
    QueryParameter(ge=1, le=2**31 - 1, description="of the definition; without it the newest"),
]
Search = Annotated[
    str | None,
    QueryParameter(min_length=1, max_length=MAX_NAME_CHARS, description="somewhere in the name"),
]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]


class MetricShown(msgspec.Struct, frozen=True, kw_only=True):
    """`version` is that of the definition, the first is 1; `position`: where it was written."""

    metric_id: UUID
    name: str
    description: str
    definition: Definition
    version: int
    created_at: datetime
    updated_at: datetime
    position: int
    deleted: bool = False


class MetricAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`position`: of the log; where the write stands, or what the answer includes."""

    metric: MetricShown
    position: int
    success: bool = True


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """`count`: of all that match, on whatever page; `cursor` asks for the next page, null on the
    last.
    """

    metrics: list[MetricShown]
    count: int
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    position: int
    message: str
    success: bool = True


@post("/v1/metrics")
async def create_metric(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    data: JSONBody[NewMetric],
) -> MetricAnswer:
    check_body(await request.body(), NewMetric)

    def create() -> Written:
        with _in_turn(adapters, writer, data.definition) as connection:
            if metrics.count_metrics(connection, _number(writer)) >= MAX_METRICS:
                raise Conflict(f"an app has at most {MAX_METRICS} metrics; delete one first")
            return commands.create_metric(adapters.streams, adapters.clock, own_app(writer), data)

    return _answered(await asyncio.to_thread(create))


@get("/v1/metrics")
async def list_metrics(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    search: Search = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Metrics:
    past = await read_past(adapters, None)
    query = cursors.query_of("metrics", reader.app_number, search)
    after = cursors.decode_place(cursor, query, tuple[_Name, UUID])
    standing = await reached(adapters, (metrics.name,), min_position, past)

    def listed() -> tuple[list[Kept], int]:
        with adapters.engine.connect() as connection:
            return metrics.list_metrics(
                connection, _number(reader), search=search, after=after, limit=limit
            )

    found, count = await asyncio.to_thread(listed)
    last = found[-1].metric if len(found) == limit else None
    return Metrics(
        metrics=[shown(one) for one in found],
        count=count,
        cursor=cursors.encode_place(query, (last.name, last.metric_id)) if last else None,
        position=standing.position,
        lag_ms=standing.lag_ms,
    )


@get("/v1/metrics/{metric_id:uuid}")
async def show_metric(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    metric_id: FromPath[UUID],
    version: Version = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
) -> MetricAnswer:
    past = await read_past(adapters, known_at)
    standing = await reached(adapters, (metrics.name,), min_position, past)
    found = await asyncio.to_thread(
        find, adapters, _number(reader), metric_id, known_at=past.known_at, version=version
    )
    return MetricAnswer(metric=shown(found), position=standing.position)


@patch("/v1/metrics/{metric_id:uuid}")
async def update_metric(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    metric_id: FromPath[UUID],
    data: JSONBody[Change],
) -> MetricAnswer:
    check_body(await request.body(), Change)

    def update() -> Written:
        app_id = own_app(writer)
        with _in_turn(adapters, writer, data.definition) as connection:
            naming = partial(metrics.named_in, connection, _number(writer))
            return commands.update_metric(
                adapters.streams, adapters.clock, app_id, metric_id, data, naming
            )

    return _answered(await asyncio.to_thread(update))


@contextmanager
def _in_turn(
    adapters: Adapters, writer: Caller, definition: Definition | None = None
) -> Iterator[Connection]:
    """The read model has all changes made before; segments that the definition names are there, and
    stay so meanwhile. Raises Rejected.
    """
    named = segments_named(checked_definition(definition)) if definition else frozenset()
    app_number = _number(writer)
    with one_at_a_time(adapters.engine, adapters.positions, app_number) as connection:
        there = set(map(str, segments.find_definitions(connection, app_number))) if named else set()
        if named - there:
            issue = f"there is no segment {min(named - there)}"
            raise Rejected("definition.segment", issue)
        yield connection


@delete("/v1/metrics/{metric_id:uuid}", status_code=200)
async def delete_metric(
    adapters: NamedDependency[Adapters], writer: NamedDependency[Caller], metric_id: FromPath[UUID]
) -> Deleted:
    def remove() -> int:
        with _in_turn(adapters, writer) as connection:
            naming = metrics.named_in(connection, _number(writer), metric_id)
            refuse_named(naming, "it stands in the formula of")
            app_id = own_app(writer)
            return commands.delete_metric(adapters.streams, adapters.clock, app_id, metric_id)

    position = await asyncio.to_thread(remove)
    return Deleted(position=position, message="deleted; its versions are kept for the past")


def find(
    adapters: Adapters,
    app_number: int,
    metric_id: UUID,
    *,
    known_at: int | None,
    version: int | None,
) -> Kept:
    """Raises NotFound, also where it is deleted and no past is asked for."""
    with adapters.engine.connect() as connection:
        found = metrics.find_metric(
            connection, app_number, metric_id, known_at=known_at, version=version
        )
    if found is None or (version is None and found.metric.is_deleted):
        raise NotFound("no such metric, or no such version of it")
    return found


def shown(kept: Kept) -> MetricShown:
    metric, position = kept
    return MetricShown(
        metric_id=metric.metric_id,
        name=metric.name,
        description=metric.description,
        definition=metric.definition,
        version=metric.version,
        created_at=metric.created_at,
        updated_at=metric.updated_at,
        position=position,
        deleted=metric.is_deleted,
    )


def _answered(written: Written) -> MetricAnswer:
    return MetricAnswer(metric=shown(Kept(*written)), position=written.position)


def _number(caller: Caller) -> int:
    return caller.app_number or 0


WRITES = (create_metric, update_metric, delete_metric)
READS = (list_metrics, show_metric)
