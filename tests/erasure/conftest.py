"""A log, everything that follows it, and an eraser: all real, in one process."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from sqlalchemy import Engine

from commands.erasures import Wanted, request
from domain.tracking import Aliased, Client, Grouped, Identified, Refused, Tracked, Unmerged
from infrastructure import checkpoints, erasures, relay
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.eraser import Eraser
from infrastructure.erasures import Erasure, ErasureRegister
from infrastructure.event_projector import EventProjector
from infrastructure.event_store.reader import read_log_id
from infrastructure.read_models import ReadModels
from infrastructure.rebuild import Rebuild
from infrastructure.rebuild_events import RebuildEvents
from infrastructure.settings import Settings
from infrastructure.trait_writer import trait_generation
from projections import person_traits
from projections.catalogue import PROJECTIONS
from projections.events import TABLE, create_table

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NAMES = (*(projection.name for projection in PROJECTIONS), "events")


class System:
    def __init__(self, settings: Settings, history: Any) -> None:
        self.settings = settings
        self.history = history
        self.engine: Engine = open_engine(settings.database_url)
        self.analytics = AnalyticsEngine(settings.analytics_url)
        self.models = ReadModels(self.engine)
        self.models.prepare()
        self._make_table()
        self.shop, self.game = history.found("Shop"), history.found("Game")
        self._clock = 0
        self.eraser = self.new_eraser()

    def _make_table(self) -> None:
        """Parts that were replaced go from the disk at once, not after minutes."""
        generation = f"{read_log_id(self.history.connection)} {uuid4()}"
        soon = "SETTINGS cleanup_delay_period = 1, cleanup_delay_period_random_add = 0,"
        soon += " max_cleanup_delay_period = 1, old_parts_lifetime = 1,"
        self.analytics.command(create_table(TABLE, generation=generation).replace("SETTINGS", soon))
        log_id = read_log_id(self.history.connection)
        traits = person_traits.create_table(
            table=person_traits.TABLE, generation=trait_generation(log_id)
        )
        self.analytics.command(traits.replace("SETTINGS", soon))

    def new_eraser(self) -> Eraser:
        return Eraser(self.settings, self.engine, self.analytics, Enrichment(), freeze_seconds=0.0)

    # --- writing ---------------------------------------------------------------------------

    def fields(self, **given: Any) -> dict[str, Any]:
        """Of a message of its own moment, with all that says something of the sender."""
        self._clock += 1
        at = NOON + timedelta(hours=7 * self._clock)
        raw = {
            name: msgspec.Raw(msgspec.json.encode(value))
            for name, value in given.items()
            if isinstance(value, dict)
        }
        ip = "203.0.113.5" if given.get("user_id") == "bob" else "198.51.100.77"
        made = {
            "message_id": f"{given.get('user_id')} did {uuid4()}",
            "timestamp": at,
            "received_at": at + timedelta(minutes=1),
            "original_timestamp": at,
            "context": msgspec.Raw(b'{"ip":"%b"}' % ip.encode()),
            "client": Client(ip=ip, user_agent=FIREFOX),
        }
        return made | given | raw

    def track(self, app: UUID, **given: Any) -> int:
        return self.history.append(app, Tracked(**self.fields(**{"event": "bought", **given})))

    def identify(self, app: UUID, **given: Any) -> int:
        return self.history.append(app, Identified(**self.fields(**given)))

    def alias(self, app: UUID, **given: Any) -> int:
        return self.history.append(app, Aliased(**self.fields(**given)))

    def group(self, app: UUID, **given: Any) -> int:
        return self.history.append(app, Grouped(**self.fields(**given)))

    def cut(self, app: UUID, user_id: str, *pairs: tuple[str, str], reason: str) -> int:
        made = self.fields()
        event = Unmerged(
            user_id=user_id, pairs=pairs, timestamp=made["timestamp"], received_at=NOON,
            done_by="key", reason=reason,
        )  # fmt: skip
        return self.history.append(app, event)

    def refuse(self, app: UUID, body: bytes) -> int:
        event = Refused(
            body=body, field="event", issue="is missing", received_at=NOON, dialect="native",
            client=Client(user_agent=FIREFOX),
        )  # fmt: skip
        return self.history.append(app, event)

    # --- following -------------------------------------------------------------------------

    @contextmanager
    def running(self, *, relay: bool = True) -> Iterator[None]:
        """Projector and relay follow the log meanwhile."""
        stop = threading.Event()
        with ExitStack() as stack:
            for work in (self._follow, self._publish) if relay else (self._follow,):
                thread = threading.Thread(target=work, args=(stop,))
                thread.start()
                stack.callback(thread.join)
            events = EventProjector(self.engine, self.analytics, Enrichment(), self.settings)
            events.start()
            stack.callback(events.close)
            stack.callback(stop.set)
            self.wait(*NAMES, *(["relay"] if relay else []))
            yield
        assert events.failure is None

    def _follow(self, stop: threading.Event) -> None:
        history = type(self.history)(self.settings.database_url)
        while not stop.is_set():
            if recorded := history.recorded(self.models.position(), 1_000):
                self.models.apply(recorded)
            stop.wait(0.05)
        history.close()

    def _publish(self, stop: threading.Event) -> None:
        async def follow() -> None:
            stopped = asyncio.Event()
            serving = asyncio.create_task(relay.serve(self.settings, stopped))
            await asyncio.to_thread(stop.wait)
            stopped.set()
            await serving

        asyncio.run(follow())

    def wait(self, *names: str) -> None:
        """Until these, or all, have the end of the log."""
        deadline = time.monotonic() + 60
        head = self.history.head()
        while not all(self._position(name) >= head for name in names or (*NAMES, "relay")):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _position(self, name: str) -> int:
        with self.engine.connect() as connection:
            found = checkpoints.read(connection, name)
        return found.position if found else 0

    # --- erasing ---------------------------------------------------------------------------

    def ask(self, app: UUID, distinct_id: str) -> Erasure:
        wanted = Wanted(app, distinct_id, None, uuid4(), uuid4())
        with self.engine.begin() as connection:
            made = request(ErasureRegister(connection), wanted)
            found = erasures.find(connection, app, made)
        assert found is not None
        return found

    def finish(self, erasure: Erasure, seconds: float = 60) -> Erasure:
        """Works until it is done."""
        deadline = time.monotonic() + seconds
        while (found := self.state(erasure)).finished_at is None:
            assert time.monotonic() < deadline, found
            assert found.trouble is None, found
            self.eraser.work()
            time.sleep(0.1)
        return found

    def erase(self, app: UUID, distinct_id: str) -> Erasure:
        return self.finish(self.ask(app, distinct_id))

    def state(self, erasure: Erasure) -> Erasure:
        with self.engine.connect() as connection:
            found = erasures.find(connection, erasure.app_id, erasure.erasure_id)
        assert found is not None
        return found

    # --- looking ---------------------------------------------------------------------------

    def differing(self) -> dict[str, tuple[str, ...]]:
        """What a rebuild gives that is not what is shown."""
        with open_log(self.settings.database_url) as log:
            return {name: self._verified(name, log) for name in NAMES if self._verified(name, log)}

    def _verified(self, name: str, log: psycopg.Connection[Any]) -> tuple[str, ...]:
        if name == "events":
            made: Any = RebuildEvents(self.engine, log, self.analytics, self.settings)
        else:
            projection = next(p for p in PROJECTIONS if p.name == name)
            made = Rebuild(self.engine, log, projection)
        return made.verify(lambda _done, _of: None).differing

    def totals(self) -> list[tuple]:
        """(app, event, day, how many, of how many) of all days."""
        answer = self.analytics.query(
            "SELECT app_number, event, day, count(), uniq(pid0), sum(JSONExtractFloat(properties,"
            " 'price')) FROM events GROUP BY ALL ORDER BY ALL"
        )
        return [tuple(row) for row in answer.rows]

    def close(self) -> None:
        self.analytics.close()
        self.engine.dispose()


@pytest.fixture
def settings(database_url: str, analytics_url: str, nats_url: str) -> Settings:
    return Settings(database_url=database_url, analytics_url=analytics_url, nats_url=nats_url)


@pytest.fixture
def system(settings: Settings, history: Any) -> Iterator[System]:
    system = System(settings, history)
    yield system
    system.close()


@pytest.fixture
def analytics_url(engine_process: Any) -> str:
    """An engine of the test's own, so that its files can be looked through."""
    engine_process.start()
    return engine_process.url


@pytest.fixture
def found_in(system: System, message_server: Any, tmp_path: Path) -> Callable[[str], list[str]]:
    """Where a text is kept: tables of Postgres (their raw bytes), columns of ClickHouse, files of
    ClickHouse and NATS.
    """

    def look(wanted: str) -> list[str]:
        word = wanted.encode()
        places = {**_postgres(system.settings.database_url), **_columns(system.analytics)}
        found = [name for name, data in places.items() if word in data]
        for directory in (message_server.data, tmp_path / "engine"):
            files = (file for file in directory.rglob("*") if file.is_file())
            found += [str(file) for file in files if word in _content(file)]
        return sorted(found)

    return look


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # servers remove files of their own
        return b""


def _postgres(database_url: str) -> dict[str, bytes]:
    """Every table there is, and what the planner remembers of them."""
    found = {}
    with psycopg.connect(database_url) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('information_schema', 'pg_catalog')"
        ).fetchall()
        for (name,) in names:
            copied = f"COPY (SELECT * FROM {name}) TO STDOUT (FORMAT binary)"
            found[name] = _copied(connection, copied)
        statistics = "COPY (SELECT * FROM pg_stats) TO STDOUT"
        found["pg_stats"] = _copied(connection, statistics)
    return found


def _copied(connection: psycopg.Connection[Any], statement: str) -> bytes:
    with connection.cursor().copy(statement) as copy:  # type: ignore[call-overload]  # made here
        return b"".join(copy)


def _columns(analytics: AnalyticsEngine) -> dict[str, bytes]:
    tables = analytics.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
    found = {}
    for (name,) in tables.rows:
        rows = analytics.query(f"SELECT * FROM {name}").rows
        found[f"clickhouse {name}"] = "\n".join(map(str, rows)).encode()
    return found
