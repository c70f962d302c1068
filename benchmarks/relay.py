"""How fast the relay copies the log to JetStream (sync_interval always): events per second acked.

    python benchmarks/relay.py [--events 200000] [--json]

Everything runs on this machine. The rate counts from the first message's time in the stream to
the last one's, so it leaves out the start of the process and the first read. Each row is a fresh
log and stream; the log is written before the relay starts.
"""

import asyncio
import json
import os
import random
import shutil
import string
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import click
import nats
import psycopg

from infrastructure import message_bus, relay
from infrastructure.embedded.message_server import MessageServer
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import wait_until_ready
from infrastructure.event_store import binary
from infrastructure.migrate import migrate

COMMIT = 1000
RELAY = ("-P", "-m", "api.cli.main", "run", "relay")


class Case(NamedTuple):
    name: str
    apps: int
    body_bytes: int


CASES = (
    Case("1 app, 600 B", 1, 600),
    Case("20 apps, 600 B", 20, 600),
    Case("500 apps, 600 B", 500, 600),
    Case("1 app, 4 KB", 1, 4000),
)


class Result(NamedTuple):
    events: int
    messages: int
    seconds: float
    relay_cpu_seconds: float


@click.command(help=__doc__)
@click.option("--events", default=200_000, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, as_json: bool) -> None:  # noqa: FBT001
    for case in CASES:
        wanted = events if case.body_bytes < COMMIT else events // 4
        result = measured(case, wanted)
        rate = result.events / result.seconds
        if as_json:
            click.echo(json.dumps({"case": case.name, "rate": round(rate), **result._asdict()}))
        else:
            click.echo(
                f"{case.name:<18}{rate:>10,.0f} events/s {result.messages:>8,} messages"
                f"{result.relay_cpu_seconds / result.seconds:>6.2f} cores of the relay"
            )


def measured(case: Case, events: int) -> Result:
    with servers() as (database_url, nats_url):
        fill(database_url, case, events)
        process = subprocess.Popen(
            [sys.executable, *RELAY],
            env={
                **os.environ,
                "APPIZER_DATABASE_URL": database_url,
                "APPIZER_NATS_URL": nats_url,
                "PYTHONPATH": str(Path(relay.__file__).parents[1]),
            },
        )
        try:
            messages, seconds = asyncio.run(wait_for(nats_url, events))
            cpu = cpu_seconds(process.pid)
        finally:
            process.terminate()
            process.wait()
        return Result(events, messages, seconds, cpu)


@contextmanager
def servers() -> Iterator[tuple[str, str]]:
    directory = Path(tempfile.mkdtemp(prefix="appizer-bench-"))
    directory.chmod(0o711)
    postgres = EmbeddedPostgres(
        directory / "postgres", port=free_port(), password="secret", log=directory / "pg.log"
    )
    bus = MessageServer(
        directory / "nats", port=free_port(), password="secret", log=directory / "nats.log"
    )
    try:
        for server in (postgres, bus):
            server.start()
            wait_until_ready(server, seconds=60)
        yield postgres.url(), bus.url
    finally:
        bus.stop()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


def fill(database_url: str, case: Case, events: int) -> None:
    draw = random.Random(7)
    apps = [uuid.UUID(int=draw.getrandbits(128)).bytes for _ in range(case.apps)]
    bodies = [body(draw, case.body_bytes) for _ in range(COMMIT)]
    migrate(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        binary.register(connection)
        for _ in range(events // COMMIT):
            connection.execute(
                "SELECT log.append_events(%s, %s, %s, %s)",
                (
                    binary.uuids([draw.randbytes(16) for _ in range(COMMIT)]),
                    binary.uuids(draw.choices(apps, k=COMMIT)),
                    binary.texts([b"tracked.v1"] * COMMIT),
                    binary.byteas(bodies),
                ),
            )


def body(draw: random.Random, size: int) -> bytes:
    filler = "".join(draw.choices(string.ascii_letters, k=size - 120))
    event = {
        "message_id": str(uuid.UUID(int=draw.getrandbits(128))),
        "event": "checkout",
        "properties": {"filler": filler},
    }
    return b"\x01" + json.dumps(event, separators=(",", ":")).encode()


async def wait_for(nats_url: str, position: int) -> tuple[int, float]:
    """Messages in the stream, and the seconds between the first and the last, once it is full."""
    client = await nats.connect(nats_url)
    stream = client.jetstream()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        await asyncio.sleep(0.2)
        try:
            state = (await stream.stream_info(message_bus.STREAM)).state
            last = await stream.get_msg(message_bus.STREAM, seq=state.last_seq or 1)
        except nats.js.errors.NotFoundError:
            continue
        headers = last.headers or {}
        part, _, parts = headers["Appizer-Page-Part"].partition("/")
        if int(headers["Appizer-Page-Last"]) >= position and part == parts:
            first = await stream.get_msg(message_bus.STREAM, seq=1)
            assert first.time
            assert last.time
            await client.close()
            return state.messages, (last.time - first.time).total_seconds()
    raise TimeoutError("the relay did not finish")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
