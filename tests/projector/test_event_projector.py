"""The ClickHouse read model: every tracked event once, whatever happens to whom."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from sqlalchemy import text

from domain.tracking import Client
from infrastructure import checkpoints
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.event_projector import EventProjector
from infrastructure.rebuild_events import RebuildEvents
from infrastructure.settings import Settings

STEPS = Path(__file__).with_name("steps_process.py")


def ignore(_done: int, _of: int) -> None:
    """Progress."""


class Following:
    """Event projectors over one log; `append` writes to it and numbers the people."""

    def __init__(self, settings, models, history, stack) -> None:
        self.settings = settings
        self._models, self._history, self._stack = models, history, stack
        self._position = 0
        self.shop = history.found()

    def project(self, **other: str) -> EventProjector:
        """`other`: settings that are not the test's own."""
        settings = msgspec.structs.replace(self.settings, **other)
        engine = open_engine(settings.database_url)
        analytics = AnalyticsEngine(settings.analytics_url, timeout_seconds=5)
        projector = EventProjector(engine, analytics, Enrichment(), settings)
        projector.start()
        for end in (engine.dispose, analytics.close, projector.close):
            self._stack.callback(end)
        return projector

    def append(self, *offered_to: EventProjector, count: int = 5) -> None:
        user = f"user {self._position % 7}"
        self._history.track(self.shop, user, count)
        page = self._history.recorded(self._position)
        self._models.apply(page)
        self._position = page[-1].position
        for projector in offered_to:
            projector.offer(page)

    def tracked(self) -> list[int]:
        return [r.position for r in self._history.recorded() if r.topic == "tracked.v1"]

    def wait(self, positions: Callable[[], dict[str, int]]) -> None:
        deadline = time.monotonic() + 90
        while positions().get("events", 0) < self._history.head():
            assert time.monotonic() < deadline, positions()
            time.sleep(0.02)


@pytest.fixture
def settings(database_url, analytics_url) -> Settings:
    return Settings(database_url=database_url, analytics_url=analytics_url)


@pytest.fixture
def following(settings, models, history) -> Iterator[Following]:
    with ExitStack() as stack:
        yield Following(settings, models, history, stack)


@pytest.fixture
def stored(settings) -> Iterator[Callable[[], list[int]]]:
    """The positions in the table, each as often as it is there."""
    analytics = AnalyticsEngine(settings.analytics_url)

    def read() -> list[int]:
        answer = analytics.query("SELECT position FROM events ORDER BY position")
        return [row[0] for row in answer.rows]

    yield read
    analytics.close()


def test_each_tracked_event_becomes_one_row(following, stored, positions):
    projector = following.project()
    for _ in range(5):
        following.append(projector)
    following.wait(positions)
    assert stored() == following.tracked()


def test_pages_that_were_not_offered_are_read_from_the_log(following, stored, positions):
    projector = following.project()
    following.append(projector)
    following.append()
    following.append()
    following.append(projector)
    following.wait(positions)
    assert stored() == following.tracked()


def test_a_projector_killed_at_every_step_in_turn_writes_each_event_once(
    following, history, settings, stored, engine
):
    for _ in range(12):
        following.append(count=2)
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "APPIZER_DATABASE_URL": settings.database_url,
        "APPIZER_ANALYTICS_URL": settings.analytics_url,
    }
    ended = subprocess.run(
        [sys.executable, "-P", str(STEPS), str(history.head())],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[-1]) >= 20
    assert stored() == following.tracked()


def test_two_projectors_at_once_write_each_event_once(following, stored, positions):
    pair = following.project(), following.project()
    for _ in range(40):
        following.append(*pair)
        time.sleep(0.02)
    following.wait(positions)
    assert [p.failure for p in pair] == [None, None]
    assert stored() == following.tracked()


def test_two_projectors_and_a_table_that_lost_rows_have_each_event_once(
    following, stored, positions, settings, engine
):
    """As after an engine that was killed before its disk had the last parts: what was told stays
    told, so while they catch up the position says nothing.
    """
    one = following.project()
    following.append(one, count=400)
    following.wait(positions)
    one.close()
    lost = following.tracked()[100]
    analytics = AnalyticsEngine(settings.analytics_url)
    for table in ("events", "event_checkpoints"):
        analytics.command(
            f"ALTER TABLE {table} DELETE WHERE position >= {lost}", settings={"mutations_sync": 2}
        )
    assert len(stored()) == 100
    pair = following.project(), following.project()
    for _ in range(10):
        following.append(*pair)
        time.sleep(0.02)
    following.wait(positions)
    deadline = time.monotonic() + 60
    while stored() != following.tracked() and time.monotonic() < deadline:
        time.sleep(0.1)
    for projector in pair:
        projector.close()
    analytics.close()
    assert stored() == following.tracked()


def test_the_second_projector_goes_on_when_the_first_stops(following, stored, positions):
    first = following.project()
    following.append(first)
    following.wait(positions)
    second = following.project()
    first.close()
    following.append(second)
    following.wait(positions)
    assert second.failure is None
    assert stored() == following.tracked()


def test_who_has_been_displaced_notices_before_it_writes(following, stored, positions, engine):
    """Its lock is gone with a connection that broke; somebody else has taken over."""
    projector = following.project()
    following.append(projector)
    following.wait(positions)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE projections.checkpoints SET owner = 'another' WHERE name = 'events'")
        )
    following.append(projector)
    following.wait(positions)
    assert stored() == following.tracked()
    with engine.begin() as connection:
        owner = text("SELECT owner FROM projections.checkpoints WHERE name = 'events'")
        assert connection.execute(owner).scalar() not in {"another", ""}


def test_an_insert_of_unknown_outcome_is_not_repeated(following, stored, positions, settings, wire):
    """The connection is cut again and again while inserts are on their way: some are in the
    table and their answer is lost, some never arrive.
    """
    at = urlsplit(settings.analytics_url)
    thin = wire(at.hostname, at.port)
    by_wire = settings.analytics_url.replace(f":{at.port}/", f":{thin.port}/")
    projector = following.project(analytics_url=by_wire)
    for _ in range(8):
        for _ in range(4):
            following.append(projector)
        time.sleep(0.05)
        thin.cut()
        following.append(projector)
        thin.mend()
        time.sleep(0.3)
    following.wait(positions)
    assert projector.failure is None
    assert stored() == following.tracked()


def test_postgres_going_away_ends_nothing(following, stored, positions, settings, wire):
    at = urlsplit(settings.database_url)
    thin = wire(at.hostname, at.port)
    by_wire = settings.database_url.replace(f":{at.port}/", f":{thin.port}/")
    projector = following.project(database_url=by_wire)
    for _ in range(2):
        following.append(projector)
        following.wait(positions)
        thin.cut()
        following.append(projector)
        time.sleep(1.5)
        thin.mend()
    following.wait(positions)
    assert projector.failure is None
    assert stored() == following.tracked()


def test_a_swap_by_a_rebuild_in_between_is_noticed(following, stored, positions, engine, settings):
    projector = following.project()
    stop = threading.Event()
    failures = []

    def rebuild() -> None:
        analytics = AnalyticsEngine(settings.analytics_url)
        try:
            while not stop.is_set():
                with open_log(settings.database_url) as log:
                    RebuildEvents(engine, log, analytics, settings).swap(ignore)
        except Exception as error:  # noqa: BLE001  told below
            failures.append(error)
        finally:
            analytics.close()

    thread = threading.Thread(target=rebuild)
    following.append(projector)
    following.wait(positions)
    thread.start()
    for _ in range(40):
        following.append(projector)
        time.sleep(0.02)
    stop.set()
    thread.join()
    following.wait(positions)
    assert (failures, projector.failure) == ([], None)
    assert stored() == following.tracked()


class Killed(Exception):
    """Stands for kill -9: nothing is tidied up."""


class KilledInTheSwap(RebuildEvents):
    """Dies when the tables are exchanged and nobody was told."""

    def _announce(self, connection, live):
        raise Killed


def test_a_rebuild_killed_in_its_swap_does_not_bring_the_old_rows_back(
    following, stored, positions, engine, settings
):
    following.append()
    projector = following.project()
    following.wait(positions)
    projector.close()
    analytics = AnalyticsEngine(settings.analytics_url)
    with ExitStack() as stack:
        stack.callback(analytics.close)
        log = stack.enter_context(open_log(settings.database_url))
        old = "ALTER TABLE events UPDATE country = 'XX' WHERE 1 SETTINGS mutations_sync = 1"
        analytics.command(old)
        with pytest.raises(Killed):
            KilledInTheSwap(engine, log, analytics, settings).swap(ignore)
        RebuildEvents(engine, log, analytics, settings).swap(ignore)
        countries = analytics.query("SELECT DISTINCT country FROM events").rows
    assert [tuple(row) for row in countries] == [("",)]
    assert stored() == following.tracked()


def test_what_was_enriched_reaches_the_columns(following, history, models, positions, settings):
    iphone = (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15"
        " (KHTML, like Gecko) Version/17.4 Mobile/15E148 Safari/604.1"
    )
    history.track(following.shop, "ada", client=Client(user_agent=iphone, country="DE"))
    history.track(following.shop, "bob")
    models.apply(history.recorded())
    following.project()
    following.wait(positions)
    analytics = AnalyticsEngine(settings.analytics_url)
    answer = analytics.query(
        "SELECT country, browser, os, device, distinct_id FROM events ORDER BY position"
    )
    analytics.close()
    assert [tuple(row) for row in answer.rows] == [
        ("DE", "Mobile Safari", "iOS", "iPhone", "ada"),
        ("", "", "", "", "bob"),
    ]


def test_another_log_starts_the_table_anew(following, history, stored, positions, models, empty):
    """A restored log has another id: rows of the lost one would not be its own."""
    projector = following.project()
    following.append(projector)
    following.wait(positions)
    projector.close()
    history.connection.execute("UPDATE log.identity SET log_id = gen_random_uuid()")
    history.connection.execute("DELETE FROM log.events WHERE topic = 'tracked.v1'")
    empty()
    history.track(following.shop, "ada")
    models.apply(history.recorded())
    following.project()
    following.wait(positions)
    assert stored() == following.tracked()
    assert len(stored()) == 1


@pytest.fixture
def own_engine(engine_process) -> Iterator[Callable[[], None]]:
    engine_process.start()
    return engine_process


def test_an_engine_host_killed_and_started_again_has_each_event_once(
    following, own_engine, positions
):
    projector = following.project(analytics_url=own_engine.url)
    for _ in range(4):
        for _ in range(6):
            following.append(projector)
            time.sleep(0.05)
        own_engine.kill()
        following.append(projector)
        own_engine.start()
        time.sleep(0.5)
    following.wait(positions)
    analytics = AnalyticsEngine(own_engine.url)
    answer = analytics.query("SELECT position FROM events ORDER BY position")
    analytics.close()
    assert [row[0] for row in answer.rows] == following.tracked()


def test_the_position_never_goes_back(following, engine, positions):
    """Who has once been told a position may ask for it again."""
    seen = []
    for _ in range(4):
        projector = following.project()
        for _ in range(5):
            following.append(projector)
        following.wait(positions)
        projector.close()
        with engine.connect() as connection:
            seen.append(checkpoints.read(connection, "events").position)
    last = following.project()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            seen.append(checkpoints.read(connection, "events").position)
    last.close()
    assert seen == sorted(seen)
