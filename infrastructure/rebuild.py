"""Rebuilding a Postgres read model from the log: beside the live one, then swapped or compared.

Resumable: the shadow has a checkpoint of its own. Reads go on all the time; the swap renames two
schemas in one transaction, in which the projector can't apply. The old tables are dropped in
another: a drop waits for readers, and one that holds the first table and wants the second would
wait for it.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import psycopg
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from infrastructure import checkpoints
from infrastructure.checkpoints import Checkpoint
from infrastructure.event_store.reader import read_page
from infrastructure.read_models import (
    advance,
    apply_at_once,
    apply_one_by_one,
    create_tables,
    decode,
)
from projections import people
from projections.projection import Projection, Recorded

_PAGE = 5_000
# Of one statement: set on the connection they would hold for all that follow.
_STREAMED = {"stream_results": True, "max_row_buffer": 10_000}
_CLOSE = 2_000  # this far behind, the rest is applied in the last transaction

_REBUILDING = 4713  # first key of the advisory locks
_PATIENCE = text("SET LOCAL lock_timeout = '200ms'")  # less than deadlock_timeout: readers win

_UNPARK = text("DELETE FROM projections.parked WHERE projection = :projection")
# Ids are numbered in the order of the log: what was taken later than its place gives others.
_RENUMBERED = """
SELECT FROM "{live}".distinct_ids l JOIN "{shadow}".distinct_ids s USING (app_number, distinct_id)
WHERE l.number <> s.number LIMIT 1"""
_OUTDATE_EVENTS = text("UPDATE projections.checkpoints SET version = 0 WHERE name = 'events'")
_REPARK = text("UPDATE projections.parked SET projection = :live WHERE projection = :shadow")

Progress = Callable[[int, int], None]  # done, of how many


def forget_parked(connection: Connection, name: str) -> None:
    connection.execute(_UNPARK, {"projection": name})


def adopt_parked(connection: Connection, *, live: str, shadow: str) -> None:
    """What the rebuild could not take replaces what the live one could not."""
    forget_parked(connection, live)
    connection.execute(_REPARK, {"live": live, "shadow": shadow})


def _is_renumbered(connection: Connection, live: str, shadow: str) -> bool:
    query = text(_RENUMBERED.format(live=live, shadow=shadow))
    return connection.execute(query).first() is not None


@contextmanager
def alone(log: psycopg.Connection[Any], name: str) -> Iterator[None]:
    """One rebuild of a read model at a time: a second one waits for the first."""
    key = (_REBUILDING, name)
    log.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", key)
    try:
        yield
    finally:
        with suppress(psycopg.OperationalError):  # it ends with its connection at the latest
            log.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", key)


class Digest(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """SHA-256 over the rows of a table in key order, as text; one per app where rows have one."""

    table: str
    app_number: int | None
    rows: int
    sha256: str


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """`equal` is None when nothing was compared. `differing`: tables and apps that are not."""

    name: str
    position: int
    equal: bool | None = None
    differing: tuple[str, ...] = ()


def shadow_schema(projection: Projection) -> str:
    return f"{projection.name}_rebuild"


class Rebuild:
    """One projection's. `log` is a connection of its own for reading."""

    def __init__(
        self, engine: Engine, log: psycopg.Connection[Any], projection: Projection
    ) -> None:
        self._engine = engine
        self._log = log
        self._projection = projection
        self._shadow = shadow_schema(projection)

    def swap(self, progress: Progress) -> Rebuilt:
        """Replaces the live tables by freshly built ones."""
        with alone(self._log, self._projection.name):
            return self._swap(progress)

    def verify(self, progress: Progress) -> Rebuilt:
        """Compares at one position, on one snapshot: the live one goes on meanwhile."""
        with alone(self._log, self._projection.name):
            return self._verify(progress)

    def forget(self) -> None:
        """What a killed rebuild has left: it was made of what the log held then."""
        self._drop_old()
        with self._engine.begin() as connection:
            self._drop(connection)

    def _swap(self, progress: Progress) -> Rebuilt:
        self._drop_old()
        self._build(progress)
        with self._engine.begin() as connection:
            live = self._hold_live(connection)
            position = self._finish(connection, live.position)
            self._exchange(connection)
            checkpoints.write(
                connection,
                Checkpoint(
                    name=self._projection.name, version=self._projection.version, position=position
                ),
            )
        self._drop_old()
        return Rebuilt(name=self._projection.name, position=position)

    def _verify(self, progress: Progress) -> Rebuilt:
        self._build(progress)
        with (
            self._engine.connect().execution_options(
                isolation_level="REPEATABLE READ"
            ) as connection,
            connection.begin(),
        ):
            live = checkpoints.read(connection, self._projection.name)
            assert live is not None
            self._finish(connection, live.position)
            differing = _differences(connection, self._projection, self._shadow)
            self._drop(connection)
        return Rebuilt(
            name=self._projection.name,
            position=live.position,
            equal=not differing,
            differing=differing,
        )

    def _build(self, progress: Progress) -> None:
        with self._engine.begin() as connection:
            started = self._started(connection)
        if not started:
            with self._engine.begin() as connection:
                self._drop(connection)
                create_tables(connection, self._projection, self._shadow)
                checkpoints.write(connection, self._checkpoint(0))
        while True:
            with self._engine.begin() as connection:
                position, target = self._positions(connection)
                progress(position, target)
                if position + _CLOSE >= target:
                    return
                self._advance(connection, position, target)

    def _started(self, connection: Connection) -> bool:
        checkpoint = checkpoints.read(connection, self._shadow)
        return checkpoint is not None and checkpoint.version == self._projection.version

    def _positions(self, connection: Connection) -> tuple[int, int]:
        shadow = checkpoints.lock(connection, [self._shadow])[self._shadow]
        live = checkpoints.read(connection, self._projection.name)
        return shadow.position, live.position if live else 0

    def _advance(self, connection: Connection, position: int, target: int) -> int:
        entries = read_page(self._log, position, min(_PAGE, target - position))
        page = [decode(entry) for entry in entries]
        shadow = _Shadow(self._projection)
        translated = connection.execution_options(
            schema_translate_map={self._projection.name: self._shadow}
        )
        advance(translated, shadow, self._checkpoint(position), page, _carefully)
        return page[-1].position

    def _finish(self, connection: Connection, target: int) -> int:
        position, _ = self._positions(connection)
        while position < target:
            position = self._advance(connection, position, target)
        return position

    def _hold_live(self, connection: Connection) -> Checkpoint:
        name = self._projection.name
        return checkpoints.lock(connection, [name])[name]

    def _exchange(self, connection: Connection) -> None:
        live, shadow = self._projection.name, self._shadow
        if live == people.name and _is_renumbered(connection, live, shadow):
            connection.execute(_OUTDATE_EVENTS)
        connection.execute(text(f'ALTER SCHEMA "{live}" RENAME TO "{live}_old"'))
        connection.execute(text(f'ALTER SCHEMA "{shadow}" RENAME TO "{live}"'))
        adopt_parked(connection, live=live, shadow=shadow)
        checkpoints.remove(connection, shadow)

    def _drop_old(self) -> None:
        while not self._could_drop_old():
            pass

    def _could_drop_old(self) -> bool:
        """False while somebody reads it."""
        try:
            with self._engine.begin() as connection:
                connection.execute(_PATIENCE)
                old = f'"{self._projection.name}_old"'
                connection.execute(text(f"DROP SCHEMA IF EXISTS {old} CASCADE"))
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                return False
            raise
        return True

    def _drop(self, connection: Connection) -> None:
        connection.execute(text(f'DROP SCHEMA IF EXISTS "{self._shadow}" CASCADE'))
        forget_parked(connection, self._shadow)
        checkpoints.remove(connection, self._shadow)

    def _checkpoint(self, position: int) -> Checkpoint:
        return Checkpoint(name=self._shadow, version=self._projection.version, position=position)


class _Shadow:
    """The projection under its shadow's name, so that parked events and checkpoints are its own."""

    def __init__(self, projection: Projection) -> None:
        self.name = shadow_schema(projection)
        self.version = projection.version
        self.metadata = projection.metadata
        self.apply = projection.apply


def _carefully(connection: Connection, projection: Projection, page: list[Recorded]) -> None:
    try:
        with connection.begin_nested():
            apply_at_once(connection, projection, page)
    except Exception:  # noqa: BLE001  whatever broke the page is found, or raised again, one by one
        apply_one_by_one(connection, projection, page)


def digests(connection: Connection, projection: Projection, schema: str) -> list[Digest]:
    found: list[Digest] = []
    for table in projection.metadata.sorted_tables:
        found.extend(_table_digests(connection, schema, table))
    return found


def _differences(connection: Connection, projection: Projection, shadow: str) -> tuple[str, ...]:
    live = {(d.table, d.app_number): d for d in digests(connection, projection, projection.name)}
    built = {(d.table, d.app_number): d for d in digests(connection, projection, shadow)}
    return tuple(
        f"{table}, app {app}" if app is not None else table
        for table, app in sorted(live.keys() | built.keys(), key=str)
        if live.get((table, app)) != built.get((table, app))
    )


def _table_digests(connection: Connection, schema: str, table: Any) -> Iterator[Digest]:
    columns = [column.name for column in table.columns]
    keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
    by_app = "app_number" in columns
    hashes: dict[int | None, tuple[int, Any]] = {}
    app = "app_number" if by_app else "NULL"
    query = f'SELECT {app}, t::text FROM "{schema}"."{table.name}" t ORDER BY {keys}'
    rows = connection.execute(text(query), execution_options=_STREAMED)
    for number, row in rows:
        count, sha = hashes.get(number) or (0, hashlib.sha256())
        sha.update(row.encode() + b"\n")
        hashes[number] = (count + 1, sha)
    for number, (count, sha) in hashes.items():
        yield Digest(table=table.name, app_number=number, rows=count, sha256=sha.hexdigest())
