"""What unmodified SDKs sent, captured, and the SDKs themselves."""

import base64
import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

CAPTURES = Path(__file__).parents[3] / "shared/reference/sdk-captures"
SDKS = ("segment-analytics-python", "rudder-sdk-python", "segment-analytics-next-browser")
CAPTURED_KEY = "wk_test_123"
NOT_OURS = {"host", "content-length", "authorization", "connection", "accept-encoding"}


class Request(NamedTuple):
    """`messages` is what the body says, in order; `body` its bytes with the captured key."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    messages: list[dict[str, Any]]
    sent_at: str | None

    def replayed(self, http: httpx.Client, key: str) -> httpx.Response:
        """Sends the captured bytes with another key; nothing else of them changes."""
        headers = {name: value for name, value in self.headers.items() if name not in NOT_OURS}
        if "authorization" in self.headers:
            basic = base64.b64encode(f"{key}:".encode()).decode()
            headers["authorization"] = f"Basic {basic}"
        return http.request(
            self.method,
            self.path.replace(CAPTURED_KEY, key),
            content=with_key(self.body, key),
            headers=headers,
        )


def with_key(body: bytes, key: str) -> bytes:
    """The same bytes when they hold no key."""
    packed = body.startswith(b"\x1f\x8b")
    text = gzip.decompress(body) if packed else body
    if CAPTURED_KEY.encode() not in text:
        return body
    text = text.replace(CAPTURED_KEY.encode(), key.encode())
    return gzip.compress(text) if packed else text


def request_of(captured: dict[str, Any]) -> Request:
    said = captured["body"] or {}
    said = {name: value for name, value in said.items() if not name.startswith("_")}
    return Request(
        captured["method"],
        captured["path"],
        {name.lower(): value for name, value in captured["headers"]},
        base64.b64decode(captured["raw_b64"]) if captured.get("raw_b64") else bytes_of(said),
        said.get("batch", [said]) if captured["method"] == "POST" else [],
        said.get("sentAt"),
    )


def bytes_of(said: dict[str, Any]) -> bytes:
    """Browsers write JSON without spaces, so do these; Python's SDKs with, which we can't see."""
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() if said else b""


class Scenario(NamedTuple):
    sdk: str
    name: str
    requests: list[Request]


def scenarios() -> Iterator[Scenario]:
    for sdk in SDKS:
        for scenario in json.loads((CAPTURES / f"{sdk}.json").read_text())["scenarios"]:
            yield Scenario(sdk, scenario["name"], list(map(request_of, scenario["requests"])))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "scenario" not in metafunc.fixturenames:
        return
    if not CAPTURES.is_dir():
        reason = f"no captures at {CAPTURES}: what SDKs sent was not replayed"
        skipped = pytest.param(None, marks=pytest.mark.skip(reason=reason))
        metafunc.parametrize("scenario", [skipped])
        return
    found = list(scenarios())
    metafunc.parametrize("scenario", found, ids=[f"{one.sdk} {one.name}" for one in found])


@pytest.fixture
def start_script() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs Python text in a process of its own; `start_script(text, NAME=value, ...)`."""
    started: list[subprocess.Popen[str]] = []

    def start(text: str, **environment: str) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", text],
                stderr=subprocess.PIPE,
                text=True,
                env={"PYTHONWARNINGS": "default", **environment},
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
