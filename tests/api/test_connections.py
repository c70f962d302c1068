"""Whatever way a request comes over a connection, it is answered once, in order and alike."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest

PATH = "/v1/events"


@pytest.fixture
def wire(http):
    address = urlsplit(str(http.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=20) as made:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield made


@pytest.fixture
def request_of(tenant):
    def made(message_id, *headers, path=PATH, version="1.1", length=None):
        event = {"event_name": "E", "user_id": "u", "message_id": message_id}
        body = json.dumps(event).encode()
        lines = [
            f"POST {path} HTTP/{version}",
            "Host: localhost",
            f"Authorization: Bearer {tenant.write_key}",
            *([] if length == "" else [f"Content-Length: {len(body)}"]),
            *headers,
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n", body

    return made


def answers(wire, count):
    """(status, headers, body) of so many answers, and nothing after them."""
    found, rest = [], b""
    while len(found) < count:
        while b"\r\n\r\n" not in rest:
            part = wire.recv(65536)
            assert part, f"closed after {len(found)} answers"
            rest += part
        head, _, rest = rest.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", 0))
        while len(rest) < length:
            rest += wire.recv(65536)
        found.append((int(status.split()[1]), headers, rest[:length]))
        rest = rest[length:]
    assert rest == b""
    return found


def ids(tenant):
    return {event["message_id"] for event in tenant.events()}


def test_one_connection_takes_one_request_after_the_other(wire, request_of, tenant):
    for number in range(5):
        wire.sendall(b"".join(request_of(f"m{number}")))
        ((status, headers, body),) = answers(wire, 1)
        assert status == 202
        assert headers["content-type"] == "application/json"
        assert headers["access-control-allow-origin"] == "*"
        assert "date" in headers
        assert json.loads(body)["success"] is True
    assert ids(tenant) == {f"m{number}" for number in range(5)}


def test_requests_sent_without_waiting_are_answered_in_their_order(wire, request_of, tenant):
    """Two write paths, a question, a path that nobody has, and a write path again."""
    key = f"Authorization: Bearer {tenant.write_key}\r\n"
    wire.sendall(
        b"".join(request_of("first"))
        + b"".join(request_of("second", path="/v1/events/track"))
        + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        + f"GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\n{key}\r\n".encode()
        + b"".join(request_of("third"))
    )
    found = answers(wire, 5)
    assert [status for status, _, _ in found] == [202, 202, 200, 404, 202]
    assert ids(tenant) == {"first", "second", "third"}


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_request_in_small_pieces(wire, request_of, tenant, cut):
    whole = b"".join(request_of("pieces"))
    for start in range(0, len(whole), cut):
        wire.sendall(whole[start : start + cut])
    ((status, _, _),) = answers(wire, 1)
    assert status == 202
    assert ids(tenant) == {"pieces"}


def test_a_chunked_body(wire, request_of, tenant):
    head, body = request_of("chunked", "Transfer-Encoding: chunked", length="")
    wire.sendall(head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    ((status, _, _),) = answers(wire, 1)
    assert status == 202
    assert ids(tenant) == {"chunked"}


def test_a_sender_that_waits_to_be_told_to_go_on(wire, request_of, tenant):
    head, body = request_of("expects", "Expect: 100-continue")
    wire.sendall(head)
    assert wire.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.sendall(body)
    ((status, _, _),) = answers(wire, 1)
    assert status == 202
    assert ids(tenant) == {"expects"}


@pytest.mark.parametrize(
    ("version", "header"), [("1.1", "Connection: close"), ("1.0", "X-Nothing: here")]
)
def test_a_connection_that_is_to_close_is_closed(wire, request_of, tenant, version, header):
    wire.sendall(b"".join(request_of("last", header, version=version)))
    ((status, headers, _),) = answers(wire, 1)
    assert status == 202
    assert headers["connection"] == "close"
    assert wire.recv(1) == b""
    assert ids(tenant) == {"last"}


def test_a_refusal_leaves_the_connection_open(wire, request_of, tenant):
    head, body = request_of("good")
    wire.sendall(head.replace(tenant.write_key.encode(), b"nonsense") + body)
    ((status, _, _),) = answers(wire, 1)
    assert status == 401
    wire.sendall(head + body)
    ((status, _, _),) = answers(wire, 1)
    assert status == 202


def test_a_sender_that_hangs_up_before_the_answer_has_still_sent_it(wire, request_of, tenant):
    wire.sendall(b"".join(request_of("gone")))
    wire.close()
    for _ in range(200):
        if ids(tenant) == {"gone"}:
            return
        time.sleep(0.05)
    pytest.fail("what was sent whole is not there")


def test_a_length_that_is_too_large_is_refused_before_the_body_comes(wire, request_of):
    head, _ = request_of("large")
    head = head.replace(b"Content-Length: ", b"Content-Length: 99999")
    wire.sendall(head)
    ((status, _, _),) = answers(wire, 1)
    assert status == 413
