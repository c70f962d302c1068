"""The roles projector and relay on real servers: what is on the log becomes visible, live."""

import os
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.embedded.ports import free_port
from tests.fixtures.read_models import ALL

ROOT = Path(__file__).parents[2]


@pytest.fixture
def role(database_url, nats_url, analytics_url, tmp_path):
    """Runs one, for the length of a `with`; yields a reader of its metrics."""

    @contextmanager
    def run(name):
        port = free_port()
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")},
            "PYTHONPATH": str(ROOT),
            "APPIZER_DATABASE_URL": database_url,
            "APPIZER_NATS_URL": nats_url,
            "APPIZER_ANALYTICS_URL": analytics_url,
            "APPIZER_METRICS_PORT": str(port),
        }
        with (tmp_path / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "api.cli.main", "run", name],
                env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            yield lambda: metrics(port)
            assert process.poll() is None, (tmp_path / f"{name}.log").read_text()
        finally:
            process.terminate()
            process.wait()

    return run


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = [line.rpartition(" ") for line in answer.read().decode().splitlines()]
    return {name: value for name, _, value in lines if not name.startswith("#")}


@pytest.fixture
def wait(positions, history):
    """Until all of these have everything that is on the log."""

    def until(*names):
        deadline = time.monotonic() + 60
        while any(positions().get(name, 0) < history.head() for name in names):
            assert time.monotonic() < deadline, positions()
            time.sleep(0.02)

    return until


@pytest.fixture
def rows(analytics_url):
    def read():
        analytics = AnalyticsEngine(analytics_url)
        answer = analytics.query("SELECT position, distinct_id FROM events ORDER BY position")
        analytics.close()
        return [tuple(row) for row in answer.rows]

    return read


def tracked(history):
    events = [r for r in history.recorded() if r.topic == "tracked.v1"]
    return [(r.position, r.event.user_id) for r in events if hasattr(r.event, "user_id")]


def test_what_is_on_the_log_is_seen_in_every_read_model(role, history, wait, rows, parked):
    shop = history.found()
    with role("projector"):
        for n in range(5):
            history.track(shop, f"user {n}", 3)
            wait("events")
        wait(*ALL)
    assert rows() == tracked(history)
    assert parked() == {}


def test_pages_come_over_nats_while_a_relay_runs(role, history, wait, rows):
    shop = history.found()
    with ExitStack() as stack:
        stack.enter_context(role("relay"))
        read = stack.enter_context(role("projector"))
        wait(*ALL, "relay")
        for n in range(60):
            history.track(shop, f"user {n}", 3)
            time.sleep(0.02)
        wait(*ALL, "relay")
        assert float(read()['appizer_projector_pages_total{source="feed"}']) > 0
    assert rows() == tracked(history)


def test_poison_passes_through_relay_and_projector_and_holds_up_nothing(
    role, history, wait, rows, parked
):
    shop = history.found()
    with role("relay"), role("projector"):
        history.track(shop, "ada", 3)
        wait(*ALL, "relay")
        poison = {
            history.store("tracked.v9", b"\x01{}", shop),
            history.store("tracked.v1", b"\x01{nonsense", shop),
            history.store("identified.v1", b"\x09sealed", shop),
        }
        history.track(shop, "bob", 3)
        wait(*ALL, "relay")
    assert {position for _, position in parked()} == poison
    assert rows() == tracked(history)


def test_without_nats_the_log_is_read(role, history, wait, rows, message_server):
    shop = history.found()
    with role("projector"):
        wait("apps")
        message_server.stop()
        history.track(shop, "ada", 5)
        wait(*ALL)
        message_server.start()
        history.track(shop, "bob", 5)
        wait(*ALL)
    assert rows() == tracked(history)
