"""Events that a projection could not take: listing them, and applying them again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from domain.errors import NotFound
from infrastructure import checkpoints
from infrastructure.codec import Unreadable
from infrastructure.event_store.reader import read_page
from infrastructure.read_models import decode
from projections import people
from projections.catalogue import PROJECTIONS
from projections.projection import Projection, Recorded

_LIST = text(
    "SELECT projection, position, app_id, reason, parked_at FROM projections.parked"
    " WHERE projection = ANY(:names) AND (cast(:app_id AS uuid) IS NULL OR app_id = :app_id)"
    " AND (projection, position) > (:after_name, :after_position)"
    " ORDER BY projection, position LIMIT :limit"
)
_COUNT = text("SELECT projection, count(*) FROM projections.parked GROUP BY projection")
_HOLD = text(
    "SELECT FROM projections.parked WHERE projection = :projection AND position = :position"
    " FOR UPDATE"
)
_REMOVE = text(
    "DELETE FROM projections.parked WHERE projection = :projection AND position = :position"
)
_MOST_REASON_CHARS = 2000
# Rows of ClickHouse, and links: what they come to depends on what came before them.
_IN_ORDER = "its place in the log counts; rebuild instead: appizer projections rebuild "


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """`reason`: what the projection said last."""

    projection: str
    position: int
    app_id: UUID | None
    reason: str
    parked_at: datetime


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is None when the event was taken."""

    projection: str
    position: int
    reason: str | None = None


def list_parked(
    connection: Connection,
    names: Sequence[str],
    *,
    app_id: UUID | None = None,
    limit: int,
    after: tuple[str, int] | None = None,
) -> list[Parked]:
    """By projection, each in the order of the log. `names`: of the projections; `after`: name and
    position of one to go on from.
    """
    name, position = after or ("", 0)
    place = {"after_name": name, "after_position": position}
    given = {"names": list(names), "app_id": app_id, "limit": limit, **place}
    return [Parked(**row) for row in connection.execute(_LIST, given).mappings()]


def count_parked(connection: Connection) -> dict[str, int]:
    """Projection -> how many; without those that have none."""
    return {row[0]: row[1] for row in connection.execute(_COUNT)}


def retry_parked(
    engine: Engine, log: psycopg.Connection[Any], projection: str, position: int
) -> Retried:
    """One transaction: applied and no longer parked, or neither. The event comes later than it
    stands on the log; where that matters it is not taken, and the reason says so. Raises NotFound.
    """
    known = next((p for p in PROJECTIONS if p.name == projection), None)
    recorded = _recorded(log, position)
    if known is None or (projection == people.name and people.linked_ids(recorded.event)):
        return Retried(projection=projection, position=position, reason=_IN_ORDER + projection)
    if isinstance(recorded.event, Unreadable):
        return Retried(projection=projection, position=position, reason=recorded.event.reason)
    try:
        with engine.begin() as connection:
            _take(connection, known, recorded)
    except (SQLAlchemyError, ValueError, TypeError, LookupError, AssertionError) as error:
        reason = f"{type(error).__name__}: {error}"[:_MOST_REASON_CHARS]
        return Retried(projection=projection, position=position, reason=reason)
    return Retried(projection=projection, position=position)


def _take(connection: Connection, projection: Projection, recorded: Recorded) -> None:
    """The projector holds the same checkpoint while it applies."""
    checkpoints.lock(connection, [projection.name])
    place = {"projection": projection.name, "position": recorded.position}
    if connection.execute(_HOLD, place).rowcount == 0:
        raise NotFound(f"{projection.name}:{recorded.position} is not parked")
    projection.apply([recorded], connection)
    connection.execute(_REMOVE, place)


def _recorded(log: psycopg.Connection[Any], position: int) -> Recorded:
    entries = read_page(log, position - 1, 1)
    if not entries or entries[0].position != position:
        raise NotFound(f"the log has no position {position}")
    return decode(entries[0])
