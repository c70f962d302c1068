"""Aggregates in the log, saved and replayed by the `eventsourcing` library."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import (
    EventStore,
    IntegrityError,
    JSONTranscoder,
    Mapper,
    StoredEvent,
)
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import conninfo

from domain.errors import Conflict
from infrastructure import codec


class _AppOf(msgspec.Struct):
    app_id: UUID | None = None


_app_of = msgspec.json.Decoder(_AppOf).decode
_VANISHED_SECONDS = 5.0
_SAVE = "SELECT log.save_events(%s::uuid[], %s::bigint[], %s::uuid[], %s::text[], %s::bytea[])"


class LogRecorder(PostgresApplicationRecorder):
    """The library's recorder on our table: the append function takes the advisory lock, numbers
    positions from the head and fills the envelope's columns. The library's own table lock would
    stall every writer during VACUUM and CREATE INDEX CONCURRENTLY.
    """

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        if not stored_events:
            return []
        columns = (
            [event.originator_id for event in stored_events],
            [event.originator_version for event in stored_events],
            [_app_of(codec.opened(event.state)).app_id for event in stored_events],
            [event.topic for event in stored_events],
            [event.state for event in stored_events],
        )
        with self.datastore.get_connection() as connection, connection.transaction():
            row = connection.execute(_SAVE, columns).fetchone()
        assert row is not None
        head = row["save_events"]
        return range(head + 1, head + 1 + len(stored_events))


class StructMapper(Mapper[UUID]):
    """Frozen msgspec structs with explicit topics, where the library's own takes `vars(event)`."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=domain_event.TOPIC,
            state=codec.encode(domain_event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        return codec.decode(stored_event.topic, stored_event.state)


class AggregateStreams:
    """commands.ports.Streams over the library's event store."""

    def __init__(self, database_url: str) -> None:
        given = conninfo.conninfo_to_dict(database_url)
        self._datastore = PostgresDatastore(
            dbname=str(given.get("dbname", "")),
            host=str(given.get("host", "")),
            port=str(given.get("port", 5432)),
            user=str(given.get("user", "")),
            password=str(given.get("password", "")),
            schema="log",
            pool_size=1,
            max_overflow=4,
            pre_ping=True,
            # A writer that vanishes before its commit holds the lock that every append waits for.
            idle_in_transaction_session_timeout=_VANISHED_SECONDS,
        )
        recorder = LogRecorder(self._datastore, events_table_name="events")
        self._events = EventStore(StructMapper(JSONTranscoder()), recorder)

    def load(self, stream_id: UUID) -> Sequence[msgspec.Struct]:
        return list(self._events.get(stream_id))  # type: ignore[arg-type]  # the library's protocol names two fields ours have

    def append(self, events: Sequence[msgspec.Struct]) -> int:
        try:
            recordings = self._events.put(events)  # type: ignore[arg-type]  # see load
        except IntegrityError as error:
            raise Conflict("somebody else changed it at the same time; read it again") from error
        return recordings[-1].notification.id

    def close(self) -> None:
        self._datastore.close()
