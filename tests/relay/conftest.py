import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec
import psycopg
import pytest

from infrastructure import message_bus, relay
from infrastructure.embedded.message_server import MessageServer
from infrastructure.embedded.processes import wait_until_ready
from infrastructure.message_bus import Message
from infrastructure.settings import Settings

ROOT = Path(relay.__file__).parents[1]


class Nats:
    """A NATS server that a test may kill."""

    def __init__(self, server: MessageServer) -> None:
        self._server = server
        self.url = server.url

    def start(self) -> None:
        self._server.start()
        wait_until_ready(self._server, seconds=30)

    def kill(self) -> None:
        assert self._server.pid is not None
        os.kill(self._server.pid, signal.SIGKILL)
        self._server.stop()

    def lose_everything(self) -> None:
        self.kill()
        shutil.rmtree(self._server.data)


@pytest.fixture
def nats(message_server: MessageServer) -> Nats:
    return Nats(message_server)


@pytest.fixture
def settings(database_url: str, nats: Nats) -> Settings:
    return Settings(database_url=database_url, nats_url=nats.url)


class Stored(NamedTuple):
    """What the stream holds of one event."""

    position: int
    id: str
    subject: str
    sequence: int


class Log:
    """Appends to the log with its own SQL function, as random apps."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self.apps = [uuid.uuid4() for _ in range(3)]
        self._turn = 0

    def append(
        self,
        count: int,
        *,
        topic: str = "tracked.v1",
        body: bytes = b'{"event":"seen"}',
        apps: int = 3,
    ) -> int:
        owners = [self.apps[(self._turn + n) % apps] for n in range(count)]
        self._turn += count
        states = [b"\x01" + body] * count
        return self.append_states(states, owners, topic)

    def append_states(
        self, states: Sequence[bytes], owners: Sequence[uuid.UUID | None], topic: str = "tracked.v1"
    ) -> int:
        ids = [uuid.uuid4() for _ in states]
        self._connection.execute(
            "SELECT log.append_events(%s::uuid[], %s::uuid[], %s::text[], %s::bytea[])",
            (ids, list(owners), [topic] * len(ids), list(states)),
        )
        return self.head()

    def head(self) -> int:
        row = self._connection.execute(
            "SELECT coalesce(max(notification_id), 0) FROM log.events"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def rows(self) -> list[tuple[int, str]]:
        found = self._connection.execute(
            "SELECT notification_id, originator_id FROM log.events ORDER BY 1"
        )
        return [(position, f"evt_{stream.hex}") for position, stream in found]

    def execute(self, statement: str) -> None:
        self._connection.execute(statement)

    def one(self, statement: str) -> int | None:
        row = self._connection.execute(statement).fetchone()
        return None if row is None else int(row[0])

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def log(database_url: str) -> Iterator[Log]:
    log = Log(database_url)
    yield log
    log.close()


@pytest.fixture
def read_stream(nats: Nats) -> Callable[[], list[Message]]:
    """Everything that the stream holds, by sequence."""

    async def read() -> list[Message]:
        bus = await message_bus.connect(nats.url, "test")
        try:
            oldest, following = await bus.span()
            return [m for n in range(oldest, following) if (m := await bus.message(n))]
        finally:
            await bus.close()

    return lambda: asyncio.run(read())


@pytest.fixture
def stored(read_stream: Callable[[], list[Message]]) -> Callable[[], list[Stored]]:
    """Every event that the stream holds, in its order."""

    def events() -> list[Stored]:
        return [
            Stored(int(event["position"]), event["id"], message.subject, message.sequence)
            for message in read_stream()
            for event in msgspec.json.decode(message.payload)
        ]

    return events


@pytest.fixture
def expect_exact_copy(log: Log, stored: Callable[[], list[Stored]]) -> Callable[[], None]:
    """The stream holds every row of the log once, each subject in order, page behind page."""

    def check() -> None:
        events, rows = stored(), log.rows()
        assert len(events) == len(rows)
        assert Counter((e.position, e.id) for e in events) == Counter(rows)
        last: dict[str, int] = {}
        for event in events:
            assert event.position > last.get(event.subject, 0)
            last[event.subject] = event.position

    return check


async def position_of(nats_url: str) -> int:
    """Up to where the stream is complete; 0 while it can't be asked."""
    try:
        bus = await message_bus.connect(nats_url, "test")
    except message_bus.BusError:
        return 0
    try:
        _, last = await bus.end()
    except message_bus.BusError:
        return 0
    finally:
        await bus.close()
    place = None if last is None else relay.place_of(last)
    if place is None or place.part < place.parts:
        return 0
    return place.page.last


@pytest.fixture
def until_relayed(nats: Nats) -> Callable[[int], None]:
    """Waits until the stream reaches a position."""

    def wait(position: int) -> None:
        async def poll() -> None:
            while await position_of(nats.url) < position:  # noqa: ASYNC110  it can only be asked
                await asyncio.sleep(0.05)

        asyncio.run(asyncio.wait_for(poll(), 60))

    return wait


class Relays:
    """Relays as processes of their own, and in this one."""

    def __init__(self, settings: Settings, program: Path) -> None:
        self._environment = {
            **os.environ,
            "APPIZER_DATABASE_URL": settings.database_url,
            "APPIZER_NATS_URL": settings.nats_url,
            "PYTHONPATH": str(ROOT),
        }
        self._program = program
        self._settings = settings
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, str(self._program), *arguments], env=self._environment
        )
        self._running.append(process)
        return process

    def start_here(self) -> "Here":
        return Here(self._settings)

    def stop(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


class Here:
    """A relay in a thread of the test's process."""

    def __init__(self, settings: Settings) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._settings = settings
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._loop.run_until_complete(relay.serve(self._settings, self._stop))
        self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@pytest.fixture
def relays(settings: Settings) -> Iterator[Relays]:
    relays = Relays(settings, Path(__file__).with_name("relay_process.py"))
    yield relays
    relays.stop()
