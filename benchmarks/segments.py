"""Live segments under load: how long after an event is recorded the segments know it.

    python -m benchmarks.segments [--segments 200] [--rate 5000] [--seconds 30] [--persons 20000]

Load and projector are threads of this process, the reactor is the real role beside it. The whole
answer of one segment over 10 million events is the first line of benchmarks/criteria.py.
"""

import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import click
import msgspec
from sqlalchemy import text

from benchmarks.machine import loop_seconds
from benchmarks.postgres import own_database
from benchmarks.trends import running_engine
from domain.conditions.text import parse
from domain.segments import SegmentCreated
from domain.tracking import Tracked
from infrastructure import codec
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.event_projector import EventProjector
from infrastructure.event_store.reader import read_page
from infrastructure.provisioning import provision
from infrastructure.read_models import ReadModels, decode
from infrastructure.settings import Settings

NAMES = [f"event {n}" for n in range(20)]
TICK = 0.1
_EVALUATED = text("SELECT position FROM reactor.evaluated")
_SAVE = "SELECT log.save_events(%s::uuid[], %s::bigint[], %s::uuid[], %s::text[], %s::bytea[])"
_APPEND = "SELECT log.append_events(%s::uuid[], %s::uuid[], %s::text[], %s::bytea[])"


def criteria(n: int) -> str:
    name, other, days = NAMES[n % 20], NAMES[(n * 7 + 3) % 20], (1, 7, 14, 30)[n % 4]
    return (
        f"did `{name}` at least {2 + n % 3} times in {days} days",
        f"did `{name}` at least 3 times in 14 days and not did `{other}` in 14 days",
        f"stopped `{name}` for {days} days",
        f"sum of amount over `{name}` >= {50 + n} in {days} days",
        f"did `{name}` where (amount > {n % 90}) and not did `{other}` in {days} days",
    )[n % 5]


class Load:
    """Appends to the log, and keeps the read models up."""

    def __init__(self, settings: Settings, app: UUID, analytics: Any, persons: int) -> None:
        self.settings, self.app, self.persons = settings, app, persons
        self.engine = open_engine(settings.database_url)
        self.models = ReadModels(self.engine)
        self.models.prepare()
        self.projector = EventProjector(self.engine, analytics, Enrichment(), settings)
        self.projector.start()
        self.stop = threading.Event()
        self.random = random.Random(4)
        self.log = open_log(settings.database_url)
        self.follower = threading.Thread(target=self._follow, daemon=True)
        self.follower.start()

    def define(self, count: int) -> None:
        for n in range(count):
            one, tree = uuid4(), parse(criteria(n))
            made = SegmentCreated(
                originator_id=one, originator_version=1, occurred_at=datetime.now(UTC),
                app_id=self.app, name=f"segment {n}", criteria=tree, kind="live",
            )  # fmt: skip
            self.log.execute(_SAVE, ([one], [1], [self.app], [made.TOPIC], [codec.encode(made)]))

    def append(self, count: int, *, spread: timedelta = timedelta(0)) -> None:
        now = datetime.now(UTC)
        states = []
        for _ in range(count):
            at = now - spread * self.random.random()
            event = Tracked(
                message_id=str(self.random.random()),
                timestamp=at,
                received_at=now,
                user_id=f"user {self.random.randrange(self.persons)}",
                event=self.random.choice(NAMES),
                properties=msgspec.Raw(json.dumps({"amount": self.random.randrange(100)}).encode()),
            )
            states.append(codec.encode(event))
        ids = [uuid4() for _ in range(count)]
        self.log.execute(_APPEND, (ids, [self.app] * count, [Tracked.TOPIC] * count, states))

    def _follow(self) -> None:
        position = self.models.position()
        with open_log(self.settings.database_url) as log:
            while not self.stop.is_set():
                page = [decode(entry) for entry in read_page(log, position, 4_000)]
                if page:
                    self.models.apply(page)
                    self.projector.offer(page)
                    position = page[-1].position
                self.stop.wait(0.05 if len(page) < 4_000 else 0)

    def wait(self, position: int) -> None:
        while self.evaluated() < position:
            time.sleep(0.1)

    def evaluated(self) -> int:
        with self.engine.connect() as connection:
            return connection.execute(_EVALUATED).scalar() or 0

    def head(self) -> int:
        row = self.log.execute("SELECT max(notification_id) FROM log.events").fetchone()
        assert row is not None
        return int(row[0])

    def close(self) -> None:
        self.stop.set()
        self.follower.join()
        self.projector.close()
        self.log.close()
        self.engine.dispose()


@contextmanager
def reactor(settings: Settings) -> Iterator[None]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "APPIZER_DATABASE_URL": settings.database_url,
        "APPIZER_ANALYTICS_URL": settings.analytics_url,
    }
    command = [sys.executable, "-P", "-m", "api.cli.main", "run", "reactor"]
    process = subprocess.Popen(command, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def lags(load: Load, rate: int, seconds: float) -> tuple[list[float], list[float]]:
    """(lag of each event in seconds, seconds from one evaluation to the next)."""
    seen: list[tuple[float, int]] = [(time.time(), load.evaluated())]
    first, began, sent = load.head(), time.time(), 0
    while True:
        elapsed = time.time() - began
        if elapsed < seconds and sent < rate * elapsed:
            count = min(1_000, int(rate * elapsed) - sent + 1)
            load.append(count)
            sent += count
            last = load.head()
        position = load.evaluated()
        if position > seen[-1][1]:
            seen.append((time.time(), position))
        if elapsed >= seconds and position >= last:
            break
        time.sleep(0.02)
    recorded = load.log.execute(
        "SELECT notification_id, extract(epoch FROM recorded_at)::float8 FROM log.events"
        " WHERE notification_id > %s AND topic = %s ORDER BY 1",
        (first, Tracked.TOPIC),
    ).fetchall()
    found, steps = [], iter(seen)
    at, upto = next(steps)
    for position, when in recorded:
        while upto < position:
            at, upto = next(steps)
        found.append(at - when)
    click.echo(f"{len(recorded):,} events in {seconds:.0f} s, {len(recorded) / seconds:,.0f}/s")
    return found, [b[0] - a[0] for a, b in itertools.pairwise(seen)]


@click.command()
@click.option("--segments", default=200, show_default=True)
@click.option("--rate", default=5_000, show_default=True)
@click.option("--seconds", default=30.0, show_default=True)
@click.option("--persons", default=20_000, show_default=True)
@click.option("--before", default=200_000, show_default=True, help="Events of 30 days, before.")
def main(segments: int, rate: int, seconds: float, persons: int, before: int) -> None:
    click.echo(f"loop {loop_seconds()} s")
    with own_database() as url, running_engine() as analytics:
        app = UUID(provision(Settings(database_url=url)).app_id)
        settings = Settings(database_url=url, analytics_url=_url(analytics))
        load = Load(settings, app, analytics, persons)
        try:
            for _ in range(before // 1_000):
                load.append(1_000, spread=timedelta(days=30))
            load.define(segments)
            with reactor(settings):
                started = time.monotonic()
                load.wait(load.head())
                load.wait(load.head())  # and the read models have all who entered
                click.echo(f"{segments} new segments: {time.monotonic() - started:.1f} s")
                found, rounds = lags(load, rate, seconds)
            cuts = statistics.quantiles(found, n=100)
            click.echo(f"recorded to evaluated: p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s")
            click.echo(f"a round each {statistics.median(rounds):.2f} s (median)")
        finally:
            load.close()
    click.echo(f"loop {loop_seconds()} s")


def _url(analytics: Any) -> str:
    at = analytics._options  # noqa: SLF001  the one place that has it
    return f"http://{at['username']}:{at['password']}@{at['host']}:{at['port']}/default"


if __name__ == "__main__":
    main()
