"""Messages judged by the rules, and a small .mmdb file."""

import json
import struct
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from api.dialects.calls import CALLS, admit
from domain.tracking import Client, Refused

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def judge():
    """The bytes of one request -> what goes on the log."""

    def judged(body: bytes, path: str = "/v1/events"):
        call = CALLS[path]
        return admit(
            call,
            call.parse(body),
            received_at=NOW,
            client=Client("198.51.100.4", "edge"),
            new_id=lambda: "generated",
        )

    return judged


@pytest.fixture(scope="session")
def with_properties(judge):
    """The verdict on an event with these bytes as its properties, in both dialects."""

    def judged(properties: bytes):
        native = b'{"event_name":"E","user_id":"u","properties":' + properties + b"}"
        segment = b'{"event":"E","userId":"u","properties":' + properties + b"}"
        (one,), (other,) = judge(native), judge(segment, "/v1/track")
        assert type(one) is type(other)
        assert getattr(one, "field", None) == getattr(other, "field", None)
        return one

    return judged


@pytest.fixture(scope="session")
def refusal(judge):
    """Field and issue of a message that must be refused; the message is given as a dict."""

    def judged(said: dict[str, Any], path: str = "/v1/events") -> tuple[str, str]:
        (refused,) = judge(json.dumps(said).encode(), path)
        assert isinstance(refused, Refused), refused
        return refused.field, refused.issue

    return judged


# --- the MaxMind DB format, as little of it as a country database needs ------------------------
# https://maxmind.github.io/MaxMind-DB/


def encoded(value: Any) -> bytes:
    if isinstance(value, str):
        return _control(2, len(value.encode())) + value.encode()
    if isinstance(value, dict):
        members = b"".join(encoded(k) + encoded(v) for k, v in value.items())
        return _control(7, len(value)) + members
    if isinstance(value, list):
        return _control(11, len(value)) + b"".join(map(encoded, value))
    kind, size, number = value
    return _control(kind, size) + number.to_bytes(size, "big")


def uint16(number: int) -> tuple[int, int, int]:
    return 5, 2, number


def _control(kind: int, size: int) -> bytes:
    assert size < 29
    return bytes([kind << 5 | size]) if kind < 8 else bytes([size, kind - 7])


def tree_of(networks: dict[str, Any]) -> tuple[list[list[int]], bytes]:
    """Nodes of two records each; -1 where nothing is known, -2 - offset for data."""
    nodes, data = [[-1, -1]], b""
    for network, record in networks.items():
        address = ip_network(network)
        bits = f"{int(address.network_address):0{address.max_prefixlen}b}"[: address.prefixlen]
        at = 0
        for bit in bits[:-1]:
            if nodes[at][int(bit)] < 0:
                nodes.append([-1, -1])
                nodes[at][int(bit)] = len(nodes) - 1
            at = nodes[at][int(bit)]
        nodes[at][int(bits[-1])] = -2 - len(data)
        data += encoded(record)
    return nodes, data


@pytest.fixture
def country_database(tmp_path):
    """Writes an IPv4 .mmdb of these networks and returns its path."""

    def written(networks: dict[str, Any], build_epoch: int = 1_700_000_000) -> Path:
        nodes, data = tree_of(networks)
        count = len(nodes)
        records = [
            r if r >= 0 else count if r == -1 else count + 16 - r - 2
            for node in nodes
            for r in node
        ]
        tree = b"".join(struct.pack("!I", record) for record in records)
        metadata = {
            "node_count": (6, 4, count),
            "record_size": uint16(32),
            "ip_version": uint16(4),
            "database_type": "Test-Country",
            "binary_format_major_version": uint16(2),
            "binary_format_minor_version": uint16(0),
            "build_epoch": (9, 8, build_epoch),
            "languages": ["en"],
            "description": {"en": "test"},
        }
        path = tmp_path / f"{build_epoch}.mmdb"
        mark = b"\xab\xcd\xefMaxMind.com"
        path.write_bytes(tree + bytes(16) + data + mark + encoded(metadata))
        return path

    return written
