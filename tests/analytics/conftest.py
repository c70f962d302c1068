"""A real engine host, started as a process; and events to ask about."""

import itertools
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from domain.tracking import Tracked
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.embedded.ports import free_port
from projections import events
from projections.events import Seen
from projections.projection import Recorded

ROOT = Path(__file__).parents[2]
APP = UUID(int=7)
_RUN = """
from infrastructure.engine_host import run
from infrastructure.settings import load
run(load())
"""


class EngineProcess:
    """One directory and one port; may be killed and started again."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.url = f"http://appizer:se:cret@127.0.0.1:{free_port()}/default"
        self._log = (directory / "engine.log").open("ab")
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")},
            "PYTHONPATH": str(ROOT),
            "APPIZER_DATABASE_URL": "postgresql://unused",
            "APPIZER_ANALYTICS_URL": self.url.replace("se:cret", "se%3Acret"),
            "APPIZER_DATA": str(directory),
            **{f"APPIZER_{name.upper()}": value for name, value in settings.items()},
        }
        self.url = self._environment["APPIZER_ANALYTICS_URL"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _RUN], env=self._environment, stderr=self._log
        )
        while True:
            assert self.process.poll() is None, "the engine host ended; see its engine.log"
            try:
                base = self.url.rpartition("@")[2].partition("/")[0]
                with urllib.request.urlopen(f"http://{base}/ping") as answer:
                    assert answer.read() == b"Ok.\n"
                    return
            except urllib.error.URLError:
                time.sleep(0.05)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self._log.close()


@pytest.fixture(scope="session")
def engine_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One engine for all tests of analytics, with one place for heavy queries."""
    host = EngineProcess(tmp_path_factory.mktemp("engine"), heavy_queries="1", query_seconds="20")
    try:
        host.start()
        yield host.url
    finally:
        host.close()


@pytest.fixture
def engine_process(tmp_path: Path) -> Iterator[EngineProcess]:
    """An engine of the test's own, not started."""
    host = EngineProcess(tmp_path)
    yield host
    host.close()


@pytest.fixture
def engine(engine_url: str) -> Iterator[AnalyticsEngine]:
    client = AnalyticsEngine(engine_url)
    yield client
    client.close()


_numbers = itertools.count(1)


@pytest.fixture
def table(engine: AnalyticsEngine) -> Iterator[str]:
    """A name of a table of the test's own; dropped afterwards."""
    name = f"events_{next(_numbers)}"
    yield name
    engine.command(f"DROP TABLE IF EXISTS {name} SYNC")


def _tracked(position: int, at: datetime, *, event: str, user: str, **properties) -> Recorded:
    return Recorded(
        position=position,
        stream_id=UUID(int=position * 0x1_0000_0001_0000_0001),
        app_id=APP,
        topic=Tracked.TOPIC,
        recorded_at=at,
        event=Tracked(
            message_id=f"message {position}",
            timestamp=at,
            received_at=at,
            user_id=user,
            event=event,
            properties=msgspec.Raw(msgspec.json.encode(properties)),
        ),
    )


@pytest.fixture(scope="session")
def tracked() -> Callable[..., Recorded]:
    """`tracked(position, at, event=, user=, **properties)`, of the app with number 1."""
    return _tracked


@pytest.fixture(scope="session")
def block() -> Callable[[Sequence[Recorded]], events.Block]:
    """Rows of the events table; user `u5` has the number 5, and its client is from country C5."""

    def _block(page: Sequence[Recorded]) -> events.Block:
        numbers = {(1, r.event.distinct_id): int(r.event.distinct_id[1:]) for r in page}
        return events.rows(page, numbers, {APP: 1}, _seen)

    return _block


def _seen(event: Tracked) -> Seen:
    number = int(event.distinct_id[1:])
    return Seen(country=f"C{number % 3}" if number % 4 else "", browser="Firefox")


@pytest.fixture(scope="session")
def noon() -> datetime:
    return datetime(2026, 3, 14, 12, 0, 0, 123456, tzinfo=UTC)
