"""Durable ingest over HTTP: the commands role and Postgres only, beside the load generator.

    python -m benchmarks.ingest [--events 300000] [--json]

The physical limit is raw COPY of the same rows (what the log got from this run's own batches) into
a table of the same shape with the same indexes, in this run, with the same commit size as the
largest group commit, and with 5,000 rows a commit.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
import psycopg

from benchmarks import load
from infrastructure.database import open_engine, open_log
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import wait_until_ready
from infrastructure.event_store.reader import read_page
from infrastructure.migrate import migrate
from infrastructure.provisioning import provision
from infrastructure.read_models import ReadModels, decode
from infrastructure.settings import Settings

BATCH = 100
CONNECTIONS = 16
SINGLE_CONNECTIONS = 64
PROPERTIES = {
    "plan": "pro",
    "currency": "EUR",
    "revenue": 19.9,
    "quantity": 2,
    "coupon": "AUTUMN-2026",
    "path": "/checkout/confirm",
    "referrer": "https://www.example.com/search?q=shoes",
    "variant": "B",
    "step": 4,
    "first": False,
    "city": "Hamburg",
    "category": "footwear",
}
CONTEXT = {"library": {"name": "analytics-python", "version": "2.4.0"}, "locale": "de-DE"}


def message(number: int, chance: random.Random) -> dict[str, Any]:
    """A Segment track of about 600 bytes, as JSON, with an id that does not repeat."""
    return {
        "type": "track",
        "event": f"Event {number % 20}",
        "userId": f"user-{chance.randrange(50_000)}",
        "messageId": f"{chance.getrandbits(128):032x}",
        "timestamp": "2026-11-22T09:31:21.790+00:00",
        "properties": PROPERTIES,
        "context": CONTEXT,
    }


def batches(events: int, key: str, port: int, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [
        load.post(
            "/v1/batch",
            key,
            json.dumps({"batch": [message(n, chance) for n in range(BATCH)]}).encode(),
            port,
        )
        for _ in range(events // BATCH)
    ]


def singles(events: int, key: str, port: int, seed: int = 2) -> list[bytes]:
    chance = random.Random(seed)
    return [
        load.post("/v1/track", key, json.dumps(message(n, chance)).encode(), port)
        for n in range(events)
    ]


@contextmanager
def commands_role() -> Iterator[tuple[Settings, str]]:
    """The role and its Postgres, and a write key."""
    with tempfile.TemporaryDirectory(prefix="appizer-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)
        server = EmbeddedPostgres(
            home / "postgres", port=free_port(), password="bench", log=home / "postgres.log"
        )
        server.start()
        try:
            wait_until_ready(server, seconds=60)
            migrate(server.url())
            settings = Settings(database_url=server.url(), port=free_port())
            key = provision(settings).write_key
            _project_keys(settings)
            with _role(settings):
                yield settings, key
        finally:
            server.stop()


def _project_keys(settings: Settings) -> None:
    engine = open_engine(settings.database_url)
    models = ReadModels(engine)
    models.prepare()
    with open_log(settings.database_url) as log:
        models.apply([decode(entry) for entry in read_page(log, 0, 1000)])
    engine.dispose()


@contextmanager
def _role(settings: Settings) -> Iterator[None]:
    environment = {
        **os.environ,
        "APPIZER_DATABASE_URL": settings.database_url,
        "APPIZER_PORT": str(settings.port),
    }
    role = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", "run", "commands"], env=environment
    )
    try:
        _wait_until_alive(settings.port)
        yield
    finally:
        role.terminate()
        role.wait()


def _wait_until_alive(port: int) -> None:
    for _ in range(300):
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the commands role did not start")


def raw_copy(database_url: str, rows: int, commit: int) -> float:
    """Rows a second; median of three."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        with connection.cursor(binary=True) as cursor:
            kept = cursor.execute("SELECT * FROM log.events LIMIT %s", (rows,)).fetchall()
        rates = [_copied(connection, kept, commit) for _ in range(3)]
        connection.execute("DROP TABLE raw")
    return statistics.median(rates)


def _copied(connection: psycopg.Connection[Any], kept: list[Any], commit: int) -> float:
    connection.execute("DROP TABLE IF EXISTS raw")
    connection.execute("CREATE TABLE raw (LIKE log.events INCLUDING ALL)")
    started = time.perf_counter()
    for first in range(0, len(kept), commit):
        with connection.cursor() as cursor, cursor.copy("COPY raw FROM STDIN (FORMAT BINARY)") as c:
            c.set_types(["uuid", "int8", "int8", "timestamptz", "uuid", "text", "bytea"])
            for row in kept[first : first + commit]:
                c.write_row(row)
    return len(kept) / (time.perf_counter() - started)


def measure(events: int) -> dict[str, Any]:
    with commands_role() as (settings, key):
        port = settings.port
        load.run(port, batches(20_000, key, port, seed=9), connections=CONNECTIONS)
        batch_runs = [
            load.run(port, batches(events, key, port, seed=10 + n), connections=CONNECTIONS)
            for n in range(3)
        ]
        copy_1000 = raw_copy(settings.database_url, min(events, 200_000), 1000)
        copy_5000 = raw_copy(settings.database_url, min(events, 200_000), 5000)
        single_runs = [
            load.run(
                port, singles(events // 4, key, port, seed=20 + n), connections=SINGLE_CONNECTIONS
            )
            for n in range(3)
        ]
        fastest = statistics.median(run.rate for run in single_runs)
        half = load.run(
            port,
            singles(int(fastest * 2.5), key, port, seed=30),
            connections=SINGLE_CONNECTIONS,
            per_second=fastest / 2,
        )
    batch_rate = statistics.median(run.rate for run in batch_runs) * BATCH
    return {
        "batch_events_per_second": round(batch_rate),
        "batch_p99_ms": statistics.median(run.p99 for run in batch_runs),
        "raw_copy_1000_rows_per_second": round(copy_1000),
        "raw_copy_5000_rows_per_second": round(copy_5000),
        "ratio_to_raw_copy_1000": round(batch_rate / copy_1000, 2),
        "ratio_to_raw_copy_5000": round(batch_rate / copy_5000, 2),
        "single_requests_per_second": round(fastest),
        "single_p99_ms": statistics.median(run.p99 for run in single_runs),
        "half_load_requests_per_second": round(half.rate),
        "half_load_p50_ms": half.p50,
        "half_load_p99_ms": half.p99,
        "half_load_late": half.late,
        "statuses": {**batch_runs[0].statuses, **half.statuses},
    }


@click.command(help=__doc__)
@click.option("--events", default=300_000, show_default=True)
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
