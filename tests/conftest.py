"""The real embedded servers, for every room's tests."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import msgspec
import psycopg
import pytest

from domain.apps import AppCreated, OrganisationCreated
from domain.tracking import Aliased, Identified, Tracked
from infrastructure import codec
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_log
from infrastructure.embedded.message_server import MessageServer
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import wait_until_ready
from infrastructure.embedded.role import Role
from infrastructure.event_store.reader import read_head, read_page
from infrastructure.migrate import migrate
from infrastructure.read_models import decode
from projections.projection import Recorded

ROOT = Path(__file__).parents[1]
NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def session_directory() -> Iterator[Path]:
    """Not pytest's own: as root those are closed to the account that Postgres runs as."""
    with _open_directory() as directory:
        yield directory


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """An empty directory for one test, which the account that Postgres runs as can enter."""
    with _open_directory() as directory:
        yield directory


@contextlib.contextmanager
def _open_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="appizer-test-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres_server(session_directory: Path) -> Iterator[EmbeddedPostgres]:
    """One server for all tests. Its database `appizer` is migrated and is the template of the
    others: don't connect to it.
    """
    server = EmbeddedPostgres(
        session_directory / "postgres",
        port=free_port(),
        password="correct-horse",
        log=session_directory / "postgres.log",
    )
    server.start()
    try:
        wait_until_ready(server, seconds=60)
        migrate(server.url())
        yield server
    finally:
        server.stop()


_numbers = itertools.count(1)


@pytest.fixture
def database_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE appizer")
        yield postgres_server.url(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def message_server(open_directory: Path) -> Iterator[MessageServer]:
    """A NATS server of the test's own, with an empty JetStream; it may be stopped and started."""
    server = MessageServer(
        open_directory / "nats",
        port=free_port(),
        password="battery-staple",
        log=open_directory / "nats.log",
    )
    server.start()
    try:
        wait_until_ready(server, seconds=30)
        yield server
    finally:
        server.stop()


@pytest.fixture
def nats_url(message_server: MessageServer) -> str:
    return message_server.url


_RUN_ENGINE = """
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
            [sys.executable, "-P", "-c", _RUN_ENGINE], env=self._environment, stderr=self._log
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
    """One engine host for all tests, with one place for heavy queries."""
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
def analytics_url(engine_url: str) -> Iterator[str]:
    """A database of the test's own in that engine."""
    name = f"test_{next(_numbers)}"
    engine = AnalyticsEngine(engine_url)
    engine.command(f"CREATE DATABASE {name}")
    yield engine_url.removesuffix("default") + name
    engine.command(f"DROP DATABASE {name} SYNC")
    engine.close()


class History:
    """A log that a test writes itself, with events as their commands would store them."""

    def __init__(self, database_url: str) -> None:
        self.connection = open_log(database_url)
        self._ids = itertools.count(1)

    def found(self, name: str = "Shop") -> UUID:
        """A new app; its id."""
        organisation, app = uuid4(), uuid4()
        made = OrganisationCreated(
            originator_id=organisation, originator_version=1, occurred_at=NOON, name=name
        )
        self._save(organisation, None, made)
        created = AppCreated(
            originator_id=app,
            originator_version=1,
            occurred_at=NOON,
            app_id=app,
            organisation_id=organisation,
            name=name,
        )
        self._save(app, app, created)
        return app

    def track(self, app: UUID, user: str, count: int = 1, **fields: Any) -> int:
        """`count` events of this user; the position of the last. `fields`: of Tracked."""
        given = {"event": "seen", "timestamp": NOON} | fields
        events = [Tracked(**self._envelope(), user_id=user, **given) for _ in range(count)]
        return self.append(app, *events)

    def identify(self, app: UUID, user: str, at: datetime = NOON, **traits: Any) -> int:
        raw = msgspec.Raw(msgspec.json.encode(traits))
        event = Identified(**self._envelope(), user_id=user, timestamp=at, traits=raw)
        return self.append(app, event)

    def alias(self, app: UUID, user: str, previous: str) -> int:
        event = Aliased(**self._envelope(), user_id=user, previous_id=previous, timestamp=NOON)
        return self.append(app, event)

    def append(self, app: UUID, *events: Any) -> int:
        rows = [(uuid4(), event.TOPIC, codec.encode(event)) for event in events]
        return self._append([row[0] for row in rows], app, rows)

    def store(self, topic: str, state: bytes, app: UUID | None = None) -> int:
        """A row of any content; its position."""
        stream = uuid4()
        return self._append([stream], app, [(stream, topic, state)])

    def recorded(self, after: int = 0, limit: int = 1_000_000) -> list[Recorded]:
        return [decode(entry) for entry in read_page(self.connection, after, limit)]

    def head(self) -> int:
        return read_head(self.connection)

    def close(self) -> None:
        self.connection.close()

    def _envelope(self) -> dict[str, Any]:
        return {"message_id": f"message {next(self._ids)}", "received_at": NOON}

    def _save(self, stream: UUID, app: UUID | None, event: Any) -> None:
        given = ([stream], [1], [app], [event.TOPIC], [codec.encode(event)])
        self.connection.execute(
            "SELECT log.save_events(%s::uuid[], %s::bigint[], %s::uuid[], %s::text[], %s::bytea[])",
            given,
        )

    def _append(
        self, streams: list[UUID], app: UUID | None, rows: list[tuple[UUID, str, bytes]]
    ) -> int:
        given = (streams, [app] * len(rows), [row[1] for row in rows], [row[2] for row in rows])
        found = self.connection.execute(
            "SELECT head FROM log.append_events(%s::uuid[], %s::uuid[], %s::text[], %s::bytea[])",
            given,
        ).fetchone()
        assert found is not None
        return int(found[0]) + len(rows)


@pytest.fixture
def history(database_url: str) -> Iterator[History]:
    history = History(database_url)
    yield history
    history.close()


class RunningInstance(NamedTuple):
    """A whole `appizer up`. `said` is what it printed, `keys` what quickstart.json says."""

    url: str
    said: list[str]
    keys: dict[str, str]
    data: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="session")
def instance(session_directory: Path) -> Iterator[RunningInstance]:
    """Everything, started once; tests that break it start their own with `start_instance`."""
    with _running(session_directory / "instance") as running:
        yield running


@pytest.fixture
def start_instance(
    open_directory: Path,
) -> Callable[[], contextlib.AbstractContextManager[RunningInstance]]:
    """Starts an instance of the test's own: in the same directory each time it is called."""
    return lambda: _running(open_directory / "instance")


@pytest.fixture(scope="session")
def run_instance() -> Callable[..., contextlib.AbstractContextManager[RunningInstance]]:
    """`run_instance(directory, port=None)`: for who needs more than `start_instance`."""
    return _running


@contextlib.contextmanager
def _running(data: Path, port: int | None = None) -> Iterator[RunningInstance]:
    """Ctrl-C ends it, unless the test has."""
    options = ["up", "--data", str(data), "--port", str(port or free_port())]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "api.cli.main", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        said = _said_until_ready(process.stdout)
        keys = json.loads((data / "quickstart.json").read_text())
        yield RunningInstance(said[-1].split()[1], said, keys, data, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait()
        process.stdout.close()


def _said_until_ready(output: Iterable[str]) -> list[str]:
    said = []
    for line in output:
        said.append(line)
        if line.startswith("ready "):
            return said
    pytest.fail("appizer up ended before it was ready:\n" + "".join(said))


class Tenant:
    """An app of its own on a running instance, with a key of each kind."""

    def __init__(self, http: httpx.Client, org_key: str, **fields: object) -> None:
        self.http = http
        self.org_key = org_key
        made = http.post("/v1/apps", headers=self.bearer(org_key), json={"name": "Test", **fields})
        assert made.status_code == 201, made.text
        self.app_id = made.json()["app"]["id"]
        self.write_key = self.issue("write")["key"]
        self.secret_key = self.issue("secret")["key"]

    @staticmethod
    def bearer(key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def issue(self, kind: str, label: str = "") -> dict[str, str]:
        url = f"/v1/apps/{self.app_id}/keys"
        body = {"kind": kind, "label": label}
        made = self.http.post(url, headers=self.bearer(self.org_key), json=body)
        assert made.status_code == 201, made.text
        return made.json()

    def send(self, body: object, path: str = "/v1/events", **headers: str) -> httpx.Response:
        """Bytes as they are, everything else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {**self.bearer(self.write_key), **headers}
        return self.http.post(path, content=raw, headers=given)

    def sent(self, body: object, path: str = "/v1/events") -> int:
        """Sends what must be taken; returns the position."""
        answer = self.send(body, path)
        assert answer.status_code == 202, answer.text
        return answer.json()["position"]

    def get(self, path: str, **parameters: object) -> httpx.Response:
        return self.http.get(path, headers=self.bearer(self.secret_key), params=parameters)

    def ask(self, path: str, **parameters: object) -> dict:
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def head(self) -> int:
        """The position of the log's end."""
        standings = self.http.get("/readyz").json()["projections"]
        return max(standing["head"] for standing in standings)

    def events(self, **parameters: object) -> list[dict]:
        """All that was sent until now, newest first, if it is no more than a page."""
        asked = {"limit": 1000, "min_position": self.head(), **parameters}
        return self.ask("/v1/events", **asked)["events"]

    def trends(self, **question: object) -> dict:
        headers = self.bearer(self.secret_key)
        answer = self.http.post("/v1/analytics/trends", headers=headers, json=question)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="session")
def http(instance: RunningInstance) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=instance.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def new_tenant(instance: RunningInstance, http: httpx.Client) -> Callable[..., Tenant]:
    """Takes the fields of POST /v1/apps."""
    return lambda **fields: Tenant(http, instance.keys["org_key"], **fields)


@pytest.fixture
def tenant(new_tenant: Callable[..., Tenant]) -> Tenant:
    """Of the test's own."""
    return new_tenant()


@pytest.fixture(scope="session")
def tenant_of_all(new_tenant: Callable[..., Tenant]) -> Tenant:
    """For tests that look at answers only, not at what is stored."""
    return new_tenant()


@pytest.fixture
def settings_in_force(instance: RunningInstance) -> dict[str, str]:
    """APPIZER_* variables of the instance."""
    return json.loads((instance.data / "instance.json").read_text())


@pytest.fixture
def start_api(
    settings_in_force: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., httpx.Client]]:
    """Runs the role `api` once more beside the instance's own, with other settings; returns a
    client of it.
    """
    with contextlib.ExitStack() as stack:

        def start(**settings: str) -> httpx.Client:
            port = free_port()
            outer = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
            given = {f"APPIZER_{name.upper()}": value for name, value in settings.items()}
            url = f"http://127.0.0.1:{port}"
            role = Role(
                "api",
                log=tmp_path / f"api-{port}.log",
                environment={**outer, **settings_in_force, "APPIZER_PORT": str(port), **given},
                health=f"{url}/healthz",
            )
            role.start()
            stack.callback(role.stop)
            wait_until_ready(role, seconds=60)
            return stack.enter_context(httpx.Client(base_url=url, timeout=30))

        yield start


class Wire:
    """A TCP connection between two parts that can be cut and mended: `port` leads to `target`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.mended = True
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> None:
        self.mended = False
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.mended = True

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.mended:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._ends += [near, far]
            for pair in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._carry, args=pair))
                self._threads[-1].start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wire() -> Iterator[Callable[[str, int], Wire]]:
    """`wire(host, port)`."""
    with contextlib.ExitStack() as stack:

        def laid(host: str, port: int) -> Wire:
            made = Wire((host, port))
            stack.callback(made.close)
            return made

        yield laid
