"""An instance under load, whoever kills what."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STEADY_SECONDS = 3.2  # a little more than infrastructure/embedded/upkeep.py wants
ROLES = ("api", "projector", "relay", "reactor", "engine", "nats", "postgres")


class Checked(msgspec.Struct):
    """What the checker found. `problems`: kind and text."""

    problems: list[tuple[str, str]]
    counts: dict[str, int]

    @property
    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.problems}

    def naming(self, kind: str, *words: str) -> list[str]:
        return [text for k, text in self.problems if k == kind and all(w in text for w in words)]


class Target:
    """A running instance, and the ledger of who sends to it."""

    def __init__(self, running: Any, ledger: Path) -> None:
        self.url: str = running.url
        self.data: Path = running.data
        self.process: subprocess.Popen[str] = running.process
        self.ledger = ledger
        self.said: list[str] = []
        self._draining = threading.Thread(target=self._drain)
        self._draining.start()

    def _drain(self) -> None:
        """A full pipe would stop the supervisor."""
        assert self.process.stdout is not None
        self.said.extend(self.process.stdout)

    def settings(self) -> dict[str, str]:
        return json.loads((self.data / "instance.json").read_text())

    def database(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.settings()["APPIZER_DATABASE_URL"], autocommit=True)

    def parts(self) -> dict[str, int]:
        """Name -> pid of what the supervisor runs now."""
        found = {}
        for pid in children(self.process.pid):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            is_role = "run" in command
            name = command[command.index("run") + 1] if is_role else Path(command[0]).name
            found[{"nats-server": "nats"}.get(name, name)] = pid
        return {name: pid for name, pid in found.items() if name in ROLES}

    def wait_until_whole(self) -> None:
        """Everything runs, and has taken all that is on the log."""
        wait(lambda: answers(f"{self.url}/readyz"))
        wait(self._caught_up)

    def _caught_up(self) -> bool:
        with self.database() as connection:
            row = connection.execute(
                "SELECT min(c.position) = (SELECT max(notification_id) FROM log.events),"
                " count(*) FROM projections.checkpoints c"
                " WHERE name IN ('apps', 'people', 'failed_events', 'events', 'relay')"
            ).fetchone()
        return row == (True, 5)

    def check(self) -> Checked:
        done = subprocess.run(
            [sys.executable, HERE / "check.py", self.ledger, self.data / "instance.json"],
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return msgspec.json.decode(done.stdout, type=Checked)

    def verify(self) -> list[dict[str, Any]]:
        """What `projections rebuild --all --verify` says of each read model."""
        done = appizer("projections", "rebuild", "--all", "--verify", "--json", data=self.data)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ended(self) -> None:
        self._draining.join()


def appizer(*command: str, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "api.cli.main", *command, "--data", str(data)],
        env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == parent and after_name[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def descendants(parent: int) -> list[int]:
    found = [parent]
    for pid in found:
        found += children(pid)
    return found


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def wait(until: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if until():
                return
        except psycopg.Error as error:
            last: Exception | None = error
        else:
            last = None
        if time.monotonic() > deadline:
            raise TimeoutError(f"not after {seconds:.0f} s") from last
        time.sleep(0.1)


class Nemesis:
    """Kills what it is told at moments that its seed decides: while the API takes events, and
    mostly what has run for some seconds, so that the supervisor starts it again at once.
    """

    def __init__(self, target: Target, seed: int) -> None:
        self._target = target
        self._random = random.Random(seed)
        self.kills: Counter[str] = Counter()

    def run(self, plan: dict[str, int], *, pause: float) -> None:
        """`plan`: how often each; `pause`: the longest between two kills, in seconds."""
        left = Counter(plan)
        deadline = time.monotonic() + 60 + 10 * left.total()
        while left.total():
            assert time.monotonic() < deadline, f"not killed in time: {left}"
            time.sleep(self._random.random() * pause)
            wait(lambda: answers(f"{self._target.url}/healthz"))
            ripe = self._ripe(+left)
            if ripe:
                name = self._random.choices(ripe, [left[name] for name in ripe])[0]
                left[name] -= self.kill(name)

    def kill(self, name: str) -> bool:
        pid = self._target.parts().get(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.kills[name] += 1
        return pid is not None

    def _ripe(self, left: Counter[str]) -> list[str]:
        least = 0 if self._random.random() < 0.1 else STEADY_SECONDS
        parts = self._target.parts()
        return sorted(name for name in left if name in parts and age(parts[name]) > least)


def age(pid: int) -> float:
    """In seconds."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


@contextmanager
def _sending(target: Target, apps: Sequence[dict[str, str]], seed: int) -> Iterator[Any]:
    """A load from another process; ends when everything it did not give up is known."""
    with (target.data / "logs" / "load.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, HERE / "load.py", target.ledger, str(seed), target.url],
            stdin=subprocess.PIPE, stderr=log,
        )  # fmt: skip
    assert process.stdin is not None
    with process.stdin as keys:
        keys.write(msgspec.json.encode(apps))
    try:
        yield process
    finally:
        process.terminate()
        code = process.wait()
    assert code == 0, (target.data / "logs" / "load.log").read_text()


@pytest.fixture(scope="session")
def sending() -> Callable[..., AbstractContextManager[Any]]:
    """`sending(target, apps, seed)`."""
    return _sending


@pytest.fixture(scope="session")
def nemesis() -> type[Nemesis]:
    return Nemesis


@pytest.fixture(scope="session")
def family() -> Callable[[int], list[int]]:
    """`family(pid)`: it and all that descend from it."""
    return descendants


@pytest.fixture(scope="session")
def waiting() -> Callable[..., None]:
    return wait


@pytest.fixture(scope="session")
def two_apps() -> Callable[[Target], list[dict[str, str]]]:
    """The quickstart's app and another, each with a key of both kinds."""

    def make(target: Target) -> list[dict[str, str]]:
        first = json.loads((target.data / "quickstart.json").read_text())
        bearer = {"Authorization": f"Bearer {first['org_key']}"}
        with httpx.Client(base_url=target.url, headers=bearer, timeout=30) as http:
            app = http.post("/v1/apps", json={"name": "Other"}).raise_for_status().json()["app"]
            keys = {
                kind: http.post(f"/v1/apps/{app['id']}/keys", json={"kind": kind}).json()["key"]
                for kind in ("write", "secret")
            }
        mine = {"write": first["write_key"], "secret": first["secret_key"]}
        return [{"app": first["app_id"], **mine}, {"app": app["id"], **keys}]

    return make


@pytest.fixture(scope="session")
def open_target() -> Callable[..., AbstractContextManager[Target]]:
    """`open_target(running, ledger)`: the instance, with its output read to the end."""

    @contextmanager
    def opened(running: AbstractContextManager[Any], ledger: Path) -> Iterator[Target]:
        with running as started:
            target = Target(started, ledger)
            try:
                yield target
            finally:
                if started.process.poll() is None:
                    started.process.send_signal(signal.SIGINT)
                started.process.wait()
                target.ended()

    return opened
