"""`appizer up` itself is killed, under load, and started again on the same directory."""

import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from infrastructure.embedded.ports import free_port

SEED = 7


@pytest.fixture
def kill(family):
    """By SIGKILL: the supervisor alone, or at once with all that descend from it."""

    def strike(target, *, alone):
        for pid in [target.process.pid] if alone else family(target.process.pid):
            os.kill(pid, signal.SIGKILL)

    return strike


@pytest.fixture
def runs(open_directory, run_instance, open_target):
    """`runs(stack)`: the instance, each time on the same port."""
    port = free_port()

    def start(stack):
        running = run_instance(open_directory / "instance", port)
        return stack.enter_context(open_target(running, open_directory / "ledger.jsonl"))

    return start


@pytest.mark.timeout(900)
def test_killed_and_started_again_it_has_lost_nothing_and_left_nobody_behind(
    kill, runs, sending, two_apps, family, waiting
):
    with ExitStack() as stack:
        target = runs(stack)
        moments = random.Random(SEED)
        load = ExitStack()
        load.enter_context(sending(target, two_apps(target), SEED))
        stack.push(load)
        for alone in (True, False):
            time.sleep(1 + moments.random())
            before = family(target.process.pid)
            assert len(before) > 10
            kill(target, alone=alone)
            waiting(lambda before=before: not any(map(alive, before)))
            target = runs(stack)
        load.close()
        target.wait_until_whole()
        assert target.check().problems == []
        assert all(one["equal"] for one in target.verify())


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
