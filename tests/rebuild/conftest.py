"""A log with all kinds of events on it, and read models that were made from it bit by bit."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import msgspec
import psycopg
import pytest
from sqlalchemy import Engine

from domain.metrics import Definition, MetricCreated, MetricDeleted, MetricUpdated
from domain.releases import ReleaseCreated, ReleaseDeleted, ReleaseUpdated
from domain.tracking import Refused
from infrastructure import checkpoints
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.event_projector import EventProjector
from infrastructure.read_models import ReadModels
from infrastructure.rebuild import Rebuild, Rebuilt
from infrastructure.rebuild_events import RebuildEvents
from infrastructure.settings import Settings
from projections.catalogue import PROJECTIONS

ROOT = Path(__file__).parents[2]


class System:
    """The two halves of a projector over one log, run when they are told to."""

    def __init__(self, settings: Settings, history: Any) -> None:
        self.settings = settings
        self.history = history
        self.engine: Engine = open_engine(settings.database_url)
        self.analytics = AnalyticsEngine(settings.analytics_url)
        self.models = ReadModels(self.engine)
        self.models.prepare()
        self.shop, self.game = history.found("Shop"), history.found("Game")

    def write(self, people: int) -> None:
        """Events of every kind, of so many people."""
        with self.history.connection.transaction():
            self._write(people)

    def _write(self, people: int) -> None:
        for n in range(people):
            app = self.game if n % 3 == 0 else self.shop
            self.history.track(app, f"user {n}", 1 + n % 3, anonymous_id=f"browser {n % 50}")
            self.history.identify(app, f"user {n % 40}", n=n, plan="pro" if n % 2 else None)
            self.history.alias(app, f"user {n}", f"browser {n + 7}")
            self.history.append(app, self._refused(n))
            if n % 10 == 0:
                self._define(app, n)

    def _define(self, app: UUID, n: int) -> None:
        """A metric of two versions, or of one that was deleted; a release that came and went."""
        metric, release = uuid4(), uuid5(app, f"{n}")

        def of(stream: UUID, version: int) -> dict[str, Any]:
            at = self.history.recorded(0, 1)[0].event.occurred_at + timedelta(seconds=n)
            given = {"originator_id": stream, "originator_version": version}
            return {**given, "occurred_at": at, "app_id": app}

        stated = {"name": f"metric {n}", "definition": Definition(event=f"event {n}")}
        released = {"version": f"{n}.0", "released_at": datetime(2026, 3, 1, tzinfo=UTC)}
        again = (
            MetricUpdated(**of(metric, 2), **stated) if n % 20 else MetricDeleted(**of(metric, 2))
        )
        self.history.append(
            app,
            MetricCreated(**of(metric, 1), **stated),
            again,
            ReleaseCreated(**of(release, 1), **released),
            ReleaseUpdated(**of(release, 2), **released, release_notes="late"),
            *([ReleaseDeleted(**of(release, 3))] if n % 20 else []),
        )

    def _refused(self, n: int) -> Refused:
        at = self.history.recorded(0, 1)[0].event.occurred_at + timedelta(seconds=n)
        body = f"nonsense {n}".encode()
        return Refused(body=body, field="event", issue="no", received_at=at, dialect="native")

    def project(self, page: int = 100) -> None:
        while recorded := self.history.recorded(self.models.position(), page):
            self.models.apply(recorded)
        with self.projecting():
            self.wait(self.history.head())

    @contextmanager
    def projecting(self) -> Iterator[EventProjector]:
        events = EventProjector(self.engine, self.analytics, Enrichment(), self.settings)
        events.start()
        try:
            yield events
        finally:
            events.close()
        assert events.failure is None

    def wait(self, position: int, name: str = "events") -> None:
        deadline = time.monotonic() + 90
        while self.checkpoint(name).position < position:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def checkpoint(self, name: str) -> checkpoints.Checkpoint:
        with self.engine.connect() as connection:
            found = checkpoints.read(connection, name)
        return found or checkpoints.Checkpoint(name=name, version=0, position=0)

    def verify(self, name: str) -> Rebuilt:
        return self.rebuild(name, "verify")

    def swap(self, name: str) -> Rebuilt:
        return self.rebuild(name, "swap")

    def rebuild(self, name: str, how: str, progress: Any = lambda _done, _of: None) -> Rebuilt:
        with open_log(self.settings.database_url) as log:
            result: Rebuilt = getattr(self._builder(name, log), how)(progress)
        return result

    def _builder(self, name: str, log: psycopg.Connection[Any]) -> Any:
        if name == "events":
            return RebuildEvents(self.engine, log, self.analytics, self.settings)
        return Rebuild(self.engine, log, next(p for p in PROJECTIONS if p.name == name))

    def change(self, statement: str) -> None:
        """In Postgres; it must touch one row."""
        with open_log(self.settings.database_url) as connection:
            assert connection.execute(statement).rowcount == 1

    def close(self) -> None:
        self.analytics.close()
        self.engine.dispose()


@pytest.fixture
def settings(database_url: str, analytics_url: str) -> Settings:
    return Settings(database_url=database_url, analytics_url=analytics_url)


@pytest.fixture
def system(settings: Settings, history: Any) -> Iterator[System]:
    system = System(settings, history)
    yield system
    system.close()


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """For a role or a command of the CLI on the test's own servers."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
    return {
        **outer,
        "PYTHONPATH": str(ROOT),
        "APPIZER_DATABASE_URL": settings.database_url,
        "APPIZER_ANALYTICS_URL": settings.analytics_url,
    }


@pytest.fixture
def rebuild_command(environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    def start(*arguments: str) -> subprocess.Popen[str]:
        command = ["-P", "-m", "api.cli.main", "projections", "rebuild", *arguments, "--json"]
        return subprocess.Popen(
            [sys.executable, *command], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    return start


@pytest.fixture(scope="session")
def results() -> Callable[[subprocess.Popen[str]], list[dict[str, Any]]]:
    """What a rebuild said, when it has ended well."""

    def read(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return [msgspec.json.decode(line) for line in said.splitlines() if line.startswith("{")]

    return read
