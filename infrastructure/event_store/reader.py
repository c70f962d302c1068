"""Reading the log in position order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.rows import args_row


class Entry(NamedTuple):
    """One row of the log. `state` is codec byte and payload, see infrastructure/codec.py."""

    position: int
    originator_id: UUID
    originator_version: int
    app_id: UUID | None
    topic: str
    recorded_at: datetime
    state: bytes


_PAGE = """
    SELECT notification_id, originator_id, originator_version, app_id, topic, recorded_at, state
    FROM log.events WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""
_AT = """
    SELECT notification_id, originator_id, originator_version, app_id, topic, recorded_at, state
    FROM log.events WHERE notification_id = ANY(%s) ORDER BY notification_id
"""
_HEAD = "SELECT coalesce(max(notification_id), 0) FROM log.events"


def read_page(connection: Connection[Any], after: int, limit: int) -> list[Entry]:
    """The events that follow position `after`, oldest first, at most `limit`."""
    with connection.cursor(binary=True, row_factory=args_row(Entry)) as cursor:
        return cursor.execute(_PAGE, (after, limit), prepare=True).fetchall()


def read_at(connection: Connection[Any], positions: Sequence[int]) -> list[Entry]:
    """The events at these positions, oldest first."""
    with connection.cursor(binary=True, row_factory=args_row(Entry)) as cursor:
        return cursor.execute(_AT, (list(positions),), prepare=True).fetchall()


def read_head(connection: Connection[Any]) -> int:
    """The last position; 0 when the log is empty."""
    row = connection.execute(_HEAD).fetchone()
    return int(row[0]) if row else 0


def read_log_id(connection: Connection[Any]) -> UUID:
    """Which log this is: a restored or new log has another id."""
    row = connection.execute("SELECT log_id FROM log.identity").fetchone()
    assert row is not None
    return UUID(str(row[0]))
