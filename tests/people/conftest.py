"""People's read model over a log of the test's own, and the analytics engine beside it."""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import Connection, Engine

from domain.past import Past
from domain.tracking import EMPTY, Aliased, Grouped, Identified, Tracked, Unmerged
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine
from infrastructure.read_models import ReadModels
from projections import apps, events, people
from projections.events import Seen
from projections.people.past import Then
from projections.projection import Recorded
from tests.fixtures.history import NOON, History

USERS = [f"u{n}" for n in range(1, 6)]
BROWSERS = [f"a{n}" for n in range(1, 8)]
IDS = [*USERS, *BROWSERS, "null"]
GROUPS = [("company", "acme"), ("company", "Zoo"), ("team", "acme")]


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
def analytics(analytics_url: str) -> Iterator[AnalyticsEngine]:
    client = AnalyticsEngine(analytics_url)
    client.command(events.create_table(events.TABLE, generation="test"))
    yield client
    client.close()


@pytest.fixture
def live(
    engine: Engine, models: ReadModels, analytics: AnalyticsEngine
) -> Callable[[Sequence[Recorded]], None]:
    """Brings all read models to what is on these pages."""

    def apply(page: Sequence[Recorded]) -> None:
        models.apply(page)
        with engine.connect() as connection:
            numbers = people.find_numbers(connection, [(1, one) for one in _senders(page)])
            rows = events.rows(page, numbers, apps.numbers(connection), lambda _: Seen())
        if rows.rows:
            analytics.insert_rows(events.TABLE, events.COLUMNS, rows.data)

    return apply


def _senders(page: Sequence[Recorded]) -> set[str]:
    return {r.event.distinct_id for r in page if isinstance(r.event, Tracked)}  # type: ignore[attr-defined]


@pytest.fixture
def then(analytics: AnalyticsEngine) -> Callable[..., Then]:
    """`then(connection, known_at, as_of)`, of the app with number 1."""

    def ask(query: Any) -> Any:
        return analytics.query(query.sql, query.parameters).rows

    def made(connection: Connection, known_at: int, as_of: Any = None) -> Then:
        return Then(connection, ask, 1, Past(known_at, as_of))

    return made


@pytest.fixture
def random_history(history: History) -> Callable[[int, int], list[Recorded]]:
    """`random_history(seed, count)`: of one app, everything that can be said of its people."""

    def write(seed: int, count: int) -> list[Recorded]:
        app = history.found()
        told = Teller(random.Random(seed), history)
        for _ in range(count):
            told.something(app)
        return history.recorded()

    return write


class Teller:
    def __init__(self, chance: random.Random, history: History) -> None:
        self.pick = chance.choice
        self.chance = chance.random
        self.history = history
        self._number = 0

    def something(self, app: UUID) -> None:
        kinds = ["track"] * 4 + ["identify"] * 5 + ["alias"] * 2 + ["unmerge"] + ["group"] * 2
        self.history.append(app, getattr(self, f"_{self.pick(kinds)}")())

    def _at(self) -> Any:
        return NOON + timedelta(hours=int(self.chance() * 40), microseconds=self._number % 3)

    def _envelope(self, *, both: float = 0.3) -> dict[str, Any]:
        self._number += 1
        user = self.pick(USERS) if self.chance() < 0.6 else None
        browser = self.pick([*BROWSERS, "null"]) if user is None or self.chance() < both else None
        return {
            "message_id": f"random {self._number}",
            "received_at": NOON,
            "timestamp": self._at(),
            "user_id": user,
            "anonymous_id": browser,
        }

    def _track(self) -> Tracked:
        return Tracked(**self._envelope(), event=self.pick(["seen", "bought"]))

    def _identify(self) -> Identified:
        traits = {
            name: self.pick([1, 2.5, "pro", "ada@Example.com", None, [1], {"b": "pro"}])
            for name in ("plan", "email", "a", "n")
            if self.chance() < 0.4
        }
        operations = {
            "set_once": {"first": self.pick(["x", "y"])},
            "increment": {"n": self.pick([1, 0.5])},
            "append": {"list": self.pick([1, "two"])},
            "union": {"list": [self.pick([1, 3])]},
            "unset": [self.pick(["plan", "first"])],
        }
        said = {name: value for name, value in operations.items() if self.chance() < 0.2}
        return Identified(
            **self._envelope(both=0.4),
            traits=msgspec.Raw(msgspec.json.encode(traits)),
            operations=msgspec.Raw(msgspec.json.encode(said)) if said else EMPTY,
        )

    def _alias(self) -> Aliased:
        fields = self._envelope(both=0) | {"user_id": self.pick(USERS), "anonymous_id": None}
        forced = self.chance() < 0.3
        return Aliased(
            **fields,
            previous_id=self.pick(IDS),
            forced_by="key" if forced else None,
            reason="asked" if forced else None,
        )

    def _group(self) -> Grouped:
        kind, group = self.pick(GROUPS)
        traits = {"size": self.pick([1, 2, 3])} if self.chance() < 0.6 else {}
        raw = msgspec.Raw(msgspec.json.encode(traits))
        return Grouped(**self._envelope(), group_type=kind, group_id=group, traits=raw)

    def _unmerge(self) -> Unmerged:
        self._number += 1
        user = self.pick(USERS)
        pairs = tuple((user, self.pick(BROWSERS)) for _ in range(3))
        return Unmerged(
            user_id=user, pairs=pairs, timestamp=self._at(), received_at=NOON, done_by="key"
        )
