"""The projector role: follows the log and keeps every read model.

NATS brings pages early; the log is the truth. A page that does not follow the position exactly
is dropped and the log is read instead.
"""

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import Engine

from infrastructure import checkpoints, event_projector, garbage
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import AWAY, open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.eraser import Eraser
from infrastructure.event_projector import EventProjector
from infrastructure.event_store.reader import Entry, read_page
from infrastructure.feed import Feed, Gap
from infrastructure.read_models import OutOfStep, ReadModels, decode
from infrastructure.rebuild import Rebuild
from infrastructure.rebuild_events import RebuildEvents
from infrastructure.settings import Settings
from infrastructure.telemetry import serve_metrics

PAGE = 4_000
PACE_SECONDS = 0.1  # from one page to the next, at most: large pages cost less per event
_REST = 4  # times as long as a small page took
_PAUSE_AFTER_FAILURE = 0.5
_TRY_AGAIN: tuple[type[Exception], ...] = (OutOfStep, *AWAY)

_log = structlog.get_logger()
_applied = Counter("appizer_projector_events", "Events applied to the Postgres read models")
_position = Gauge("appizer_projector_position", "Last position applied to the Postgres read models")
_fed = Counter("appizer_projector_pages", "Pages applied, by where they came from", ["source"])


def run(settings: Settings) -> None:
    """Until SIGTERM. A loop that dies ends the process; whoever runs it starts it again."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _n, _f: stop.set())
    serve_metrics("projector", settings)
    engine = open_engine(settings.database_url)
    models = ReadModels(engine)
    models.prepare()
    _replace_outdated(settings, models)
    analytics = AnalyticsEngine(settings.analytics_url)
    enrichment = Enrichment(settings.country_database)
    _replace_outdated_events(settings, engine, analytics)
    events = EventProjector(engine, analytics, enrichment, settings)
    events.start()
    eraser = Eraser(settings, engine, analytics, enrichment)
    eraser.start()
    garbage.seldom()
    try:
        with Feed(settings.nats_url) as feed:
            Projector(settings, models, feed, events).follow(stop)
    finally:
        eraser.close()
        events.close()
        analytics.close()
        engine.dispose()


class Projector:
    def __init__(
        self, settings: Settings, models: ReadModels, feed: Feed, events: EventProjector
    ) -> None:
        self._settings = settings
        self._models = models
        self._feed = feed
        self._events = events
        self._reader: psycopg.Connection[Any] | None = None

    def follow(self, stop: threading.Event) -> None:
        for item in self._feed.pages():
            if stop.is_set() or self._events.failure is not None:
                break
            began = time.monotonic()
            try:
                self._take(item, stop)
            except _TRY_AGAIN as error:
                _log.warning("page not applied, will try again", error=type(error).__name__)
                self._forget_reader()
                time.sleep(_PAUSE_AFTER_FAILURE)
            stop.wait(_pause(time.monotonic() - began))
        if self._events.failure is not None:
            raise self._events.failure

    def _forget_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _take(self, item: list[Entry] | Gap, stop: threading.Event) -> None:
        position = self._models.position()
        fresh = [] if isinstance(item, Gap) else [e for e in item if e.position > position]
        if fresh and _follows(fresh, position):
            self._apply(fresh, "feed")
        elif fresh or isinstance(item, Gap):
            for page in self._from_log(position):
                self._apply(page, "log")
                if stop.is_set():
                    return

    def _apply(self, entries: list[Entry], source: str) -> None:
        page = [decode(entry) for entry in entries]
        self._models.apply(page)
        self._events.offer(page)
        self._feed.reached(page[-1].position)
        _applied.inc(len(page))
        _fed.labels(source).inc()
        _position.set(page[-1].position)

    def _from_log(self, position: int) -> Iterator[list[Entry]]:
        if self._reader is None or self._reader.closed:
            self._reader = open_log(self._settings.database_url)
        while page := read_page(self._reader, position, PAGE):
            yield page
            position = page[-1].position


def _pause(took: float) -> float:
    return min(_REST * took, max(PACE_SECONDS - took, 0.0))


def _follows(page: list[Entry], position: int) -> bool:
    first, last = page[0].position, page[-1].position
    return first == position + 1 and len(page) == last - first + 1


def _replace_outdated(settings: Settings, models: ReadModels) -> None:
    """Read models that another version of the code made are built anew beside the old ones,
    which answer until then.
    """
    for projection in models.outdated():
        _log.info("building a new version", projection=projection.name)
        with open_log(settings.database_url) as log:
            engine = open_engine(settings.database_url)
            Rebuild(engine, log, projection).swap(lambda _done, _of: None)
            engine.dispose()


def _replace_outdated_events(
    settings: Settings, engine: Engine, analytics: AnalyticsEngine
) -> None:
    with engine.connect() as connection:
        live = checkpoints.read(connection, event_projector.NAME)
    if live is None or live.version == event_projector.VERSION:
        return
    _log.info("building a new version", projection=live.name)
    with open_log(settings.database_url) as log:
        RebuildEvents(engine, log, analytics, settings).swap(lambda _done, _of: None)
