"""Answers taken apart, raw sockets, and a second organisation."""

import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from commands import apps as commands
from infrastructure.event_store.recorder import AggregateStreams

Problem = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def problem() -> Problem:
    """`problem(answer, status, code, **details)`: the answer is this refusal, in the envelope that
    all have; returns its details.
    """

    def found(answer: httpx.Response, status: int, code: str, **details: object) -> dict[str, Any]:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert set(body) == {"error", "message", "code", "details"}
        assert body["code"] == code
        assert body["error"]
        assert body["message"]
        assert {name: body["details"].get(name) for name in details} == details
        return body["details"]

    return found


@pytest.fixture
def raw(http: httpx.Client) -> Callable[..., tuple[int, bytes]]:
    """Writes these bytes to the server's port, each part in its own packet, and reads until it
    closes or has answered; returns status and body. Status 0: it closed without an answer.
    """
    address = urlsplit(str(http.base_url))

    def sent(*parts: bytes, half_close: bool = False) -> tuple[int, bytes]:
        with socket.create_connection((address.hostname, address.port), timeout=20) as wire:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for part in parts:
                wire.sendall(part)
            if half_close:
                wire.shutdown(socket.SHUT_WR)
            return _answer(wire)

    return sent


def _answer(wire: socket.socket) -> tuple[int, bytes]:
    found = b""
    while b"\r\n\r\n" not in found:
        try:
            part = wire.recv(65536)
        except ConnectionError:
            return 0, b""
        if not part:
            return 0, b""
        found += part
    head, _, body = found.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"),
        0,
    )
    while len(body) < length and (part := wire.recv(65536)):
        body += part
    return status, body


@pytest.fixture
def post(raw: Callable[..., tuple[int, bytes]]) -> Callable[..., tuple[int, bytes]]:
    """One whole request by hand: `post(path, key, body)`."""

    def posted(path: str, key: str, body: bytes, *headers: str) -> tuple[int, bytes]:
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {key}",
            f"Content-Length: {len(body)}",
            *headers,
        ]
        return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return posted


@pytest.fixture
def other_organisation(
    settings_in_force: dict[str, str], new_tenant: Callable[..., Any]
) -> Iterator[str]:
    """The key of an organisation that has nothing to do with the instance's own."""
    streams = AggregateStreams(settings_in_force["APPIZER_DATABASE_URL"])

    def now() -> datetime:
        return datetime.now(UTC)

    try:
        made = commands.create_organisation(streams, now, "Another one")
        key = commands.issue_key(streams, now, made.id, kind="organisation").key
        new_tenant()  # answered once the read model has it, hence also what came before
        yield key
    finally:
        streams.close()
