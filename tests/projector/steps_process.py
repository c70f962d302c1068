"""Run by a test as a process: the projector's two halves, killed at every step in turn.

steps_process.py HEAD

A step is a statement sent to Postgres, its answer, a commit, or a call to the analytics engine
and its answer. The n-th child is killed at its n-th step; each goes on where the one before was
killed. Says how many were killed when a child came to its end, with everything up to HEAD read.
"""

import os
import signal
import sys
import threading
import time

from sqlalchemy import event

from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.event_projector import EventProjector
from infrastructure.event_store.reader import read_page
from infrastructure.positions import Positions
from infrastructure.read_models import OutOfStep, ReadModels, decode
from infrastructure.settings import Settings, load

PAGE = 3


class Steps:
    def __init__(self, last: int) -> None:
        self._left = last
        self._counting = threading.Lock()

    def __call__(self, *_: object) -> None:
        with self._counting:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class SteppedEngine(AnalyticsEngine):
    step: Steps

    def query(self, *given, **named):
        self.step()
        answer = super().query(*given, **named)
        self.step()
        return answer

    def command(self, *given, **named):
        self.step()
        super().command(*given, **named)
        self.step()

    def insert_rows(self, *given, **named):
        self.step()
        super().insert_rows(*given, **named)
        self.step()


def follow(settings: Settings, head: int, step: Steps) -> None:
    engine = open_engine(settings.database_url)
    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(engine, moment, step)
    models = ReadModels(engine)
    models.prepare()
    analytics = SteppedEngine(settings.analytics_url)
    analytics.step = step
    events = EventProjector(engine, analytics, Enrichment(), settings)
    events.start()
    with open_log(settings.database_url) as log:
        position = models.position()
        while page := read_page(log, position, PAGE):
            try:
                models.apply([decode(entry) for entry in page])
            except OutOfStep:
                position = models.position()
                continue
            events.offer([decode(entry) for entry in page])
            position = page[-1].position
    quiet = open_engine(settings.database_url)
    while Positions(quiet).of("events").position < head:
        if events.failure is not None:
            raise events.failure
        time.sleep(0.01)


def main() -> None:
    settings, head = load(), int(sys.argv[1])
    for killed in range(10_000):
        child = os.fork()
        if child == 0:
            follow(settings, head, Steps(killed + 1))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.stdout.write(f"{killed}\n")
            sys.exit(os.WEXITSTATUS(status))
    sys.exit("no child came to its end")


main()
