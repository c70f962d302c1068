"""Questions over HTTP, one of each kind in turn, alone and beside a load of events.

    python -m benchmarks.beside [--events 2000000] [--rate 5000] [--seconds 60] [--json]

A whole `appizer up`. First the events are sent as fast as they are taken: 20 names, 50,000 people,
times over the last 30 days. Then the questions are asked in turn, one at a time, for so many
seconds: beside nothing, and beside events that come at the rate, in batches of 100. Each asks for
what has just been recorded too (no answer is kept from the time before).
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import httpx

from benchmarks import load
from benchmarks.ingest import BATCH, CONNECTIONS, message
from benchmarks.machine import loop_seconds
from benchmarks.system import instance

DAYS = 30
PART = 100_000  # events made at once
SEGMENT = {
    "criteria": "did `Event 3` at least 3 times in 14 days and not did `Event 10` in 14 days",
    "sample": 0,
}
Ask = Callable[[httpx.Client], httpx.Response]


def requests(events: int, key: str, seed: int, *, spread: bool) -> Iterator[bytes]:
    """`spread`: over the last 30 days; else all now."""
    chance, now = random.Random(seed), datetime.now(UTC)
    for first in range(0, events, BATCH):
        batch = [message(n, chance) for n in range(first, first + BATCH)]
        for one in batch:
            at = now - timedelta(days=DAYS * chance.random()) if spread else datetime.now(UTC)
            one["timestamp"] = at.isoformat(timespec="milliseconds")
        yield load.post("/v1/batch", key, json.dumps({"batch": batch}).encode())


def questions(now: datetime) -> dict[str, Ask]:
    month = {"from": str((now - timedelta(days=DAYS - 1)).date()), "to": str(now.date())}
    week = {**month, "from": str((now - timedelta(days=6)).date())}
    steps = [{"event": f"Event {n}"} for n in (1, 2, 3)]
    funnel = {"steps": steps, "window": "7 days"}
    weekly = {"kind": "recurring", "period_zero": "cohort", "interval": "week"}

    def post(kind: str, asked: dict[str, Any]) -> Ask:
        return lambda client: client.post(f"/v1/analytics/{kind}", json=asked)

    return {
        "trend, daily": post("trends", {**month, "measure": "total"}),
        "uniques, daily": post("trends", {**month, "measure": "unique"}),
        "breakdown by event": post("trends", {**month, "breakdown": {"property": "$event"}}),
        "breakdown by browser": post("trends", {**month, "breakdown": {"property": "$browser"}}),
        "retention, weekly": post("retention", {**month, **weekly}),
        "funnel, 30 days": post("funnels", {**month, **funnel}),
        "funnel, 7 days": post("funnels", {**week, **funnel}),
        "funnel, 30 days by browser": post(
            "funnels", {**month, **funnel, "breakdown": {"property": "$browser"}}
        ),
        "sessions, 7 days": post("sessions", week),
        "segment, behaviour": lambda client: client.post("/v1/segments/preview", json=SEGMENT),
        "timeline": lambda client: client.get("/v1/users/user-7/events", params={"limit": 50}),
        "profile": lambda client: client.get("/v1/users/user-7"),
    }


class Asking:
    """Milliseconds of each answer, by question."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self._keys = keys
        self._questions = questions(datetime.now(UTC))
        self.taken: dict[str, list[float]] = {name: [] for name in self._questions}

    def go_on(self, until: Callable[[], bool]) -> None:
        headers = {"Authorization": f"Bearer {self._keys['secret_key']}"}
        with httpx.Client(base_url=self._keys["url"], headers=headers, timeout=120) as client:
            while not until():
                for name, ask in self._questions.items():
                    started = time.perf_counter()
                    ask(client).raise_for_status()
                    self.taken[name].append((time.perf_counter() - started) * 1000)


def told(asking: Asking) -> dict[str, dict[str, float]]:
    found = {}
    for name, taken in asking.taken.items():
        in_order = sorted(taken)
        found[name] = {
            "answers": len(taken),
            "p50_ms": round(in_order[len(taken) // 2], 1),
            "p99_ms": round(in_order[int(len(taken) * 0.99)], 1),
        }
    return found


def beside(keys: dict[str, Any], port: int, rate: int, seconds: int) -> tuple[Asking, load.Load]:
    made = list(requests(rate * seconds, keys["write_key"], seed=7, spread=False))
    asking, over = Asking(keys), threading.Event()
    thread = threading.Thread(target=asking.go_on, args=(over.is_set,), daemon=True)
    thread.start()
    sent = load.run(port, made, connections=CONNECTIONS, per_second=rate / BATCH)
    over.set()
    thread.join()
    return asking, sent


def prefill(keys: dict[str, Any], port: int, events: int) -> None:
    for seed, first in enumerate(range(0, events, PART)):
        count = min(PART, events - first)
        made = list(requests(count, keys["write_key"], seed + 100, spread=True))
        load.run(port, made, connections=CONNECTIONS)
    with httpx.Client(base_url=keys["url"]) as client:
        while any(s["head"] > s["position"] for s in _standings(client)):
            time.sleep(0.5)


def _standings(client: httpx.Client) -> list[dict[str, int]]:
    found: list[dict[str, int]] = client.get("/readyz").json()["projections"]
    return found


def measure(events: int, rate: int, seconds: int) -> dict[str, Any]:
    with instance() as keys:
        port = int(keys["url"].rpartition(":")[2])
        loops = [loop_seconds()]
        prefill(keys, port, events)
        alone, end = Asking(keys), time.monotonic() + seconds
        alone.go_on(lambda: time.monotonic() > end)
        busy, sent = beside(keys, port, rate, seconds)
        loops.append(loop_seconds())
    return {
        "python_loop_seconds": loops,
        "events": events,
        "events_per_second": round(sent.rate * BATCH),
        "alone": told(alone),
        "beside": told(busy),
    }


@click.command(help=__doc__)
@click.option("--events", default=2_000_000, show_default=True)
@click.option("--rate", default=5_000, show_default=True)
@click.option("--seconds", default=60, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(events: int, rate: int, seconds: int, as_json: bool) -> None:  # noqa: FBT001  click's flag
    found = measure(events, rate, seconds)
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(f"loop {found['python_loop_seconds']} s, {found['events_per_second']} events/s\n")
    click.echo(f"{'question':24}{'alone p50':>12}{'p99':>8}{'beside p50':>12}{'p99':>8}  ms")
    for name, one in found["alone"].items():
        other = found["beside"][name]
        cells = (one["p50_ms"], one["p99_ms"], other["p50_ms"], other["p99_ms"])
        click.echo("{:24}{:>12}{:>8}{:>12}{:>8}".format(name, *cells))


if __name__ == "__main__":
    main()
