"""Children die with us, obey us, and leave logs that say why."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.embedded.processes import (
    POLITE,
    CannotStart,
    Child,
    Stopping,
    ending,
    stop_orphan,
    trim_log,
    wait_until_ready,
)

ROOT = Path(__file__).parents[2]

SUPERVISOR = """
import sys, time
from pathlib import Path
from infrastructure.embedded.processes import Child
for number in range(3):
    child = Child(["sleep", "600"], log=Path(sys.argv[1]) / f"{number}.log")
    print(child.pid, flush=True)
print(flush=True)
time.sleep(600)
"""


def is_running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's doing")
def test_kill_9_of_the_supervisor_leaves_no_child(tmp_path):
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with supervisor:
        pids = [int(line) for line in iter(supervisor.stdout.readline, "\n")]
        assert [is_running(pid) for pid in pids] == [True, True, True]
        supervisor.kill()
    while any(map(is_running, pids)):  # the test's own time limit bounds it
        pass


def test_a_child_is_out_of_reach_of_the_terminals_ctrl_c(tmp_path):
    child = Child(["sleep", "600"], log=tmp_path / "log")
    assert os.getpgid(child.pid) != os.getpgid(0)
    child.stop()


def test_a_child_that_ignores_the_polite_signal_gets_the_next(tmp_path):
    log = tmp_path / "log"
    script = "trap '' TERM; echo deaf; while :; do sleep 0.01; done"
    stopping = Stopping(((signal.SIGTERM, 0.05), (signal.SIGKILL, 5.0)), signal.SIGKILL)
    child = Child(["/bin/sh", "-c", script], log=log, stopping=stopping)
    while "deaf" not in log.read_text():
        pass
    child.stop()
    assert child.exit_code() == -signal.SIGKILL


def test_an_orphan_is_only_stopped_when_it_is_ours(tmp_path):
    pid_file = tmp_path / "pid"
    stranger = subprocess.Popen(["sleep", "600"])
    pid_file.write_text(f"{stranger.pid}\n")
    assert not stop_orphan(pid_file, "sleep", POLITE)  # started for no directory of ours
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize("content", ["", "not a number\n", "\n12"])
def test_a_broken_pid_file_names_nobody(tmp_path, content):
    (tmp_path / "pid").write_text(content)
    assert not stop_orphan(tmp_path / "pid", "sleep", POLITE)


class Short:
    """A part that says why and ends."""

    name = "short"

    def __init__(self, log: Path) -> None:
        self.log = log

    def start(self) -> None:
        self._child = Child(["/bin/sh", "-c", "echo no money; exit 3"], log=self.log)

    def is_ready(self) -> bool:
        return False

    def exit_code(self) -> int | None:
        return self._child.exit_code()

    def stop(self) -> None:
        self._child.stop()


def test_a_part_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path):
    part = Short(tmp_path / "log")
    part.start()
    with pytest.raises(CannotStart, match=r"short ended with code 3(?s:.*)no money"):
        wait_until_ready(part, seconds=30)


def test_exit_codes_are_told_in_words():
    assert [ending(1), ending(-9), ending(-200)] == ["code 1", "SIGKILL", "signal 200"]


def test_a_trimmed_log_is_kept_once_and_its_writer_goes_on(tmp_path):
    log = tmp_path / "log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 10)
        trim_log(log, max_bytes=40)
        assert not (tmp_path / "log.1").exists()
        trim_log(log, max_bytes=39)
        writer.write(b"new\n")
    assert (tmp_path / "log.1").read_bytes() == b"old\n" * 10
    assert log.read_bytes() == b"new\n"
