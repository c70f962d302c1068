"""Carries out erasures, step by step, beside the projector.

Every step can be done twice, and the next one is only noted when it is done: whatever is killed
when, the work goes on where it was. One eraser works at a time; others stand by.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Engine

from domain.erasures import Step
from infrastructure import checkpoints, erasures, event_projector
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_log
from infrastructure.enrichment import Enrichment
from infrastructure.erasure_events import ErasureEvents
from infrastructure.erasure_feed import erase_messages
from infrastructure.erasure_log import Incomplete, all_ids, find_places, number_of, rewrite
from infrastructure.erasures import Erasure
from infrastructure.event_store.reader import Entry, read_at, read_head
from infrastructure.rebuild import Rebuild, alone
from infrastructure.rebuild_events import forget_shadow
from infrastructure.settings import Settings
from projections import failed_events, people
from projections.catalogue import PROJECTIONS

# An id is refused everywhere after barred.STALE_SECONDS; what was taken before is on the log when
# a commit has had all the time it gets. The API tells it of the step.
FREEZE_SECONDS = 15.0
_LEAD = 4716  # the advisory lock of whoever erases
_LOOK_SECONDS = 2.0
_REACH_SECONDS = 30.0
_PAGE = 500
_VACUUMED = ("log.events", "failed_events.refused", "projections.parked", "erasure.ids")

_log = structlog.get_logger()
_finished = Counter("appizer_erasures_finished", "Persons erased")
_waiting = Gauge("appizer_erasures_unfinished", "Erasures that are asked for and not finished")


class Eraser:
    """A thread."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        analytics: AnalyticsEngine,
        enrichment: Enrichment,
        *,
        freeze_seconds: float = FREEZE_SECONDS,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._analytics = analytics
        self._enrichment = enrichment
        self._freeze_seconds = freeze_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="eraser", daemon=True)
        self._steps: dict[Step, Callable[[Erasure], bool]] = {
            "freeze": self._freeze,
            "log": self._rewrite_log,
            "analytics": self._rewrite_rows,
            "feed": self._erase_messages,
            "clean": self._clean,
            "files": self._await_files,
        }

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join(self._settings.shutdown_seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._lead()
            except Exception as error:  # noqa: BLE001  whatever it is, it is tried again
                _log.warning("eraser waits", error=type(error).__name__)
            self._stopping.wait(_LOOK_SECONDS)

    def _lead(self) -> None:
        with open_log(self._settings.database_url) as log:
            while not self._stopping.is_set():
                row = log.execute("SELECT pg_try_advisory_lock(%s)", (_LEAD,)).fetchone()
                if row == (True,):
                    while not self._stopping.is_set():
                        self.work()
                        log.execute("SELECT 1")  # raises when the lock is gone with its connection
                        self._stopping.wait(_LOOK_SECONDS)
                self._stopping.wait(_LOOK_SECONDS)

    def work(self) -> None:
        """Takes each erasure as far as it goes now."""
        with self._engine.connect() as connection:
            found = erasures.unfinished(connection)
        _waiting.set(len(found))
        for erasure in found:
            try:
                self._carry_on(erasure)
            except Exception as error:  # noqa: BLE001  told, and tried again; the others go on
                _log.warning("erasure waits", step=erasure.step, error=type(error).__name__)
                with self._engine.begin() as connection:
                    erasures.tell_trouble(connection, erasure, type(error).__name__)

    def _carry_on(self, erasure: Erasure) -> None:
        current: Erasure | None = erasure
        while current is not None and current.finished_at is None and not self._stopping.is_set():
            if not self._steps[current.step](current):
                return
            with self._engine.connect() as connection:
                current = erasures.find(connection, erasure.app_id, erasure.erasure_id)

    def _to(self, erasure: Erasure, step: Step, **counts: int) -> bool:
        with self._engine.begin() as connection:
            erasures.advance(connection, erasure, step, counts)
        return True

    # --- freeze ----------------------------------------------------------------------------

    def _freeze(self, erasure: Erasure) -> bool:
        with self._engine.connect() as connection:
            if erasures.frozen_seconds(connection, erasure.erasure_id) < self._freeze_seconds:
                return False
        if not self._have_reached(self._head(), people.name, failed_events.name, "events"):
            return False
        with self._engine.begin() as connection:
            app_number = number_of(connection, erasure.app_id)
            ids = erasures.ids_of(connection, erasure.erasure_id)
            if not ids:  # an older erasure has taken them over
                erasures.finish(connection, erasure)
                return False
            found = all_ids(connection, self._analytics, app_number, ids)
            more = erasures.bar(connection, erasure, found - set(ids))
        return not more and self._to(erasure, "log")

    def _head(self) -> int:
        with open_log(self._settings.database_url) as log:
            return read_head(log)

    def _have_reached(self, position: int, *names: str) -> bool:
        """Waits for some time until those read models have the position."""
        deadline = time.monotonic() + _REACH_SECONDS
        while time.monotonic() < deadline and not self._stopping.is_set():
            with self._engine.connect() as connection:
                stored = {c.name: c.position for c in checkpoints.read_all(connection)}
            if all(stored.get(name, 0) >= position for name in names):
                return True
            self._stopping.wait(0.1)
        return False

    # --- log and analytics -----------------------------------------------------------------

    @contextmanager
    def _nobody_rebuilds(self) -> Iterator[psycopg.Connection[Any]]:
        """A half of a rebuild would hold what the log held before."""
        with open_log(self._settings.database_url) as log, ExitStack() as held:
            for projection in PROJECTIONS:
                held.enter_context(alone(log, projection.name))
                Rebuild(self._engine, log, projection).forget()
            held.enter_context(alone(log, event_projector.NAME))
            forget_shadow(self._engine, self._analytics)
            yield log

    def _rewrite_log(self, erasure: Erasure) -> bool:
        with self._nobody_rebuilds():
            with self._engine.connect() as connection:
                app_number = number_of(connection, erasure.app_id)
                ids = erasures.ids_of(connection, erasure.erasure_id)
                places = find_places(connection, self._analytics, app_number, ids)
            try:
                rewrite(self._engine, erasure, places, datetime.now(UTC))
            except Incomplete:
                return self._to(erasure, "freeze")
        return True

    def _rewrite_rows(self, erasure: Erasure) -> bool:
        """The projector has taken the receipt: what it held of the old log is written by now."""
        assert erasure.receipt is not None
        if not self._have_reached(erasure.receipt, event_projector.NAME):
            return False
        with self._nobody_rebuilds() as log:
            with self._engine.connect() as connection:
                app_number = number_of(connection, erasure.app_id)
                tracked = erasures.places_of(connection, erasure.erasure_id, tracked=True)
                places = erasures.places_of(connection, erasure.erasure_id)
                reached = checkpoints.read(connection, event_projector.NAME)
            assert reached is not None
            self._events(log).rewrite(app_number, tracked)
            self._events(log).rewrite_traits(app_number, places, reached.position)
        return self._to(erasure, "feed", rows=len(tracked))

    def _events(self, log: psycopg.Connection[Any]) -> ErasureEvents:
        return ErasureEvents(self._engine, log, self._analytics, self._enrichment)

    # --- feed, clean, files ----------------------------------------------------------------

    def _erase_messages(self, erasure: Erasure) -> bool:
        """The relay has published the receipt: the last message of the stream, by which it knows
        where it stands, is none of these.
        """
        assert erasure.receipt is not None
        if not self._have_reached(erasure.receipt, "relay"):
            return False
        with self._engine.connect() as connection:
            places = erasures.places_of(connection, erasure.erasure_id)
        with open_log(self._settings.database_url) as log:
            gone = asyncio.run(erase_messages(self._settings.nats_url, _entries(log, places)))
        return self._to(erasure, "clean", messages=erasure.counts.get("messages", 0) + gone)

    def _clean(self, erasure: Erasure) -> bool:
        """Or begins again, when one of the ids has come in spite of all."""
        with open_log(self._settings.database_url) as log:
            for table in (*_VACUUMED, *(f"people.{t.name}" for t in people.metadata.sorted_tables)):
                log.execute(f"VACUUM (ANALYZE) {table}")
        with self._engine.begin() as connection:
            app_number = number_of(connection, erasure.app_id)
            ids = erasures.ids_of(connection, erasure.erasure_id)
            late = people.find_numbers(connection, [(app_number, one) for one in ids])
        return self._to(erasure, "freeze" if late else "files")

    def _await_files(self, erasure: Erasure) -> bool:
        with open_log(self._settings.database_url) as log:
            replaced_at = erasure.done["analytics"].timestamp()
            if self._events(log).old_parts(replaced_at):
                return False
            with self._engine.begin() as connection:
                erasures.finish(connection, erasure)
            log.execute("VACUUM (ANALYZE) erasure.ids")
        _finished.inc()
        return True


def _entries(log: psycopg.Connection[Any], positions: Sequence[int]) -> Iterator[Entry]:
    for first in range(0, len(positions), _PAGE):
        yield from read_at(log, positions[first : first + _PAGE])
