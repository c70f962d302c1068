"""The Postgres read models: state and position in one transaction, what can't be taken parked."""

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, IntegrityError, NotSupportedError, ProgrammingError

from infrastructure import checkpoints, codec
from infrastructure.checkpoints import Checkpoint
from infrastructure.codec import Unreadable
from infrastructure.database import pipelined
from infrastructure.event_store.reader import Entry
from projections.catalogue import PROJECTIONS
from projections.projection import Projection, Recorded

_log = structlog.get_logger()
_parked = Counter(
    "appizer_parked_events", "Events that a projection could not take", ["projection"]
)
for _name in (*(projection.name for projection in PROJECTIONS), "events"):
    _parked.labels(_name)  # only a series that is there before can be seen to grow

# What an event can do wrong by itself. Anything else (a lost connection, a full disk) is the
# database's, and the page is tried again.
_EVENT_FAULTS = (
    DataError,
    IntegrityError,
    ProgrammingError,
    NotSupportedError,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.ProgrammingError,
    psycopg.NotSupportedError,
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    ArithmeticError,
)

_PREPARING = 4714  # an advisory lock; migrate has 4712, rebuild 4713

_PARK = text(
    "INSERT INTO projections.parked (projection, position, app_id, reason)"
    " VALUES (:projection, :position, :app_id, :reason)"
    " ON CONFLICT (projection, position) DO UPDATE SET reason = excluded.reason"
)


def decode(entry: Entry) -> Recorded:
    """Its event may be Unreadable, which no projection takes."""
    event = codec.read(entry.topic, entry.state)
    return Recorded(
        entry.position, entry.originator_id, entry.app_id, entry.topic, entry.recorded_at, event
    )


def create_tables(connection: Connection, projection: Projection, schema: str) -> None:
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{schema}"'))
    shadow = connection.execution_options(schema_translate_map={projection.name: schema})
    projection.metadata.create_all(shadow, checkfirst=True)


class ReadModels:
    """All Postgres projections, each with its own position, moved together where they can be."""

    def __init__(self, engine: Engine, projections: Sequence[Projection] = PROJECTIONS) -> None:
        self._engine = engine
        self._projections = projections

    def prepare(self) -> None:
        """Makes missing tables. A read model of another version keeps serving as it is until
        `projections rebuild` replaces it; see `outdated`.
        """
        with self._engine.begin() as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_PREPARING})"))
            for projection in self._projections:
                if checkpoints.read(connection, projection.name) is None:
                    create_tables(connection, projection, projection.name)
                    start = Checkpoint(name=projection.name, version=projection.version, position=0)
                    checkpoints.write(connection, start)

    def outdated(self) -> list[Projection]:
        """Those whose tables were made by another version of the code."""
        with self._engine.connect() as connection:
            stored = {c.name: c.version for c in checkpoints.read_all(connection)}
        return [p for p in self._projections if stored.get(p.name) != p.version]

    def position(self) -> int:
        """Up to where all of them have come, but for those that wait for a rebuild."""
        with self._engine.connect() as connection:
            stored = {c.name: c for c in checkpoints.read_all(connection)}
        current = [p for p in self._projections if stored[p.name].version == p.version]
        return min((stored[p.name].position for p in current), default=0)

    def apply(self, page: Sequence[Recorded]) -> None:
        """Takes each event exactly once, whoever else applies the same page at the same time."""
        try:
            self._apply(page, apply_at_once)
        except _EVENT_FAULTS:
            self._apply(page, apply_one_by_one)

    def _apply(self, page: Sequence[Recorded], how: Any) -> None:
        with self._engine.begin() as connection:
            held = checkpoints.lock(connection, [p.name for p in self._projections])
            for projection in self._projections:
                checkpoint = held[projection.name]
                if checkpoint.version == projection.version:
                    advance(connection, projection, checkpoint, page, how)


def advance(
    connection: Connection,
    projection: Projection,
    checkpoint: Checkpoint,
    page: Sequence[Recorded],
    how: Any,
) -> None:
    """Applies what follows the checkpoint and moves it, in the caller's transaction."""
    fresh = page
    if page and page[0].position <= checkpoint.position:
        fresh = [recorded for recorded in page if recorded.position > checkpoint.position]
    if not fresh:
        return
    if fresh[0].position != checkpoint.position + 1:
        raise OutOfStep(projection.name, checkpoint.position, fresh[0].position)
    how(connection, projection, fresh)
    moved = msgspec.structs.replace(
        checkpoint, position=fresh[-1].position, recorded_at=fresh[-1].recorded_at
    )
    checkpoints.write(connection, moved)


class OutOfStep(RuntimeError):
    """The page does not follow the projection's position: read the log from there."""

    def __init__(self, projection: str, position: int, first: int) -> None:
        super().__init__(f"{projection} stands at {position}, the page begins at {first}")


def apply_at_once(connection: Connection, projection: Projection, page: Sequence[Recorded]) -> None:
    """Making rows and writing them goes on side by side."""
    with pipelined(connection):
        apply_page(connection, projection, page)


def apply_page(connection: Connection, projection: Projection, page: Sequence[Recorded]) -> None:
    unreadable = [r for r in page if r.event.__class__ is Unreadable]
    readable = [r for r in page if r.event.__class__ is not Unreadable] if unreadable else page
    projection.apply(readable, connection)
    for recorded in unreadable:
        park(connection, projection, recorded, recorded.event.reason)  # type: ignore[attr-defined]  # all are Unreadable


def apply_one_by_one(
    connection: Connection, projection: Projection, page: Sequence[Recorded]
) -> None:
    """Finds the event that breaks the page, parks it, and takes the others."""
    for recorded in page:
        try:
            with connection.begin_nested():
                apply_page(connection, projection, [recorded])
        except _EVENT_FAULTS as error:
            park(connection, projection, recorded, f"{type(error).__name__}: {error}"[:2000])


def park(connection: Connection, projection: Projection, recorded: Recorded, reason: str) -> None:
    park_all(connection, projection.name, [recorded], reason)


def park_all(connection: Connection, name: str, events: Sequence[Recorded], reason: str) -> None:
    """Keeps what `name` could not take, with the reason; the rest goes on."""
    for recorded in events:
        _parked.labels(name).inc()
        _log.warning("event parked", projection=name, position=recorded.position)
        row = {
            "projection": name,
            "position": recorded.position,
            "app_id": recorded.app_id,
            "reason": reason,
        }
        connection.execute(_PARK, row)
