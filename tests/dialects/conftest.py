"""Captured requests of unmodified SDKs, and what becomes of them."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.body import open_body
from api.dialects.calls import CALLS, admit
from domain.tracking import Client, Refused
from infrastructure import codec

CAPTURES = Path(__file__).parents[3] / "shared/reference/sdk-captures"
SDKS = ("segment-analytics-python", "rudder-sdk-python", "segment-analytics-next-browser")
RECEIVED_AT = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
EDGE = Client("198.51.100.4", "edge agent", "DE")


class Captured(NamedTuple):
    name: str  # sdk, scenario, number of the request
    path: str
    encoding: str | None
    body: bytes


def captured(sdk: str) -> list[Captured]:
    capture = json.loads((CAPTURES / f"{sdk}.json").read_text())
    return [
        Captured(f"{sdk} {scenario['name']} {number}", request["path"], *_bytes_of(request))
        for scenario in capture["scenarios"]
        for number, request in enumerate(scenario["requests"])
        if request["method"] == "POST"
    ]


def _bytes_of(request: dict[str, Any]) -> tuple[str | None, bytes]:
    encoding = {key.lower(): value for key, value in request["headers"]}.get("content-encoding")
    if request.get("raw_b64"):
        return encoding, base64.b64decode(request["raw_b64"])
    body = {key: value for key, value in request["body"].items() if not key.startswith("_batch")}
    return None, json.dumps(body).encode()


@pytest.fixture
def edge() -> Client:
    return EDGE


@pytest.fixture
def received_at() -> datetime:
    return RECEIVED_AT


@pytest.fixture
def take_in():
    """Path and body as received -> what would go on the log."""

    def take(path: str, raw: bytes, encoding: str | None = None, client: Client = EDGE):
        call = CALLS[path]
        parsed = call.parse(open_body(raw, encoding))
        numbers = iter(range(1, 1000))
        return admit(
            call,
            parsed,
            received_at=RECEIVED_AT,
            client=client,
            new_id=lambda: f"generated-{next(numbers)}",
        )

    return take


@pytest.fixture
def one(take_in):
    """The only message of a request, or the test fails with the reason why it was refused."""

    def take(path: str, body: Any, client: Client = EDGE):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        (message,) = take_in(path, raw, client=client)
        assert not isinstance(message, Refused), (message.field, message.issue)
        return message

    return take


@pytest.fixture
def on_the_log():
    """An event as JSON, the way it is stored."""

    def stored(event) -> dict[str, Any]:
        return {"topic": event.TOPIC, **json.loads(codec.encode(event)[1:])}

    return stored


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "request_of_sdk" not in metafunc.fixturenames:
        return
    if not CAPTURES.is_dir():
        reason = f"no captures at {CAPTURES}: the SDK contract was not checked"
        skipped = pytest.param(None, marks=pytest.mark.skip(reason=reason))
        metafunc.parametrize("request_of_sdk", [skipped])
        return
    requests = [request for sdk in SDKS for request in captured(sdk)]
    metafunc.parametrize("request_of_sdk", requests, ids=[request.name for request in requests])
