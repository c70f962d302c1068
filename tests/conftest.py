"""The real embedded servers, for every room's tests; more of them in fixtures/."""

import contextlib
import itertools
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded.message_server import MessageServer
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import wait_until_ready
from infrastructure.migrate import migrate

pytest_plugins = [
    "tests.fixtures.engine",
    "tests.fixtures.history",
    "tests.fixtures.instance",
    "tests.fixtures.sql_store",
    "tests.fixtures.tenant",
    "tests.fixtures.wire",
]


def pytest_configure() -> None:
    """What a shell starts in the background has Ctrl-C switched off, and so would have all that
    tests start and then interrupt.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
