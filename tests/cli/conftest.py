"""An app in a database of the test's own, and the command line in front of it."""

import os
from collections.abc import Callable
from typing import NamedTuple

import psycopg
import pytest

from api.cli.main import run
from infrastructure.database import open_engine, open_log
from infrastructure.event_store.reader import read_page
from infrastructure.provisioning import provision
from infrastructure.read_models import ReadModels, decode
from infrastructure.settings import load


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def project(database_url: str) -> Callable[[], None]:
    """Brings the Postgres read models up to the end of the log."""

    def catch_up() -> None:
        engine = open_engine(database_url)
        models = ReadModels(engine)
        models.prepare()
        with open_log(database_url) as log:
            while page := read_page(log, models.position(), 2000):
                models.apply([decode(entry) for entry in page])
        engine.dispose()

    return catch_up


@pytest.fixture
def app_id(database_url: str, project: Callable[[], None]) -> str:
    made = provision(load({"APPIZER_DATABASE_URL": database_url}))
    project()
    return made.app_id


@pytest.fixture
def appizer(
    database_url: str,
    app_id: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Answer]:
    for name in list(os.environ):
        if name.startswith("APPIZER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("APPIZER_DATABASE_URL", database_url)

    def answer(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return answer


@pytest.fixture
def query(database_url: str) -> Callable[[str], list[tuple]]:
    def ask(sql: str) -> list[tuple]:
        with psycopg.connect(database_url) as connection:
            return connection.execute(sql).fetchall()

    return ask


@pytest.fixture
def stored(query) -> Callable[[], list[dict]]:
    """The messages of tracked events, in the order of the log."""

    def read() -> list[dict]:
        rows = query(
            "SELECT convert_from(substr(state, 2), 'UTF8')::json FROM log.events"
            " WHERE topic = 'tracked.v1' ORDER BY notification_id"
        )
        return [row[0] for row in rows]

    return read


@pytest.fixture
def change(database_url: str) -> Callable[[str], int]:
    """Executes a statement and says how many rows it met."""

    def execute(sql: str) -> int:
        with psycopg.connect(database_url, autocommit=True) as connection:
            return connection.execute(sql).rowcount

    return execute
