"""Keeps the ClickHouse read model of events: behind the Postgres ones, which give the numbers."""

import threading
import time
from collections import deque
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import structlog
from prometheus_client import Counter, Gauge, Histogram
from sqlalchemy import Connection, Engine, text

from domain.erasures import PersonErased
from domain.errors import AppizerError, Overloaded
from infrastructure import checkpoints
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.checkpoints import Checkpoint
from infrastructure.companions import Companions
from infrastructure.database import AWAY, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.event_rows import Rows
from infrastructure.event_store.reader import read_log_id, read_page
from infrastructure.event_writer import EventWriter
from infrastructure.read_models import decode
from infrastructure.settings import Settings
from projections import people
from projections.projection import Recorded

NAME = "events"
VERSION = 1
BATCH = 50_000  # rows in one insert, at most
READ = 10_000  # of them, when they have to be read from the log and decoded again
PACE_SECONDS = 0.2  # from one insert to the next: each makes a part, and parts cost merges
_REST = 2  # times as long as a small insert took
_HELD = 60_000  # offered events that wait; beyond it the log is read instead
_LARGE = 6_000  # rows
_LONGEST_PAUSE = 0.5
_PAUSE_AFTER_FAILURE = 1.0
_STAND_BY_SECONDS = 2.0
_LEAD = 4715  # the advisory lock of whoever writes; read_models has 4714
# The lock of a projector whose machine has vanished is free again after half a minute.
_NOTICE = """SELECT set_config('tcp_keepalives_idle', '15', false),
    set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false)"""
_TRY_AGAIN: tuple[type[Exception], ...] = (AppizerError, OSError, *AWAY)

_log = structlog.get_logger()
_inserted = Counter("appizer_analytics_events", "Rows written to the events read model")
_position = Gauge("appizer_analytics_position", "Last position in the events read model")
_seconds = Histogram("appizer_analytics_insert_seconds", "One insert into the events read model")


def _pause(took: float, rows: int) -> float:
    """After an insert of so many rows that, with all that belongs to it, took so long. A large one
    shows that the machine is full: waiting then gives more rows at once and fewer parts.
    """
    rest = max(PACE_SECONDS - took, 0.0)
    return max(rest, min(took, _LONGEST_PAUSE)) if rows > _LARGE else min(_REST * took, rest)


class EventProjector:
    """A thread. `failure` is what ended it, when it should not have ended."""

    def __init__(
        self,
        engine: Engine,
        analytics: AnalyticsEngine,
        enrichment: Enrichment,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._rows = Rows(engine, enrichment)
        self._writer = EventWriter(analytics, checkpoint_every=10)
        self._companions = Companions(analytics)
        self._checkpoint = Checkpoint(name=NAME, version=VERSION, position=0)
        self._rules = enrichment.fingerprint
        self._offered: deque[list[Recorded]] = deque()
        self._held = 0
        self._wake = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        with self._wake:
            self._wake.notify()
        self._thread.join(self._settings.shutdown_seconds)

    def offer(self, page: list[Recorded]) -> None:
        """A page that the Postgres read models have taken. It may be forgotten: the log has it."""
        with self._wake:
            if self._held > _HELD:
                self._offered.clear()
                self._held = 0
            self._offered.append(page)
            self._held += len(page)
            self._wake.notify()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._follow()
                except _TRY_AGAIN as error:
                    _log.warning("events not written, will try again", error=type(error).__name__)
                    self._stopping.wait(_PAUSE_AFTER_FAILURE)
        except BaseException as error:  # noqa: BLE001  the main thread ends the process with it
            self.failure = error

    def _follow(self) -> None:
        with open_log(self._settings.database_url) as log:
            if not self._leads(log):
                return
            position = self._recover(read_log_id(log))
            while not self._stopping.is_set():
                page = self._offered_after(position) or self._logged_after(log, position)
                if not page:
                    self._catch_up(position)
                    self._wait()
                    continue
                started = time.monotonic()
                self._write(page, position)
                position = page[-1].position
                self._stopping.wait(_pause(time.monotonic() - started, len(page)))

    def _leads(self, log: psycopg.Connection[Any]) -> bool:
        """Waits until no other projector writes events. The lock goes with the connection, which
        may break before its owner notices: that is what the checkpoint's owner is for.
        """
        log.execute(_NOTICE)
        told = False
        while not self._stopping.is_set():
            row = log.execute("SELECT pg_try_advisory_lock(%s)", (_LEAD,)).fetchone()
            if row == (True,):
                return True
            if not told:
                _log.info("another projector writes events; standing by")
                told = True
            self._stopping.wait(_STAND_BY_SECONDS)
        return False

    def _offered_after(self, position: int) -> list[Recorded]:
        """Everything that waits and follows `position` without a gap, up to a batch."""
        found: list[Recorded] = []
        with self._wake:
            while self._offered and len(found) < BATCH:
                page = self._offered[0]
                if page[-1].position > position:
                    if page[0].position > position + 1:
                        return found
                    behind = page[0].position <= position
                    found += [r for r in page if r.position > position] if behind else page
                    position = page[-1].position
                self._offered.popleft()
                self._held -= len(page)
        return found

    def _logged_after(self, log: Any, position: int) -> list[Recorded]:
        with self._engine.connect() as connection:
            numbered = checkpoints.read(connection, people.name)
        upto = numbered.position if numbered else 0
        if position >= upto:
            return []
        entries = read_page(log, position, min(READ, upto - position))
        return [decode(entry) for entry in entries]

    def _recover(self, log_id: UUID) -> int:
        """Where the table itself says that it stands; nobody else writes meanwhile. That may be
        behind what was told already: the table's checkpoints are fewer. What was told stays told.
        """
        with self._engine.begin() as connection:
            before = self._hold(connection)
            position = self._writer.recover(log_id)
            self._companions.recover(log_id)
            self._companions.write(connection, self._people_upto(connection, position))
            told = before if before and before.filling == self._writer.generation else None
            rules = before.rules if before and before.rules and position else self._rules
            if rules != self._rules:
                _log.warning("older events were enriched by other rules: rebuild to restate them")
            self._checkpoint = Checkpoint(
                name=NAME,
                version=before.version if before else VERSION,
                position=max(position, told.position if told else 0),
                recorded_at=told.recorded_at if told else None,
                filling=self._writer.generation,
                rules=rules,
                owner=uuid4().hex,
            )
            checkpoints.write(connection, self._checkpoint)
        _position.set(position)
        return position

    def _people_upto(self, connection: Connection, position: int) -> int:
        """What was emptied is filled at once: the next page may be long in coming."""
        numbered = checkpoints.read(connection, people.name)
        return min(position, numbered.position if numbered else 0)

    def _catch_up(self, position: int) -> None:
        """A read model that was built anew has come on, and the log has nothing new to show it."""
        if not self._companions.are_behind(position):
            return
        with self._engine.begin() as connection:
            held = self._hold(connection)
            if held is not None and self._is_mine(held):
                self._companions.write(connection, self._people_upto(connection, position))

    def _write(self, page: list[Recorded], after: int) -> None:
        """The lock on the checkpoint's row is the fence: whoever has moved the read model
        meanwhile (another projector, a rebuild) is noticed before anything is written.
        """
        last = page[-1]
        with self._engine.begin() as connection:
            connection.execute(text("SET LOCAL synchronous_commit = off"))
            held = self._hold(connection)
            if held is None or not self._is_mine(held):
                raise Overloaded("somebody else has moved the events read model")
            if any(recorded.event.__class__ is PersonErased for recorded in page):
                self._companions.forget()
            self._companions.write(connection, last.position)
            present = self._writer.present(after, last.position)
            missing = [r for r in page if r.position not in present] if present else page
            block = self._rows.of(missing, parked_as=NAME)
            with _seconds.time():
                self._writer.insert(block.data, last.position)
            if last.position > self._checkpoint.position:
                # A rebuild of people may have outdated it meanwhile (infrastructure/rebuild.py).
                self._checkpoint = msgspec.structs.replace(
                    self._checkpoint,
                    version=held.version,
                    position=last.position,
                    recorded_at=last.recorded_at,
                )
                checkpoints.write(connection, self._checkpoint)
        _inserted.inc(block.rows)
        _position.set(last.position)

    def _is_mine(self, held: Checkpoint) -> bool:
        mine = self._checkpoint
        return (held.owner, held.position, held.filling) == (
            mine.owner,
            mine.position,
            mine.filling,
        )

    def _hold(self, connection: Connection) -> Checkpoint | None:
        return checkpoints.lock(connection, [NAME]).get(NAME)

    def _wait(self) -> None:
        with self._wake:
            if not self._offered and not self._stopping.is_set():
                self._wake.wait(1.0)
