"""Metrics of each app, in all their versions."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    Uuid,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from domain.metrics import (
    Definition,
    Metric,
    MetricCreated,
    MetricDeleted,
    MetricUpdated,
    segments_named,
)
from projections import apps
from projections.projection import Recorded

name = "metrics"
version = 1
metadata = MetaData(schema=name)

# A version holds from its `position` on.
versions = Table(
    "versions",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("metric_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("definition", Text, nullable=False),
    Column("is_deleted", Boolean, nullable=False),
    Column("is_newest", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
)
_EVENTS = (MetricCreated, MetricUpdated, MetricDeleted)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Definition).decode


class Kept(NamedTuple):
    """A version, and where it was written."""

    metric: Metric
    position: int


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    found = [r for r in page if r.event.__class__ in _EVENTS]
    if not found:
        return
    numbers = apps.numbers(connection)
    for recorded in found:
        if recorded.app_id in numbers:
            _take(connection, numbers[recorded.app_id], recorded)


def _take(connection: Connection, app: int, recorded: Recorded) -> None:
    event: Any = recorded.event
    before = _newest(connection, app, event.originator_id)
    if before is not None and before.version >= event.originator_version:
        return
    row = {
        "app_number": app,
        "metric_id": event.originator_id,
        "version": event.originator_version,
        "position": recorded.position,
        "is_newest": True,
        "created_at": before.created_at if before else event.occurred_at,
        "updated_at": event.occurred_at,
        **_stated(event, before),
    }
    c = versions.c
    mine = (c.app_number == app, c.metric_id == event.originator_id)
    connection.execute(versions.update().where(*mine).values(is_newest=False))
    connection.execute(insert(versions).values(row))


def _stated(event: Any, before: Any) -> dict[str, object]:
    if isinstance(event, MetricDeleted):
        return {
            "name": before.name,
            "description": before.description,
            "definition": before.definition,
            "is_deleted": True,
        }
    return {
        "name": event.name,
        "description": event.description,
        "definition": _encode(event.definition).decode(),
        "is_deleted": False,
    }


def _newest(connection: Connection, app: int, metric_id: UUID) -> Any:
    c = versions.c
    mine = (c.app_number == app, c.metric_id == metric_id, c.is_newest)
    return connection.execute(select(versions).where(*mine)).one_or_none()


# --- questions ---------------------------------------------------------------------------------


def find_metric(
    connection: Connection,
    app_number: int,
    metric_id: UUID,
    *,
    known_at: int | None = None,
    version: int | None = None,
) -> Kept | None:
    """As it is, as it was at the position `known_at`, or its `version`. Deleted ones too."""
    c = versions.c
    query = select(versions).where(c.app_number == app_number, c.metric_id == metric_id)
    if known_at is not None:
        query = query.where(c.position <= known_at)
    if version is not None:
        query = query.where(c.version == version)
    row = connection.execute(query.order_by(c.version.desc()).limit(1)).one_or_none()
    return None if row is None else _kept(row)


def list_metrics(
    connection: Connection,
    app_number: int,
    *,
    search: str | None,
    after: tuple[str, UUID] | None,
    limit: int,
) -> tuple[list[Kept], int]:
    """Ordered by name, and how many there are altogether. `search`: somewhere in the name, in
    either case. `after`: name and id of the last one before.
    """
    c = versions.c
    matching = select(versions).where(c.app_number == app_number, c.is_newest, ~c.is_deleted)
    if search is not None:
        matching = matching.where(func.strpos(func.lower(c.name), search.lower()) > 0)
    total = connection.execute(select(func.count()).select_from(matching.subquery())).scalar_one()
    place = (c.name.collate("C"), c.metric_id)
    page = matching.order_by(*place).limit(limit)
    if after is not None:
        page = page.where(_after(place, after))
    return [_kept(row) for row in connection.execute(page)], total


def _after(place: tuple[Any, Any], last: tuple[str, UUID]) -> Any:
    name, metric_id = place
    return (name > last[0]) | ((name == last[0]) & (metric_id > last[1]))


def named_in(connection: Connection, app_number: int, metric_id: UUID) -> list[Metric]:
    """Metrics whose formula names this one."""
    found = _mentioning(connection, app_number, metric_id)
    return [one for one in found if metric_id in one.definition.metrics.values()]


def _mentioning(connection: Connection, app_number: int, one: UUID) -> list[Metric]:
    """Those whose definition has this id somewhere."""
    c = versions.c
    query: Select[Any] = select(versions).where(
        c.app_number == app_number,
        c.is_newest,
        ~c.is_deleted,
        func.strpos(c.definition, str(one)) > 0,
    )
    return [_kept(row).metric for row in connection.execute(query)]


def measuring(connection: Connection, app_number: int, segment_id: UUID) -> list[Metric]:
    """Metrics of the members of this segment."""
    found = _mentioning(connection, app_number, segment_id)
    return [one for one in found if str(segment_id) in segments_named(one.definition)]


def count_metrics(connection: Connection, app_number: int) -> int:
    c = versions.c
    query = select(func.count()).where(c.app_number == app_number, c.is_newest, ~c.is_deleted)
    return int(connection.execute(query).scalar_one())


def _kept(row: Any) -> Kept:
    metric = Metric(
        metric_id=row.metric_id,
        app_id=None,
        version=row.version,
        name=row.name,
        description=row.description,
        definition=_decode(row.definition),
        created_at=row.created_at,
        updated_at=row.updated_at,
        is_deleted=row.is_deleted,
    )
    return Kept(metric, row.position)
