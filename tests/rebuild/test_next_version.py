"""A release that changes a read model builds it anew when its projector starts, beside the old."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from infrastructure import event_projector
from projections import people

NAMES = ("people", "events")
NEXT = Path(__file__).with_name("next_version_process.py")


@pytest.fixture
def running(environment):
    @contextmanager
    def run(*command):
        process = subprocess.Popen(
            [sys.executable, "-P", *command], env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        drained = threading.Thread(target=process.stdout.read)
        drained.start()
        try:
            yield process
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            drained.join()
            process.stdout.close()

    return run


def test_the_old_one_answers_until_the_new_one_takes_its_place(system, running):
    system.write(people=200)
    with running("-m", "api.cli.main", "run", "projector"):
        system.wait(system.history.head())
    old = [system.checkpoint(name).version for name in NAMES]
    assert old == [people.version, event_projector.VERSION]
    before = system.checkpoint("events").filling
    counts = set()
    with running(str(NEXT)) as process:
        while [system.checkpoint(name).version - 1 for name in NAMES] != old:
            assert process.poll() is None
            with system.engine.connect() as connection:
                counts.add(count(connection, "people.distinct_ids"))
            counts.add(system.analytics.query("SELECT count() FROM events").rows[0][0])
        system.write(people=10)
        system.wait(system.history.head())
    assert len(counts) == 2, "one of people, one of events, the same all the time"
    with system.engine.connect() as connection:
        everybody = count(connection, "people.distinct_ids")
        shouted = count(connection, "people.distinct_ids WHERE shouted = upper(distinct_id)")
    assert everybody == shouted > 200
    assert system.checkpoint("events").filling != before
    tracked = [r.position for r in system.history.recorded() if r.topic == "tracked.v1"]
    rows = system.analytics.query("SELECT position FROM events ORDER BY position").rows
    assert [row[0] for row in rows] == tracked


def count(connection, table):
    return connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
