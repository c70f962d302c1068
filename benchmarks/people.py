"""People over HTTP: identify, profiles beside a load, and a merge until uniques show it.

    python -m benchmarks.people [--messages 60000] [--seconds 15] [--only identify] [--json]

`identify` (batches of 100 with two ids and three traits; half of them by people seen before) goes
into the commands role and Postgres only; its limit is COPY of the same rows in the same run.
`profiles` and `merge` ask a whole instance: profiles at 500 requests/s beside none, 500 and 2,000
events/s, timed from when each was due; and from the answer to a merge of two persons with 10,000
events each until trends count one. What the read models make of the same messages is people_pages,
and people of the past people_past.
"""

import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import httpx

from benchmarks import load
from benchmarks.ingest import BATCH, CONNECTIONS, batches, commands_role, raw_copy
from benchmarks.machine import loop_seconds
from benchmarks.people_pages import People
from benchmarks.system import instance

PERSONS = 20_000
READS = 500  # a second
BESIDE = (0, 500, 2_000)  # events a second
OF_EACH = 10_000  # events of a person that is merged
TRENDS = {"from": "2026-11-20", "to": "2026-11-24", "measure": "unique", "event": "Merged"}


def identify_batches(messages: int, key: str, sender: People) -> list[bytes]:
    return [
        load.post(
            "/v1/batch",
            key,
            json.dumps({"batch": [sender.identify() for _ in range(BATCH)]}).encode(),
        )
        for _ in range(messages // BATCH)
    ]


def measure_identify(messages: int) -> dict[str, Any]:
    with commands_role() as (settings, key, ports):
        sender = People(1)
        load.run(ports, identify_batches(10_000, key, sender), connections=CONNECTIONS)
        runs = [
            load.run(ports, identify_batches(messages, key, sender), connections=CONNECTIONS)
            for _ in range(3)
        ]
        limit = raw_copy(settings.database_url, messages, 1000)
    rate = statistics.median(run.rate for run in runs) * BATCH
    return {
        "identify_per_second": round(rate),
        "identify_p99_ms": statistics.median(run.p99 for run in runs),
        "identify_statuses": runs[0].statuses,
        "raw_copy_1000_rows_per_second": round(limit),
        "identify_ratio_to_raw_copy": round(rate / limit, 2),
    }


def measure_profiles(seconds: int) -> dict[str, Any]:
    with instance() as keys:
        port = int(keys["url"].rpartition(":")[2])
        sender = People(1)
        made = load.run(
            port, identify_batches(2 * PERSONS, keys["write_key"], sender), connections=CONNECTIONS
        )
        caught_up = _seconds_until_projected(keys)
        chance = random.Random(4)
        asked = [
            _get(f"/v1/users/user-1-{chance.randrange(PERSONS - 500)}", keys["secret_key"])
            for _ in range(READS * seconds)
        ]
        load.run(port, asked[:READS], connections=CONNECTIONS)
        found = {
            f"profiles_beside_{rate}_events": _reads(port, keys["write_key"], asked, rate)
            for rate in BESIDE
        }
    return {
        "profiles_identified_per_second": round(made.rate * BATCH),
        "profiles_seconds_to_catch_up": round(caught_up, 1),
        **found,
    }


def _reads(port: int, key: str, asked: list[bytes], rate: int) -> dict[str, Any]:
    seconds = len(asked) // READS + 3
    beside = multiprocessing.get_context("spawn").Process(
        target=_load, args=(port, key, seconds, rate)
    )
    if rate:
        beside.start()
        time.sleep(2)
    found = load.run(port, asked, connections=CONNECTIONS, per_second=READS)
    if rate:
        beside.join()
    told = ("rate", "p50", "p99", "longest", "late", "statuses")
    return {name: getattr(found, name) for name in told} | {"loop": loop_seconds()}


def _load(port: int, key: str, seconds: int, rate: int) -> None:
    requests = batches(rate * seconds, key, seed=3)
    load.run(port, requests, connections=4, per_second=rate / BATCH)


def _get(path: str, key: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def _seconds_until_projected(keys: dict[str, Any]) -> float:
    with httpx.Client(base_url=keys["url"]) as client:
        return _seconds_until(lambda: not any(_lags(client)))


def _lags(client: httpx.Client) -> list[int]:
    standings = client.get("/readyz").json()["projections"]
    return [standing["head"] - standing["position"] for standing in standings]


def _seconds_until(reached: Callable[[], bool]) -> float:
    started = time.perf_counter()
    while not reached():
        if time.perf_counter() - started > 120:
            raise TimeoutError("it took over two minutes")
        time.sleep(0.01)
    return time.perf_counter() - started


def measure_merge() -> dict[str, Any]:
    with instance() as keys, httpx.Client(base_url=keys["url"], timeout=30) as client:
        port = int(keys["url"].rpartition(":")[2])
        requests = [
            _tracked(keys["write_key"], who)
            for who in ({"userId": "ada"}, {"anonymousId": "phone"})
            for _ in range(OF_EACH // BATCH)
        ]
        load.run(port, requests, connections=CONNECTIONS)
        _seconds_until_projected(keys)
        bearer = {"Authorization": f"Bearer {keys['secret_key']}"}
        assert _uniques(client, bearer) == 2
        sent = time.perf_counter()
        body = {"user_id": "ada", "alias_id": "phone"}
        answer = client.post("/v1/users/aliases", json=body, headers=bearer)
        answered = time.perf_counter() - sent
        answer.raise_for_status()
        seen = _seconds_until(lambda: _uniques(client, bearer) == 1)
    return {
        "merge_events_of_each": OF_EACH,
        "merge_answer_seconds": round(answered, 3),
        "merge_outcome": answer.json()["outcome"],
        "merge_seconds_until_uniques_show_it": round(seen, 3),
    }


def _tracked(key: str, who: dict[str, str]) -> bytes:
    sent = [
        {"type": "track", "event": "Merged", "timestamp": "2026-11-22T09:31:21.790Z", **who}
        for _ in range(BATCH)
    ]
    return load.post("/v1/batch", key, json.dumps({"batch": sent}).encode())


def _uniques(client: httpx.Client, bearer: dict[str, str]) -> int:
    answer = client.post("/v1/analytics/trends", json=TRENDS, headers=bearer)
    answer.raise_for_status()
    return max((one["total"] for one in answer.json()["data"]["series"]), default=0)


@click.command(help=__doc__)
@click.option("--messages", default=60_000, show_default=True)
@click.option("--seconds", default=15, show_default=True)
@click.option("--only", type=click.Choice(("identify", "profiles", "merge")))
@click.option("--json", "as_json", is_flag=True)
def main(messages: int, seconds: int, only: str | None, as_json: bool) -> None:  # noqa: FBT001  click's flag
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "identify": lambda: measure_identify(messages),
        "profiles": lambda: measure_profiles(seconds),
        "merge": measure_merge,
    }
    found: dict[str, Any] = {"python_loop_seconds": [loop_seconds()]}
    for name, part in parts.items():
        if only in {None, name}:
            found |= part()
            found["python_loop_seconds"].append(loop_seconds())
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):<38} {value}")


if __name__ == "__main__":
    main()
