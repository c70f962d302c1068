"""The role that keeps live segments: round after round, behind the events read model."""

import signal
import threading
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter, Gauge, Histogram

from domain.errors import AppizerError
from infrastructure import garbage
from infrastructure.analytics_engine import AnalyticsEngine, EngineFailed
from infrastructure.database import AWAY, open_engine, open_log
from infrastructure.reactor.evaluator import Evaluator, NotYet, Told
from infrastructure.settings import Settings
from infrastructure.telemetry import serve_metrics

PACE_SECONDS = 0.5  # from one round to the next, at least
_REST = 0.5  # times as long as a round took
_LONGEST_PAUSE = 5.0
_WAIT_SECONDS = 0.1  # for a read model that is behind
_STAND_BY_SECONDS = 2.0
_LEAD = 4718  # the advisory lock of whoever evaluates; erasures have 4716 and 4717
_TRY_AGAIN: tuple[type[Exception], ...] = (AppizerError, EngineFailed, OSError, *AWAY)

_log = structlog.get_logger()
_rounds = Histogram("appizer_segments_round_seconds", "One evaluation of an app's segments")
_moved = Counter("appizer_segments_moves", "Persons that entered or left segments", ["what"])
_asked = Counter("appizer_segments_candidates", "Persons that segments were evaluated for")
_whole = Counter("appizer_segments_everybody", "Rounds with more candidates than are told apart")
_failed = Counter("appizer_segments_failures", "Rounds that failed and are tried again")
_at = Gauge("appizer_segments_evaluated_at_seconds", "When the last round was, since 1970")
_age = Gauge("appizer_segments_age_seconds", "Age of the last event that was evaluated, then")


def run(settings: Settings) -> None:
    """Until SIGTERM. Any number may run; one works, the others stand by."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _n, _f: stop.set())
    serve_metrics("reactor", settings)
    garbage.seldom()
    engine = open_engine(settings.database_url)
    analytics = AnalyticsEngine(settings.analytics_url)
    try:
        _Loop(settings, Evaluator(engine, analytics, lambda: datetime.now(UTC)), stop).run()
    finally:
        analytics.close()
        engine.dispose()


class _Loop:
    def __init__(self, settings: Settings, evaluator: Evaluator, stop: threading.Event) -> None:
        self._settings = settings
        self._evaluator = evaluator
        self._stop = stop

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                with open_log(self._settings.database_url) as log:
                    self._lead(log)
            except _TRY_AGAIN as error:
                _failed.inc()
                _log.warning("segments wait", error=type(error).__name__)
            self._stop.wait(_STAND_BY_SECONDS)

    def _lead(self, log: psycopg.Connection[Any]) -> None:
        row = log.execute("SELECT pg_try_advisory_lock(%s)", (_LEAD,)).fetchone()
        if row != (True,):
            return
        self._evaluator.prepare()
        while not self._stop.is_set():
            started = monotonic()
            for app in self._evaluator.apps():
                self._round(app)
            took = monotonic() - started
            log.execute("SELECT 1")  # raises when the lock is gone with its connection
            self._stop.wait(max(PACE_SECONDS - took, min(_REST * took, _LONGEST_PAUSE)))

    def _round(self, app: int) -> None:
        while not self._stop.is_set():
            try:
                _tell(self._evaluator.evaluate(app))
            except NotYet:
                self._stop.wait(_WAIT_SECONDS)
                continue
            return


def _tell(told: Told) -> None:
    _rounds.observe(told.seconds)
    _moved.labels("entered").inc(told.entered)
    _moved.labels("left").inc(told.left)
    if told.candidates is None:
        _whole.inc()
    else:
        _asked.inc(told.candidates)
    _at.set_to_current_time()
    if told.recorded_at is not None:
        _age.set((datetime.now(UTC) - told.recorded_at).total_seconds())
