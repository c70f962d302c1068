"""Messages that were refused, with the reason and what was received, until they are replayed."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert

from domain.erasures import ERASED
from domain.tracking import RefusalReplayed, Refused
from projections import apps
from projections.projection import Recorded

name = "failed_events"
version = 1
metadata = MetaData(schema=name)

refused = Table(
    "refused",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("failed_id", Uuid, primary_key=True),
    Column("position", BigInteger, nullable=False, index=True),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("dialect", Text, nullable=False),
    Column("kind", Text),
    Column("field", Text, nullable=False),
    Column("issue", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("replayed_as", Text),
)


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    app_numbers: dict[UUID, int] | None = None
    for recorded in [r for r in page if r.event.__class__ in (Refused, RefusalReplayed)]:
        app_numbers = app_numbers or apps.numbers(connection)
        app_number = app_numbers.get(recorded.app_id) if recorded.app_id else None
        if app_number is None:
            continue
        if isinstance(recorded.event, Refused):
            _add(connection, app_number, recorded, recorded.event)
        elif isinstance(recorded.event, RefusalReplayed):
            _mark_replayed(connection, app_number, recorded.event)


def _add(connection: Connection, app_number: int, recorded: Recorded, event: Refused) -> None:
    row = {
        "app_number": app_number,
        "failed_id": recorded.stream_id,
        "position": recorded.position,
        "received_at": event.received_at,
        "dialect": event.dialect,
        "kind": event.kind,
        "field": event.field,
        "issue": event.issue,
        "body": event.body,
    }
    connection.execute(insert(refused).values(row).on_conflict_do_nothing())


def _mark_replayed(connection: Connection, app_number: int, event: RefusalReplayed) -> None:
    connection.execute(
        refused.update()
        .where(refused.c.app_number == app_number, refused.c.failed_id == UUID(event.refused_id))
        .values(replayed_as=event.event_id)
    )


def list_refused(
    connection: Connection, app_number: int, *, limit: int, before: int | None = None
) -> list[dict[str, Any]]:
    """Newest first; not those that were taken after all. `before`: a position to go on from."""
    query = select(refused).where(
        refused.c.app_number == app_number, refused.c.replayed_as.is_(None)
    )
    if before is not None:
        query = query.where(refused.c.position < before)
    rows = connection.execute(query.order_by(refused.c.position.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def find_refused(
    connection: Connection, app_numbers: Collection[int], failed_id: UUID
) -> dict[str, Any] | None:
    """Of one of these apps; not one that was taken after all."""
    query = select(refused).where(
        refused.c.app_number.in_(app_numbers),
        refused.c.failed_id == failed_id,
        refused.c.replayed_as.is_(None),
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def count_refused(connection: Connection, app_number: int) -> int:
    query = select(func.count()).where(
        refused.c.app_number == app_number, refused.c.replayed_as.is_(None)
    )
    return int(connection.execute(query).scalar_one())


def bodies(
    connection: Connection, app_number: int, after: int, limit: int
) -> list[tuple[int, bytes]]:
    """(position, what was received) of refusals behind position `after`, oldest first."""
    query = select(refused.c.position, refused.c.body).where(
        refused.c.app_number == app_number, refused.c.position > after
    )
    rows = connection.execute(query.order_by(refused.c.position).limit(limit))
    return [(row.position, bytes(row.body)) for row in rows]


def erase(connection: Connection, app_number: int, positions: Sequence[int]) -> int:
    """What `apply` makes of those refusals now that the log holds nothing of them. How many they
    are. Whoever calls it holds the checkpoint.
    """
    gone = (
        refused.update()
        .where(refused.c.app_number == app_number, refused.c.position.in_(positions))
        .values(body=b"", field=ERASED, issue=ERASED)
    )
    return connection.execute(gone).rowcount


_STORED = text(
    "SELECT topic, state FROM log.events WHERE originator_id = :failed_id"
    " AND originator_version = 1 AND app_id = :app_id AND topic = :topic"
)


def stored_refusal(
    connection: Connection, app_id: UUID | None, failed_id: UUID
) -> tuple[str, bytes] | None:
    """Topic and payload as they stand on the log, if they are this app's."""
    row = connection.execute(
        _STORED, {"failed_id": failed_id, "app_id": app_id, "topic": Refused.TOPIC}
    ).one_or_none()
    return None if row is None else (row.topic, bytes(row.state))
