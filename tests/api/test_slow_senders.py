"""Who does not send, does not read, sends no HTTP or comes when all is full is told and let go."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from typing import NamedTuple

import pytest
import uvicorn
import uvloop

from api.connections import Patience, Watch
from api.dialects.request import Answer
from api.ingest_protocol import http_protocol
from api.reply import Reply, reply

TICK = 0.05
PATIENCE = Patience(idle=30, head=6, pause=6, whole=16, unread=80, farewell=3)
MOST = 4

DIRECT = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
ORDINARY = b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"


async def respond(_request, body) -> Reply:
    if body == b"hold  hold":
        await asyncio.sleep(TICK * 10)
    return reply(Answer(202, b'{"bytes": %d}' % len(body)))


async def application(scope, receive, send):
    size = 0
    message = await receive()
    while message["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
        message = await receive()
    else:
        return
    body = b"x" * 50_000_000 if scope["path"] == "/large" else str(size).encode()
    length = str(len(body)).encode()
    headers = [(b"content-length", length)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Served(NamedTuple):
    port: int
    watch: Watch
    connections: set


@pytest.fixture(scope="module")
def served():
    """A server in a thread, with a second that lasts a twentieth."""
    watch = Watch(MOST, PATIENCE, TICK)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http=http_protocol(watch, respond), ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)

    async def serve():
        watching = asyncio.create_task(watch.keep(server.server_state.connections))
        await server.serve([listener])
        watching.cancel()

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    yield Served(listener.getsockname()[1], watch, server.server_state.connections)
    server.should_exit = True
    thread.join()


@pytest.fixture
def connect(served):
    made = []

    def connected():
        one = socket.create_connection(("127.0.0.1", served.port), timeout=10)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.append(one)
        return one

    yield connected
    for one in made:
        one.close()
    until(lambda: not served.connections)


def until(holds, seconds=5.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def rest_of(wire) -> bytes:
    """All until the server closes."""
    found = b""
    while part := wire.recv(65536):
        found += part
    return found


def told(wire) -> tuple[int, dict]:
    """The one answer that is there before the server closes, in the envelope of all refusals."""
    head, _, body = rest_of(wire).partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/json" in lines
    assert b"connection: close" in lines
    problem = json.loads(body)
    assert set(problem) == {"error", "message", "code", "details"}
    return int(lines[0].split()[1]), problem


def seconds_until_cut_off(wire, drop, pause=TICK * 3) -> float:
    """How long such drops can be sent."""
    began = time.monotonic()
    with contextlib.suppress(OSError):  # a pipe that broke or a reset, as the system has it
        while time.monotonic() - began < 10:
            wire.sendall(drop)
            time.sleep(pause)
    return time.monotonic() - began


HALVES = {
    "a line": b"POST /v1/ev",
    "a header": b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-",
    "half a body": DIRECT + b"12345",
    "no body": DIRECT,
    "half a body, ordinary": ORDINARY + b"12345",
    "no body, ordinary": ORDINARY,
    "half a chunk": CHUNKED + b"a\r\n12345",
    "a chunk and no end": CHUNKED + b"a\r\n1234567890\r\n",
}


@pytest.mark.parametrize("half", HALVES.values(), ids=HALVES)
def test_half_a_request_is_given_up(connect, half):
    wire = connect()
    wire.sendall(half)
    status, problem = told(wire)
    assert (status, problem["code"]) == (408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize("half", ["a line", "half a body", "half a body, ordinary"])
@pytest.mark.parametrize("before", [DIRECT + b"1234567890", ORDINARY + b"1234567890"])
def test_half_a_request_after_a_whole_one_is_given_up(connect, half, before):
    wire = connect()
    wire.sendall(before)
    assert wire.recv(65536).startswith(b"HTTP/1.1 20")
    wire.sendall(HALVES[half])
    status, problem = told(wire)
    assert (status, problem["code"]) == (408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", DIRECT, ORDINARY, CHUNKED])
def test_a_request_in_drops_is_given_up(connect, start):
    """Each byte comes soon after the last one."""
    wire = connect()
    wire.sendall(start)
    drop = b"1\r\n0\r\n" if start is CHUNKED else b"0"
    assert seconds_until_cut_off(wire, drop) < 60


def test_a_slow_body_that_goes_on_is_taken(connect):
    wire = connect()
    wire.sendall(DIRECT)
    for start in range(0, 10, 5):
        time.sleep(TICK * 4)
        wire.sendall(b"1234567890"[start : start + 5])
    assert wire.recv(65536).endswith(b'{"bytes": 10}')


@pytest.mark.parametrize("sent", [b"", DIRECT + b"1234567890", b"\r\n\r\n"])
def test_a_connection_without_a_request_is_closed(connect, served, sent):
    wire = connect()
    wire.sendall(sent)
    began = served.watch.now
    rest = rest_of(wire)
    waited = served.watch.now - began
    if sent.strip():
        assert rest.count(b"HTTP/1.1") == 1
        assert waited >= PATIENCE.idle - 2
    else:
        assert rest == b""
        assert PATIENCE.head - 2 <= waited < PATIENCE.idle - 2


def test_half_a_request_behind_one_that_is_still_answered(connect):
    wire = connect()
    wire.sendall(DIRECT + b"hold  hold" + DIRECT + b"123")
    first, second = rest_of(wire).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"202")
    assert second.startswith(b"408")


def test_what_is_no_http_behind_a_request_is_answered_after_it(connect):
    wire = connect()
    wire.sendall(DIRECT + b"hold  hold" + b"RUBBISH\r\n\r\n")
    first, second = rest_of(wire).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"202")
    assert second.startswith(b"400")


def test_answers_that_nobody_reads_are_given_up(served):
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.connect(("127.0.0.1", served.port))
        wire.sendall(LARGE)
        until(lambda: served.connections)
        until(lambda: not served.connections)


def test_an_answer_that_is_read_slowly_comes_whole(served):
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        wire.settimeout(10)
        wire.connect(("127.0.0.1", served.port))
        wire.sendall(LARGE)
        size = 0
        for _ in range(30):
            time.sleep(TICK)
            for _ in range(10):
                size += len(wire.recv(1_000_000))
        assert size + len(rest_of(wire)) > 50_000_000
    until(lambda: not served.connections)


MALFORMED = {
    "nonsense": b"RUBBISH\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nBad Header\r\n\r\n",
    "a length in words": b"POST / HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a version of the future": b"GET / HTTP/3.7\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an address that is none": b"GET http:/// HTTP/1.1\r\n\r\n",
    "an address in Latin-1": b"GET /\xe9 HTTP/1.1\r\n\r\n",
    "a chunk without a size": CHUNKED + b"ZZ\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_http_is_refused_in_the_envelope_of_all(connect, sent):
    wire = connect()
    wire.sendall(sent)
    status, problem = told(wire)
    assert (status, problem["code"]) == (400, "INVALID_REQUEST")
    assert problem["details"]["field"] == "request"


def test_a_header_without_end_is_refused(connect):
    wire = connect()
    wire.sendall(b"GET / HTTP/1.1\r\nX: ")
    assert seconds_until_cut_off(wire, b"x" * 65536, pause=0) < 5


@pytest.mark.parametrize("sent", [b"x" * 400_000, b"a: b\r\n" * 70_000])
def test_a_header_that_is_too_large_is_told_so(connect, sent):
    wire = connect()
    wire.sendall(b"GET / HTTP/1.1\r\nX: " + sent)
    status, problem = told(wire)
    assert (status, problem["code"]) == (431, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("piece", [b"x" * 4_000, b"a: b\r\n" * 700])
def test_a_header_that_grows_in_small_pieces_is_told_so(connect, piece):
    wire = connect()
    wire.sendall(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(20):
        time.sleep(TICK / 10)  # in a packet of its own
        wire.sendall(piece)
    assert told(wire)[0] == 431


def test_large_bodies_one_behind_the_other_count_on_no_header(connect):
    """Where the second header begins in the packet that the first body ends in."""
    whole = DIRECT.replace(b"10", b"3000000") + b"x" * 3_000_000
    wire = connect()
    sender = threading.Thread(target=wire.sendall, args=(whole * 3,))
    sender.start()
    found = b""
    while found.count(b"3000000") < 3:
        part = wire.recv(65536)
        assert part
        found += part
    sender.join()


def test_who_comes_when_all_is_full_is_told_to_come_again(connect, served):
    for _ in range(MOST):
        connect()
    until(lambda: len(served.connections) == MOST)
    late = connect()
    late.sendall(DIRECT + b"1234567890")
    status, problem = told(late)
    assert (status, problem["code"]) == (503, "UNAVAILABLE")
    assert problem["details"] == {"retry_after": 1}


def test_who_says_nothing_when_all_is_full_is_closed(connect, served):
    for _ in range(MOST):
        connect()
    until(lambda: len(served.connections) == MOST)
    began = served.watch.now
    assert rest_of(connect()) == b""
    assert served.watch.now - began < PATIENCE.idle / 2


def test_an_upgrade_is_answered_as_it_is_and_the_connection_closed(connect):
    wire = connect()
    upgrade = b"GET /other HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    wire.sendall(upgrade)
    head = rest_of(wire).split(b"\r\n")
    assert head[0] == b"HTTP/1.1 200 OK"
    assert b"connection: close" in head
