"""`appizer up`, whole: starts, mends itself, stops, and loses nothing when it is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.cli.exits import Exit
from api.cli.instance import settings_for
from tests.fixtures.patience import asked_again

ROOT = Path(__file__).parents[2]


def appizer(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "api.cli.main", *arguments],
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def send(instance, name: str) -> int:
    """The event's position."""
    answer = httpx.post(
        f"{instance.url}/v1/events",
        json={"event_name": name, "user_id": "ada"},
        headers={"Authorization": f"Bearer {instance.keys['write_key']}"},
    )
    assert answer.status_code == 202, answer.text
    return answer.json()["position"]


def names(instance, position: int) -> list[str]:
    """Those of ada's events, newest first, once the read models have come to `position`."""
    headers = {"Authorization": f"Bearer {instance.keys['secret_key']}"}
    url = f"{instance.url}/v1/users/ada/events?min_position={position}"
    answer = asked_again(lambda: httpx.get(url, headers=headers, timeout=30))
    assert answer.status_code == 200, answer.text
    return [event["event_name"] for event in answer.json()["events"]]


def children(pid: int) -> dict[int, str]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(each): Path(f"/proc/{each}/cmdline").read_text() for each in listed}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_those_who_follow_the_log_leave_the_processors_to_those_who_answer(instance):
    found = {}
    for pid, command in children(instance.process.pid).items():
        words = command.split("\0")
        if "run" in words:
            role = words[words.index("run") + 1]
            found[role] = os.getpriority(os.PRIO_PROCESS, pid)
    ours = os.getpriority(os.PRIO_PROCESS, instance.process.pid)
    behind = dict.fromkeys(("engine", "projector", "relay", "reactor"), ours + 5)
    assert found == {"api": ours} | behind


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_the_keys_are_written_for_their_owner_only(instance):
    assert set(instance.keys) == {"url", "app_id", "write_key", "secret_key", "org_key"}
    assert instance.keys["url"] == instance.url
    for name in ("quickstart.json", "instance.json"):
        assert (instance.data / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_two_commands_that_a_start_prints_work_as_they_are(instance):
    send_it, ask_for_it = (line for line in instance.said if line.startswith("  curl "))
    sent = subprocess.run(["/bin/sh", "-c", send_it], capture_output=True, check=True)
    position = json.loads(sent.stdout)["position"]
    names(instance, position)  # waits for the read models
    asked = subprocess.run(["/bin/sh", "-c", ask_for_it], capture_output=True, check=True)
    assert "signed_up" in [event["event_name"] for event in json.loads(asked.stdout)["events"]]


def test_a_second_up_on_the_same_directory_names_the_first(instance):
    second = appizer("up", "--data", str(instance.data), "--port", "1")
    assert second.returncode == Exit.FAILED
    assert f"runs on {instance.data} already (pid {instance.process.pid})" in second.stderr


def test_commands_find_the_instance_by_its_directory(instance):
    assert settings_for(str(instance.data)).data == str(instance.data)


def test_doctor_finds_nothing_wrong_with_a_running_instance(instance):
    told = appizer("doctor", "--data", str(instance.data), "--json")
    findings = [json.loads(line) for line in told.stdout.splitlines()]
    assert [each for each in findings if each["level"] == "fail"] == []
    assert told.returncode == Exit.OK
    assert {"postgres", "fsync", "nats", "analytics engine", "schema"} <= {
        each["check"] for each in findings
    }


def test_doctor_says_how_to_start_what_does_not_run(tmp_path):
    told = appizer("doctor", "--data", str(tmp_path / "none"))
    assert told.returncode == Exit.FAILED
    assert f"appizer up --data {tmp_path / 'none'}" in told.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_kill_9_leaves_no_process_and_a_new_start_has_everything(start_instance):
    with start_instance() as first:
        position = send(first, "before")
        parts = children(first.process.pid)
        assert len(parts) == 7
        first.process.kill()
        first.process.wait()
        while any(map(is_running, parts)):  # the test's own time limit bounds it
            pass
    with start_instance() as second:
        assert second.keys["write_key"] == first.keys["write_key"]
        last = send(second, "after")
        assert last > position
        assert names(second, last) == ["after", "before"]
        parts = children(second.process.pid)
        second.process.send_signal(signal.SIGINT)
        assert second.process.wait() == Exit.OK
        assert not any(map(is_running, parts))
    log = (second.data / "logs" / "postgres.log").read_text()
    assert log.rstrip().endswith("database system is shut down")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_part_that_is_killed_comes_back(start_instance):
    with start_instance() as running:
        before = children(running.process.pid)
        victims = [pid for pid, command in before.items() if "projector" in command]
        os.kill(victims[0], signal.SIGKILL)
        position = send(running, "while it was away")
        assert names(running, position) == ["while it was away"]
        assert victims[0] not in children(running.process.pid)
