"""The events that questions are asked about, in an engine of their own.

They are made inside the engine (20 names, most of them rare; active persons more often than others;
30 days; 130 bytes of JSON) and inserted in blocks as the writer's are. A third of the distinct ids
belong to another one's person, and every person has traits of 100 bytes. In a directory that is
given they stay for the next run.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import click

from domain.errors import Overloaded
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from infrastructure.companion_tables import last_position, make
from infrastructure.embedded.ports import free_port
from infrastructure.person_writer import PersonWriter
from projections import person_traits
from projections.events import create_table

ENGINE = ("-P", "-m", "api.cli.main", "run", "engine")
BLOCK = 200_000
LONGEST_MS = 10_000  # a slow question is asked less often
SHORTEST_MS = 400  # and a quick one more often: the first of its runs are not as warm as the rest
LONG = {"max_execution_time": 3_600}
SCANNED = """
CREATE TABLE scanned (pid0 UInt64 CODEC(LZ4)) ENGINE = MergeTree ORDER BY tuple()"""
IN_ORDER = "SELECT pid0 FROM events ORDER BY day, event, pid0, ts"

MERGES = """
INSERT INTO person_changes SELECT 1, number, {events} - {persons} + number, number - 1
FROM numbers({persons}) WHERE number % 3 = 2"""
MERGED = """
INSERT INTO person_now SELECT app_number, number, person FROM person_changes"""
TRAITS = """
INSERT INTO person_traits SELECT 1, number + 1, number + 1, format(
    concat('{{{{"email":"person{{0}}@example.com","name":"Person {{0}}",',
        '"plan":"{{1}}","visits":{{2}},"company":"acme {{2}}"}}}}'),
    toString(number), ['free', 'pro', 'team'][1 + intHash32(number) % 3], toString(number % 100))
FROM numbers({persons})"""

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


@contextlib.contextmanager
def running_engine(kept: str | None = None) -> Iterator[AnalyticsEngine]:
    """An engine host in this directory, or in a temporary one that is removed afterwards."""
    with contextlib.ExitStack() as stack:
        directory = kept or stack.enter_context(
            tempfile.TemporaryDirectory(prefix="appizer-engine-")
        )
        Path(directory).mkdir(parents=True, exist_ok=True)
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
        engine = AnalyticsEngine(url, timeout_seconds=3_600)
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


def prepare(engine: AnalyticsEngine, events: int, persons: int) -> float:
    """The events, merges and traits, unless the directory has them; S in ms."""
    engine.command(create_table("events", generation="benchmark"))
    (found,) = engine.query("SELECT count() FROM events", None, LIGHT).rows[0]
    PersonWriter(engine).recover(UUID(int=1))
    if found != events:
        if found:
            raise click.ClickException(f"the directory has {found:,} events, not {events:,}")
        fill(engine, events, persons)
        engine.command(MERGES.format(events=events, persons=persons))
        engine.command(MERGED)
    fill_traits(engine, persons)
    return scan_ms(engine)


def fill_traits(engine: AnalyticsEngine, persons: int) -> None:
    """Anew where the directory has them as they were packed before."""
    table, generation = person_traits.TABLE, f"benchmark {person_traits.VERSION}"

    def drop() -> None:
        engine.command(f"DROP TABLE {table} SYNC")

    make(engine, table, person_traits.create_table, generation, drop)
    if not last_position(engine, table):
        engine.command(TRAITS.format(persons=persons))


def scan_ms(engine: AnalyticsEngine, runs: int = 9) -> float:
    """S: the engine's scan of the ids alone, as it keeps numbers when nothing else is said: so S
    stays what it is when the table of events is packed better.
    """
    return median_ms(lambda: engine.query("SELECT sum(pid0) FROM scanned", None, LIGHT), runs)[0]


def fill(engine: AnalyticsEngine, events: int, persons: int) -> float:
    """Rows per second, with all rollups; then the merges of parts that time would bring."""
    engine.command(create_table("events", generation="benchmark"))
    started = time.perf_counter()
    for first in range(0, events, BLOCK):
        count = min(BLOCK, events - first)
        engine.command(FILL.format(persons=persons, first=first, count=count))
    rate = events / (time.perf_counter() - started)
    engine.command("OPTIMIZE TABLE events FINAL", settings=LONG)
    engine.command(SCANNED)
    engine.command(
        "INSERT INTO scanned SELECT pid0 FROM events ORDER BY day, event, pid0, ts", settings=LONG
    )
    engine.command("OPTIMIZE TABLE scanned FINAL", settings=LONG)
    return rate


def median_ms(work: Callable[[], object], runs: int) -> tuple[float, float]:
    work()
    taken: list[float] = []
    while (len(taken) < runs or sum(taken) < SHORTEST_MS) and sum(taken) < LONGEST_MS:
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken), max(taken)
