"""A client of the engine host, and events to ask about."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from domain.tracking import Tracked
from infrastructure.analytics_engine import AnalyticsEngine
from projections import events
from projections.events import Seen
from projections.projection import Recorded
from tests.analytics.happened import ask_trends, filled, happened

__all__ = ["ask_trends", "filled", "happened"]
APP = UUID(int=7)


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
