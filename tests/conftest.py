"""The real embedded servers, for every room's tests."""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from infrastructure.embedded.message_server import MessageServer
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import wait_until_ready
from infrastructure.migrate import migrate

ROOT = Path(__file__).parents[1]


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


@contextlib.contextmanager
def _running(data: Path) -> Iterator[RunningInstance]:
    """Ctrl-C ends it, unless the test has."""
    options = ["up", "--data", str(data), "--port", str(free_port())]
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
