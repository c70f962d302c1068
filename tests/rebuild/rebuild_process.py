"""Run by a test as a process: a rebuild that is killed by itself.

rebuild_process.py NAME HOW WHEN    HOW: swap or verify; WHEN: half, or exchanged (of events)

Its pages are small, so that a small log has a middle.
"""

import os
import signal
import sys

from infrastructure import rebuild, rebuild_events
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
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
        die()


for module in (rebuild, rebuild_events):
    module._PAGE, module._CLOSE = 50, 0
rebuild_events._INSERT_ROWS = 50
name, how, when = sys.argv[1:]
settings = load()
with open_log(settings.database_url) as log:
    engine = open_engine(settings.database_url)
    if name == "events":
        analytics = MortalEngine(settings.analytics_url)
        builder = RebuildEvents(engine, log, analytics, Enrichment())
    else:
        builder = Rebuild(engine, log, next(p for p in PROJECTIONS if p.name == name))
    getattr(builder, how)(progress)
