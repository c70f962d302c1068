"""Durable ingest over HTTP: the commands role and Postgres only, beside the load generator.

    python -m benchmarks.ingest [--events 300000] [--processes 1] [--json]

The physical limit of batches is raw COPY of the same rows (what the log got from this run's own
batches) into a table of the same shape with the same indexes, in this run, with the same commit
size as the largest group commit, and with 5,000 rows a commit. That of single events is the same
HTTP server with an application that does nothing.

`--processes`: how many processes of the role share the load, each on a port of its own.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click
import httpx
import psycopg

from benchmarks import load
from benchmarks.machine import loop_seconds
from benchmarks.postgres import own_database
from infrastructure.database import open_engine, open_log
from infrastructure.embedded.ports import free_port
from infrastructure.event_store.reader import read_page
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


def batches(events: int, key: str, seed: int = 1) -> list[bytes]:
    chance = random.Random(seed)
    return [
        load.post(
            "/v1/batch",
            key,
            json.dumps({"batch": [message(n, chance) for n in range(BATCH)]}).encode(),
        )
        for _ in range(events // BATCH)
    ]


def singles(events: int, key: str, seed: int = 2) -> list[bytes]:
    chance = random.Random(seed)
    return [
        load.post("/v1/track", key, json.dumps(message(n, chance)).encode()) for n in range(events)
    ]


@contextmanager
def commands_role(processes: int = 1) -> Iterator[tuple[Settings, str, list[int]]]:
    """The role's settings, a write key and the ports; a Postgres of its own."""
    with own_database() as url:
        settings = Settings(database_url=url, port=free_port())
        key = provision(settings).write_key
        _project_keys(settings)
        ports = [settings.port, *(free_port() for _ in range(processes - 1))]
        with ExitStack() as roles:
            for port in ports:
                roles.enter_context(_role(settings, port))
            yield settings, key, ports


def _project_keys(settings: Settings) -> None:
    engine = open_engine(settings.database_url)
    models = ReadModels(engine)
    models.prepare()
    with open_log(settings.database_url) as log:
        models.apply([decode(entry) for entry in read_page(log, 0, 1000)])
    engine.dispose()


@contextmanager
def _role(settings: Settings, port: int) -> Iterator[None]:
    environment = {
        **os.environ,
        "APPIZER_DATABASE_URL": settings.database_url,
        "APPIZER_PORT": str(port),
    }
    role = subprocess.Popen(
        [sys.executable, "-m", "api.cli.main", "run", "commands"], env=environment
    )
    try:
        _wait_until_alive(port)
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


def empty_answers() -> float:
    """Requests a second that the server answers when there is nothing to do."""
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.empty_server", str(port)])
    try:
        _wait_until_alive(port)
        request = load.post("/v1/track", "none", json.dumps(message(1, random.Random(1))).encode())
        return load.run(port, [request] * 60_000, connections=SINGLE_CONNECTIONS).rate
    finally:
        server.terminate()
        server.wait()


def measure(events: int, processes: int) -> dict[str, Any]:
    with commands_role(processes) as (settings, key, ports):
        loops = [loop_seconds()]
        of_batches = measure_batches(ports, key, events)
        loops.append(loop_seconds())
        limits = {
            rows: raw_copy(settings.database_url, min(events, 200_000), rows)
            for rows in (1000, 5000)
        }
        loops.append(loop_seconds())
        of_singles = measure_singles(ports, key, events // 4)
        loops.append(loop_seconds())
        empty = empty_answers()
    rate = of_batches["batch_events_per_second"]
    return {
        "processes": processes,
        "python_loop_seconds": loops,
        **of_batches,
        **{f"raw_copy_{rows}_rows_per_second": round(limit) for rows, limit in limits.items()},
        **{f"ratio_to_raw_copy_{rows}": round(rate / limit, 2) for rows, limit in limits.items()},
        **of_singles,
        "empty_answers_per_second": round(empty),
        "ratio_to_empty_answers": round(of_singles["single_requests_per_second"] / empty, 2),
    }


def measure_batches(ports: list[int], key: str, events: int) -> dict[str, Any]:
    load.run(ports, batches(20_000, key, seed=9), connections=CONNECTIONS)
    runs = [
        load.run(ports, batches(events, key, seed=10 + n), connections=CONNECTIONS)
        for n in range(3)
    ]
    return {
        "batch_events_per_second": round(statistics.median(run.rate for run in runs) * BATCH),
        "batch_p99_ms": statistics.median(run.p99 for run in runs),
        "batch_statuses": runs[0].statuses,
    }


def measure_singles(ports: list[int], key: str, events: int) -> dict[str, Any]:
    runs = [
        load.run(ports, singles(events, key, seed=20 + n), connections=SINGLE_CONNECTIONS)
        for n in range(3)
    ]
    fastest = statistics.median(run.rate for run in runs)
    half = load.run(
        ports,
        singles(int(fastest * 2.5), key, seed=30),
        connections=SINGLE_CONNECTIONS,
        per_second=fastest / 2,
    )
    return {
        "single_requests_per_second": round(fastest),
        "single_p99_ms": statistics.median(run.p99 for run in runs),
        "half_load_requests_per_second": round(half.rate),
        "half_load_p50_ms": half.p50,
        "half_load_p99_ms": half.p99,
        "half_load_late": half.late,
        "single_statuses": half.statuses,
    }


@click.command(help=__doc__)
@click.option("--events", default=300_000, show_default=True)
@click.option("--processes", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, processes: int, as_json: bool) -> None:  # noqa: FBT001  click's flag
    found = measure(events, processes)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<34} {value}")


if __name__ == "__main__":
    main()
