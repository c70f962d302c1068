"""Run by a test as a process: a rebuild that is killed by itself.

rebuild_process.py NAME HOW WHEN [several]

HOW: swap or verify; WHEN: half, or exchanged (of events); several: in more than one process. Its
pages are small, so that a small log has a middle. Told to die half-way, it says who works for it.
"""

import os
import signal
import sys
from multiprocessing import active_children

from infrastructure import rebuild, rebuild_events, rebuild_rows
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine, open_log
from infrastructure.rebuild import Rebuild
from infrastructure.rebuild_events import RebuildEvents
from infrastructure.settings import load
from projections.catalogue import PROJECTIONS


def die():
    os.kill(os.getpid(), signal.SIGKILL)


class MortalEngine(AnalyticsEngine):
    def command(self, sql, *given):
        super().command(sql, *given)
        if when == "exchanged" and sql.startswith("EXCHANGE"):
            die()


def progress(done, of):
    if when == "half" and done > of / 2:
        sys.stdout.write(" ".join(str(child.pid) for child in active_children()))
        sys.stdout.flush()
        die()


if __name__ == "__main__":  # the processes beside it import this
    rebuild._PAGE = rebuild_rows.PAGE = rebuild_events.PAGE = 50
    rebuild._CLOSE = rebuild_events._CLOSE = 0
    rebuild_events._INSERT_ROWS = 50
    name, how, when, *several = sys.argv[1:]
    if several:
        rebuild_events._MANY = 0
    settings = load()
    with open_log(settings.database_url) as log:
        engine = open_engine(settings.database_url)
        if name == "events":
            analytics = MortalEngine(settings.analytics_url)
            builder = RebuildEvents(engine, log, analytics, settings)
        else:
            builder = Rebuild(engine, log, next(p for p in PROJECTIONS if p.name == name))
        getattr(builder, how)(progress)
