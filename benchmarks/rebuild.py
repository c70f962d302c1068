"""Rebuilding the analytics read model from the log, beside raw reads of the same log.

    python -m benchmarks.rebuild [--events 500000] [--json]

The log is filled with what ingest stores for a Segment track of 600 bytes. Limits, in this run: one
COPY of the log out of Postgres, and the engine inserting the finished blocks and nothing else.
"""

import json
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import click
import psycopg

from api.dialects.calls import CALLS, admit
from benchmarks.generated import running_engine
from benchmarks.ingest import message
from benchmarks.machine import loop_seconds
from benchmarks.postgres import own_database
from commands.ingest import to_new_events
from domain.tracking import Client
from infrastructure import garbage
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.event_rows import Rows
from infrastructure.event_store import binary
from infrastructure.event_store.group_commit import columns_of
from infrastructure.event_store.reader import read_head, read_page
from infrastructure.event_writer import drop_table
from infrastructure.provisioning import provision
from infrastructure.read_models import ReadModels, decode
from infrastructure.rebuild_events import RebuildEvents
from infrastructure.settings import Settings
from projections.events import COLUMNS, SHADOW, create_table

COMMIT = 1000
CLIENT = Client(
    ip="203.0.113.7",
    user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/140.0.0.0 Safari/537.36",
)


@contextmanager
def filled_log(events: int) -> Iterator[str]:
    """A Postgres with that many events on its log, and the Postgres read models up to its head."""
    with own_database() as url:
        app = UUID(provision(Settings(database_url=url)).app_id)
        _fill(url, app, events)
        _project(url)
        yield url


def _fill(url: str, app: UUID, events: int) -> None:
    chance = random.Random(3)
    call = CALLS["/v1/batch"]
    with psycopg.connect(url, autocommit=True) as connection:
        binary.register(connection)
        for first in range(0, events, COMMIT // 2):
            batch = [message(n, chance) for n in range(first, first + COMMIT // 2)]
            parsed = call.parse(json.dumps({"batch": batch}).encode())
            taken = admit(
                call,
                parsed,
                received_at=datetime.now(UTC),
                client=CLIENT,
                new_id=lambda: "never used",
            )
            connection.execute(
                "SELECT log.append_events(%b, %b, %b, %b)", columns_of(to_new_events(app, taken))
            )


def _project(url: str) -> None:
    engine = open_engine(url)
    models = ReadModels(engine)
    models.prepare()
    with open_log(url) as log:
        position = 0
        while page := read_page(log, position, 5000):
            models.apply([decode(entry) for entry in page])
            position = page[-1].position
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "INSERT INTO projections.checkpoints (name, version, position)"
                f" VALUES ('events', 1, {read_head(log)})"
            )
    engine.dispose()


def measure(events: int) -> dict[str, Any]:
    with filled_log(events) as url, running_engine() as analytics:
        analytics.command(create_table("events", generation="bench"))
        loops = [loop_seconds()]
        runs = [_rebuilt(url, analytics) for _ in range(3)]
        loops.append(loop_seconds())
        copied = _raw_copy_out(url, events)
        inserted = _raw_insert(url, analytics, events)
    rate = events / statistics.median(runs)
    return {
        "python_loop_seconds": loops,
        "events": events,
        "rebuild_events_per_second": round(rate),
        "raw_copy_out_rows_per_second": round(copied),
        "raw_insert_rows_per_second": round(inserted),
        "ratio_to_raw_copy_out": round(rate / copied, 2),
        "ratio_to_raw_insert": round(rate / inserted, 2),
    }


def _rebuilt(url: str, analytics: AnalyticsEngine) -> float:
    engine = open_engine(url)
    garbage.seldom()  # as `appizer projections rebuild` does
    with open_log(url) as log:
        started = time.perf_counter()
        RebuildEvents(engine, log, analytics, Settings(database_url=url)).swap(
            lambda _done, _of: None
        )
        spent = time.perf_counter() - started
    engine.dispose()
    return spent


def _raw_copy_out(url: str, events: int) -> float:
    query = "COPY (SELECT notification_id, state FROM log.events) TO STDOUT (FORMAT BINARY)"
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        with cursor.copy(query) as copy:
            for _ in copy:
                pass
        return events / (time.perf_counter() - started)


def _raw_insert(url: str, analytics: AnalyticsEngine, events: int) -> float:
    engine = open_engine(url)
    rows = Rows(engine, Enrichment(""))
    blocks = []
    with open_log(url) as log:
        position = 0
        while page := read_page(log, position, 20_000):
            blocks.append(rows.of([decode(entry) for entry in page], parked_as=SHADOW).data)
            position = page[-1].position
    analytics.command(create_table(SHADOW, generation="bench"))
    started = time.perf_counter()
    for block in blocks:
        analytics.insert_rows(SHADOW, COLUMNS, block)
    spent = time.perf_counter() - started
    drop_table(analytics, SHADOW)
    engine.dispose()
    return events / spent


@click.command(help=__doc__)
@click.option("--events", default=500_000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, as_json: bool) -> None:  # noqa: FBT001  click's flag
    found = measure(events)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<34} {value}")


if __name__ == "__main__":
    main()
