"""Everything running (API, relay, projector, analytics, Postgres, NATS) under a steady load.

    python -m benchmarks.system [--rate 20000] [--seconds 30] [--json]

Events come in batches of 100 at a steady rate. Beside them, five times a second, one event is
sent and a query is asked to include it: from its acknowledgement to that answer is its visibility.
"""

import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx

from benchmarks import load
from benchmarks.ingest import BATCH, CONNECTIONS, batches
from benchmarks.machine import loop_seconds
from infrastructure.embedded.ports import free_port

SAMPLE_SECONDS = 0.2
MOST_WAITING = 60


@contextmanager
def instance() -> Iterator[dict[str, Any]]:
    """A whole `appizer up`; yields quickstart.json."""
    with tempfile.TemporaryDirectory(prefix="appizer-bench-") as directory:
        Path(directory).chmod(0o711)
        data = Path(directory) / "data"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "api.cli.main", "up"),
                *("--data", str(data), "--port", str(free_port())),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ready "):
                break
        try:
            yield json.loads((data / "quickstart.json").read_text())
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


class Visibility(threading.Thread):
    """Samples until it is told to stop; `seconds` has one entry each."""

    def __init__(self, keys: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._keys = keys
        self.stopping = threading.Event()
        self.seconds: list[float] = []
        self.failures = 0

    def run(self) -> None:
        chance = random.Random(5)
        with (
            httpx.Client(base_url=self._keys["url"], timeout=15) as client,
            ThreadPoolExecutor(MOST_WAITING) as pool,  # a slow answer must not hide slow ones
        ):
            while not self.stopping.wait(SAMPLE_SECONDS):
                pool.submit(self._sample, client, f"{chance.getrandbits(128):032x}")

    def _sample(self, client: httpx.Client, message_id: str) -> None:
        event = {"event_name": "marker", "user_id": "marker", "message_id": message_id}
        sent = client.post("/v1/events", json=event, headers=_bearer(self._keys["write_key"]))
        acked = time.perf_counter()
        found = client.get(
            "/v1/users/marker/events",
            params={"limit": 100, "min_position": sent.json()["position"]},
            headers=_bearer(self._keys["secret_key"]),
        )
        if found.status_code == 200 and _holds(found, message_id):
            self.seconds.append(time.perf_counter() - acked)
        else:
            self.failures += 1


def _holds(found: httpx.Response, message_id: str) -> bool:
    return any(event["message_id"] == message_id for event in found.json()["events"])


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def measure(rate: int, seconds: int) -> dict[str, Any]:
    with instance() as keys, httpx.Client(base_url=keys["url"]) as client:
        port = int(keys["url"].rpartition(":")[2])
        loops = [loop_seconds()]
        load.run(port, batches(rate, keys["write_key"], seed=1), connections=CONNECTIONS)
        requests = batches(rate * seconds, keys["write_key"], seed=2)
        sampler = Visibility(keys)
        sampler.start()
        found = load.run(port, requests, connections=CONNECTIONS, per_second=rate / BATCH)
        behind = _lag(client)
        sampler.stopping.set()
        sampler.join()
        caught_up = _seconds_to_catch_up(client)
        loops.append(loop_seconds())
    seen = sorted(sampler.seconds)
    return {
        "python_loop_seconds": loops,
        "wanted_events_per_second": rate,
        "events_per_second": round(found.rate * BATCH),
        "seconds": found.seconds,
        "request_p50_ms": found.p50,
        "request_p99_ms": found.p99,
        "statuses": found.statuses,
        "visibility_samples": len(seen),
        "visibility_failures": sampler.failures,
        "visibility_p50_s": round(seen[len(seen) // 2], 3),
        "visibility_p99_s": round(seen[int(len(seen) * 0.99)], 3),
        "visibility_longest_s": round(seen[-1], 3),
        "lag_at_the_end": behind,
        "seconds_to_catch_up": round(caught_up, 2),
    }


def _lag(client: httpx.Client) -> dict[str, int]:
    standings = client.get("/readyz").json()["projections"]
    return {s["name"]: s["head"] - s["position"] for s in standings}


def _seconds_to_catch_up(client: httpx.Client) -> float:
    started = time.perf_counter()
    while any(_lag(client).values()) and time.perf_counter() - started < 120:
        time.sleep(0.1)
    return time.perf_counter() - started


@click.command(help=__doc__)
@click.option("--rate", default=20_000, show_default=True)
@click.option("--seconds", default=30, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(rate: int, seconds: int, as_json: bool) -> None:  # noqa: FBT001  click's flag
    found = measure(rate, seconds)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<28} {value}")


if __name__ == "__main__":
    main()
