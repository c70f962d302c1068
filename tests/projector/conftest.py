"""Read models over a log of the test's own."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text

from infrastructure.checkpoints import read_all
from infrastructure.database import open_engine
from infrastructure.read_models import ReadModels
from infrastructure.rebuild import Digest, digests
from projections.catalogue import PROJECTIONS
from projections.projection import Projection

Digests = dict[str, list[Digest]]


@pytest.fixture(scope="session")
def noon() -> datetime:
    return datetime(2026, 3, 14, 12, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def models(engine: Engine) -> ReadModels:
    models = ReadModels(engine)
    models.prepare()
    return models


@pytest.fixture
def contents(engine: Engine) -> Callable[..., Digests]:
    """Table digests of every Postgres read model, by its name."""

    def read(projections: Sequence[Projection] = PROJECTIONS) -> Digests:
        with engine.connect() as connection:
            return {p.name: digests(connection, p, p.name) for p in projections}

    return read


@pytest.fixture
def positions(engine: Engine) -> Callable[[], dict[str, int]]:
    def read() -> dict[str, int]:
        with engine.connect() as connection:
            return {c.name: c.position for c in read_all(connection)}

    return read


@pytest.fixture
def empty(engine: Engine, models: ReadModels) -> Callable[[], None]:
    """Takes the read models back to the beginning of the log."""
    names = [f'{p.name}."{t.name}"' for p in PROJECTIONS for t in p.metadata.sorted_tables]

    def forget() -> None:
        with engine.begin() as connection:
            connection.execute(text(f"TRUNCATE {', '.join(names)}, projections.parked"))
            connection.execute(text("UPDATE projections.checkpoints SET position = 0"))

    return forget


@pytest.fixture
def parked(engine: Engine) -> Callable[[], dict[tuple[str, int], str]]:
    """(projection, position) -> reason."""

    def read() -> dict[tuple[str, int], str]:
        with engine.connect() as connection:
            rows = connection.execute(
                text("SELECT projection, position, reason FROM projections.parked")
            )
            return {(row.projection, row.position): row.reason for row in rows}

    return read
