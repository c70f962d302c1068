"""Read models are compared and replaced while people write and read; nobody notices."""

import json
import os
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.fixtures.read_models import ALL

ROOT = Path(__file__).parents[2]


class Traffic:
    """One that writes batches and two that read, each until told to stop."""

    def __init__(self, tenant, url):
        self._tenant, self._url = tenant, url
        self._stop = threading.Event()
        self.failures, self.sent, self.told = [], 0, []
        self._threads = [threading.Thread(target=t) for t in (self._write, self._read, self._read)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self):
        with httpx.Client(base_url=self._url, timeout=60) as http:
            for n in count():
                if self._stop.is_set():
                    return
                events = [
                    {"event_name": f"e{i % 3}", "user_id": f"u{i % 20}", "message_id": f"{n}-{i}"}
                    for i in range(40)
                ]
                headers = self._tenant.bearer(self._tenant.write_key)
                answer = http.post("/v1/events/batch", headers=headers, json={"events": events})
                self._note(answer, 202)
                self.sent += answer.json().get("processed_count", 0)
                self._stop.wait(0.05)

    def _read(self):
        last = {}
        with httpx.Client(base_url=self._url, timeout=60) as http:
            while not self._stop.is_set():
                for path in ("/v1/users/u1", "/v1/events/names", "/v1/events?limit=5"):
                    headers = self._tenant.bearer(self._tenant.secret_key)
                    answer = http.get(path, headers=headers)
                    if self._note(answer, 200):
                        self._not_back(path, answer.json(), last)
                    self._stop.wait(0.01)

    def _not_back(self, path, said, last):
        names = said.get("names", [])
        now = (
            said["position"],
            said["user"]["messages"] if "user" in said else sum(name["count"] for name in names),
            max((event["position"] for event in said.get("events", [])), default=0),
        )
        if any(new < old for new, old in zip(now, last.get(path, now), strict=True)):
            self.failures.append((path, "went back", last[path], now))
        last[path] = now
        self.told.append(path)

    def _note(self, answer, expected):
        if answer.status_code != expected:
            self.failures.append((answer.request.url.path, answer.status_code, answer.text))
        return answer.status_code == expected


@pytest.fixture
def traffic(tenant, instance):
    """Begins when somebody is there to be read about."""
    tenant.sent({"event_name": "e0", "user_id": "u1"})
    position = tenant.sent({"event_name": "e0", "user_id": "u1"})
    tenant.ask("/v1/events", min_position=position)
    return Traffic(tenant, instance.url)


@pytest.fixture
def rebuild(instance):
    def run(*options):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
        done = subprocess.run(
            [
                sys.executable, "-P", "-m", "api.cli.main", "projections", "rebuild",
                *options, "--json", "--data", str(instance.data),
            ],
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_a_comparison_under_traffic_says_equal(traffic, rebuild):
    with traffic:
        said = rebuild("--all", "--verify")
    assert [(one["name"], one["equal"]) for one in said] == [(name, True) for name in ALL]
    assert traffic.failures == []


def test_replaced_under_traffic_readers_see_no_error_and_writers_lose_nothing(
    traffic, rebuild, tenant
):
    with traffic:
        rebuild("--all")
        rebuild("people", "events")
    assert traffic.failures == []
    assert len(traffic.told) > 100
    position = tenant.head()
    names = tenant.ask("/v1/events/names", min_position=position)["names"]
    assert sum(name["count"] for name in names) == traffic.sent + 2
    assert all(one["equal"] for one in rebuild("--all", "--verify"))
