"""How fast trends are answered: median of warm runs, beside S, a scan of 8 bytes a row.

    python -m benchmarks.trends [--events 10000000] [--persons 200000] [--runs 15] [--json]

The events are made inside the engine (20 names, most of them rare; active persons more often than
others; 30 days; 130 bytes of JSON) and inserted in blocks as the writer's are, then asked about
through the engine host over HTTP, as the API does. What is timed is the whole of a question: the
plan, the query and the answer's series.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click

from domain.conditions import Where
from domain.errors import Overloaded
from domain.questions import Breakdown
from domain.trends import Question, check
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from infrastructure.embedded.ports import free_port
from projections.events import create_table
from projections.trends import plan, series

ENGINE = ("-P", "-m", "api.cli.main", "run", "engine")
RANGE = {"start": "2026-01-01", "to": "2026-01-30"}
NOW = datetime(2026, 2, 1, tzinfo=UTC)
BLOCK = 200_000
LONGEST_MS = 10_000  # a slow question is asked less often

# `number` is scrambled so that neither persons nor times come in order.
FILL = """
INSERT INTO events (app_number, event, pid0, ts, position, event_id, kind, source, message_id,
    distinct_id, properties, context, received_at, recorded_at, country, browser)
SELECT 1, concat('event ', toString(toUInt8(20 * pow(h1, 3)))),
    toUInt64({persons} * pow(h2, 2)) AS person,
    toDateTime64('2026-01-01 00:00:00', 6, 'UTC') + toIntervalSecond(toUInt32(2592000 * h3)),
    number + 1, generateUUIDv4(), 'track', 'native', toString(number), toString(person),
    format('{{{{"plan":"{{}}","amount":{{}},"url":"https://example.com/{{}}","device":{{{{"type":"phone","model":"m{{}}"}}}},"ok":true,"app_version":"2.{{}}.1"}}}}',
        ['free', 'pro', 'team'][1 + person % 3], toString(number % 1000 / 10),
        toString(number % 500), toString(person % 40), toString(number % 9)),
    '{{}}', ts, ts, ['DE', 'FR', 'US', 'IN', 'GB', 'BR', 'JP'][1 + person % 7], 'Firefox'
FROM (SELECT number, cityHash64(number, 1) / 18446744073709551616. AS h1,
    cityHash64(number, 2) / 18446744073709551616. AS h2,
    cityHash64(number, 3) / 18446744073709551616. AS h3,
    toDateTime64('2026-01-01 00:00:00', 6, 'UTC') AS ts
    FROM numbers({first}, {count}))
"""

QUESTIONS: dict[str, dict[str, Any]] = {
    "daily total, all events": {},
    "daily total, one event": {"event": "event 3"},
    "daily unique, all events": {"measure": "unique"},
    "daily unique, one event": {"measure": "unique", "event": "event 3"},
    "daily total by event": {"breakdown": Breakdown("$event")},
    "daily unique by event": {"measure": "unique", "breakdown": Breakdown("$event")},
    "daily total, Berlin": {"timezone": "Europe/Berlin"},
    "daily unique, Berlin": {"timezone": "Europe/Berlin", "measure": "unique"},
    "hourly total": {"interval": "hour"},
    "hourly unique": {"interval": "hour", "measure": "unique"},
    "daily total, Kolkata (no rollup)": {"timezone": "Asia/Kolkata"},
    "daily unique, Kolkata (no rollup)": {"timezone": "Asia/Kolkata", "measure": "unique"},
    "one event by a column": {"event": "event 3", "breakdown": Breakdown("$country")},
    "all by a column": {"breakdown": Breakdown("$country")},
    "one event by a property": {"event": "event 3", "breakdown": Breakdown("plan")},
    "all by a property": {"breakdown": Breakdown("plan")},
    "all where a property is greater": {"where": (Where("amount", "greater", 50),)},
}


class Timing(NamedTuple):
    question: str
    source: str
    median_ms: float
    worst_ms: float
    of_scan: float  # median in units of S


@click.command()
@click.option("--events", default=10_000_000, show_default=True)
@click.option("--persons", default=200_000, show_default=True)
@click.option("--runs", default=15, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, persons: int, runs: int, *, as_json: bool) -> None:
    with running_engine() as engine:
        rate = fill(engine, events, persons)
        scan = median_ms(lambda: engine.query("SELECT sum(pid0) FROM events", None, LIGHT), runs)
        found = [timed(engine, name, runs=runs, scan=scan[0]) for name in QUESTIONS]
        size = engine.query("SELECT sum(bytes_on_disk) FROM system.parts WHERE active").rows[0][0]
    if as_json:
        report = {"events": events, "fill_per_second": rate, "bytes": size, "scan_ms": scan[0]}
        click.echo(json.dumps({**report, "questions": [t._asdict() for t in found]}))
        return
    click.echo(f"{events:,} events, filled at {rate:,.0f}/s, {size / 1e6:,.0f} MB")
    click.echo(f"S = sum(pid0): {scan[0]:.1f} ms\n")
    click.echo(f"{'question':36}{'source':8}{'median ms':>10}{'worst':>8}{'/ S':>8}")
    for timing in found:
        click.echo(
            f"{timing.question:36}{timing.source:8}{timing.median_ms:>10.1f}"
            f"{timing.worst_ms:>8.1f}{timing.of_scan:>8.2f}"
        )


@contextlib.contextmanager
def running_engine() -> Iterator[AnalyticsEngine]:
    """An engine host in a temporary directory, stopped and removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="appizer-trends-") as directory:
        url = f"http://appizer:benchmark@127.0.0.1:{free_port()}/default"
        root = Path(__file__).parents[1]
        environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "APPIZER_DATABASE_URL": "postgresql://unused",
            "APPIZER_ANALYTICS_URL": url,
            "APPIZER_DATA": directory,
            "APPIZER_QUERY_SECONDS": "300",
        }
        process = subprocess.Popen(
            [sys.executable, *ENGINE], env=environment, stdout=subprocess.DEVNULL
        )
        engine = AnalyticsEngine(url)
        try:
            wait_for(engine, process)
            yield engine
        finally:
            engine.close()
            process.terminate()
            process.wait()


def wait_for(engine: AnalyticsEngine, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with contextlib.suppress(Overloaded):
            engine.query("SELECT 1")
            return
        time.sleep(0.05)
    raise click.ClickException("the engine host did not start")


def fill(engine: AnalyticsEngine, events: int, persons: int) -> float:
    """Rows per second, with all rollups; then the merges that time would bring."""
    engine.command(create_table("events", generation="benchmark"))
    started = time.perf_counter()
    for first in range(0, events, BLOCK):
        count = min(BLOCK, events - first)
        engine.command(FILL.format(persons=persons, first=first, count=count))
    rate = events / (time.perf_counter() - started)
    engine.command("OPTIMIZE TABLE events FINAL")
    return rate


def timed(engine: AnalyticsEngine, name: str, *, runs: int, scan: float) -> Timing:
    question = Question(**{**RANGE, **QUESTIONS[name]})
    source = plan(question, check(question), app_number=1).source

    def ask() -> None:
        buckets = check(question)
        made = plan(question, buckets, app_number=1)
        series(question, buckets, engine.query(*made[:3]).rows, now=NOW)

    median, worst = median_ms(ask, runs)
    return Timing(name, source, median, worst, median / scan)


def median_ms(work: Callable[[], object], runs: int) -> tuple[float, float]:
    work()
    taken: list[float] = []
    while len(taken) < runs and sum(taken) < LONGEST_MS:
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken), max(taken)


if __name__ == "__main__":
    main()
