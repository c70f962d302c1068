"""`appizer up` in a directory with an odd name, with settings that it does not use."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infrastructure.embedded.instance import Instance
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.processes import CannotStart

ROOT = Path(__file__).parents[2]
ODD = 'données d\'un "jour" \\ $HOME `id` %41 #x &y=1'


@contextlib.contextmanager
def up(data: Path, *options: str, **settings: str) -> Iterator[list[str]]:
    """Yields what it said until it was ready, and stops it."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith("APPIZER_")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "api.cli.main", "up", "--data", str(data), *options],
        env={**outer, "PYTHONPATH": str(ROOT), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    try:
        for line in process.stdout:
            said.append(line.rstrip("\n"))
            if line.startswith("ready "):
                break
        else:
            pytest.fail("\n".join(said))
        yield said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        process.stdout.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_it_starts_anywhere_with_any_metrics_port_and_remembers_its_own(open_directory):
    data, port = open_directory / ODD, free_port()
    with up(data, "--port", str(port), APPIZER_METRICS_PORT="9100", APPIZER_PROT="1") as said:
        assert "warning: APPIZER_PROT is no setting; did you mean APPIZER_PORT?" in said
        assert any("APPIZER_METRICS_PORT is not used" in line for line in said)
        send, ask = (line for line in said if line.startswith("  curl "))
        commands = f"{send} >/dev/null; {ask}"  # one straight after the other
        asked = subprocess.run(["/bin/sh", "-c", commands], capture_output=True, check=True)
        assert [e["event_name"] for e in json.loads(asked.stdout)["events"]] == ["signed_up"]
        figures = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert 'appizer_role_up{role="projector"} 1.0' in figures
        assert 'appizer_role_up{role="relay"} 1.0' in figures
    with up(data) as said:
        assert said[-1] == f"ready http://127.0.0.1:{port}"
        assert Instance(data).quickstart().url == f"http://127.0.0.1:{port}"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_role_that_does_not_stay_up_is_told_by_readyz(start_instance):
    with start_instance() as running:
        pid = running.process.pid
        for _ in range(2):
            _kill_projector(pid)
        deadline = time.monotonic() + 90
        while not any(
            one.startswith("projector: ended with SIGKILL")
            for one in httpx.get(f"{running.url}/readyz").json()["degraded"]
        ):
            assert time.monotonic() < deadline


def _kill_projector(supervisor: int) -> None:
    """Once it runs."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    while True:
        for pid in map(int, children.read_text().split()):
            with contextlib.suppress(OSError):
                if "projector" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
                    return
        time.sleep(0.05)


@pytest.mark.parametrize(
    "name", ["what?", "a*b", "{a,b}", "tab\there", "\udcff", "x" * 199 + "/y" * 400]
)
def test_a_path_that_a_server_could_not_live_in_is_refused_with_the_reason(tmp_path, name):
    instance = Instance(tmp_path / name)
    with pytest.raises(CannotStart, match=r"the path .*choose another --data"), instance.held():
        pass
    assert list(tmp_path.iterdir()) == []
