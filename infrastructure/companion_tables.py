"""What the tables have in common that stand beside the events in ClickHouse and are copied from the
Postgres read models, up to the position of the events.

A row that comes twice changes nothing, so after a crash the last position that a table has is
enough to go on from.
"""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from infrastructure.analytics_engine import LIGHT, AnalyticsEngine

ROWS = 100_000  # in one insert; a position is never in two
_BYTES = 16 * 2**20
_COMMENT = """
SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"""
_T = TypeVar("_T")


class Companion(Protocol):
    """For one thread; one writer at a time, as of the events. `digest`: SQL of (app number, rows,
    digest) of what `table` has up to a position. `position`: up to where it was copied.
    """

    table: str
    digest: str
    position: int

    @property
    def tables(self) -> tuple[str, ...]: ...

    def recover(self, log_id: UUID) -> None:
        """Makes the tables if they are missing, and empties those of another log or version."""

    def write(self, connection: Connection, upto: int) -> None:
        """What the read model, which has come to `upto`, says since the last time."""

    def drop(self) -> None: ...


def make(
    analytics: AnalyticsEngine,
    table: str,
    create: Callable[..., str],
    generation: str,
    drop: Callable[[], None],
) -> None:
    """The table is there afterwards, and of this generation."""
    analytics.command(create(table, generation=generation))
    if analytics.query(_COMMENT, {"table": table}, LIGHT).rows[0][0] != generation:
        drop()
        analytics.command(create(table, generation=generation))


def last_position(analytics: AnalyticsEngine, table: str) -> int:
    """0 if it is empty."""
    return int(analytics.query(f"SELECT max(position) FROM {table}", None, LIGHT).rows[0][0])


def lines_in_parts(
    rows: Iterator[_T], line: Callable[[_T], bytes], position_of: Callable[[_T], int]
) -> Iterator[list[bytes]]:
    """Each is one part of the table, so that it is there or not."""
    lines = ((position_of(row), line(row)) for row in rows)
    for part in in_parts(lines, _first, lambda told: len(told[1])):
        yield [told for _, told in part]


def in_parts(
    rows: Iterator[_T], position_of: Callable[[_T], int], bytes_of: Callable[[_T], int]
) -> Iterator[list[_T]]:
    """The same of rows."""
    part: list[_T] = []
    size = position = 0
    for row in rows:
        if (len(part) >= ROWS or size >= _BYTES) and position_of(row) != position:
            yield part
            part, size = [], 0
        part.append(row)
        size += bytes_of(row)
        position = position_of(row)
    if part:
        yield part


def _first(told: tuple[int, bytes]) -> int:
    return told[0]
