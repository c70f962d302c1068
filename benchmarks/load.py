"""A bounded HTTP load on loopback: requests made beforehand, one in flight a connection.

uvloop and a bare protocol, so that on two cores the generator costs about 15 µs a request.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import cast

import msgspec
import uvloop


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies in milliseconds; `rate` is requests answered a second."""

    requests: int
    seconds: float
    rate: float
    p50: float
    p99: float
    longest: float
    statuses: dict[str, int]
    late: int = 0  # paced requests that were sent over 5 ms after their time


class _Connection(asyncio.Protocol):
    def __init__(self, owner: "_Generator") -> None:
        self._owner = owner
        self._sent = 0.0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's has no such base

    def send(self, request: bytes, due: float | None = None) -> None:
        """A paced request counts from when it was due, so that waiting for a free connection
        is not left out (coordinated omission).
        """
        self._sent = time.perf_counter() if due is None else due
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        status = self._buffer[9:12].decode()
        self._buffer = b""
        self._owner.answered(self, status, time.perf_counter() - self._sent)

    def connection_lost(self, _: Exception | None) -> None:
        self._owner.lost(self)


class _Generator:
    def __init__(self, requests: Iterator[bytes], per_second: float | None) -> None:
        self._requests = requests
        self._per_second = per_second
        self._started = 0.0
        self._sent = 0
        self.latencies: list[float] = []
        self.statuses: dict[str, int] = {}
        self.late = 0
        self._open = 0
        self.done = asyncio.get_running_loop().create_future()

    async def run(self, ports: Sequence[int], connections: int) -> float:
        loop = asyncio.get_running_loop()
        made = [
            (await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port))[1]
            for port in itertools.islice(itertools.cycle(ports), connections)
        ]
        self._open = connections
        self._started = time.perf_counter()
        for connection in made:
            self._next(connection)
        await self.done
        return time.perf_counter() - self._started

    def answered(self, connection: _Connection, status: str, seconds: float) -> None:
        self.latencies.append(seconds * 1000)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self._next(connection)

    def lost(self, _: _Connection) -> None:
        if not self.done.done():
            self.statuses["lost"] = self.statuses.get("lost", 0) + 1
            self._ended()

    def _next(self, connection: _Connection) -> None:
        request = next(self._requests, None)
        if request is None:
            self._ended()
            return
        if self._per_second is None:
            connection.send(request)
            return
        due = self._started + self._sent / self._per_second
        self._sent += 1
        wait = due - time.perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, connection.send, request, due)
        else:
            self.late += wait < -0.005
            connection.send(request, due)

    def _ended(self) -> None:
        self._open -= 1
        if self._open == 0 and not self.done.done():
            self.done.set_result(None)


def post(path: str, key: str, body: bytes) -> bytes:
    """The bytes of one request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def run(
    ports: int | Sequence[int],
    requests: Sequence[bytes],
    *,
    connections: int,
    per_second: float | None = None,
) -> Load:
    """Sends all requests to 127.0.0.1, the connections shared out to the ports; as fast as
    answered, or paced.
    """
    of = [ports] if isinstance(ports, int) else ports

    async def go() -> Load:
        generator = _Generator(iter(requests), per_second)
        seconds = await generator.run(of, connections)
        return _summary(generator, seconds)

    return uvloop.run(go())


def _summary(generator: _Generator, seconds: float) -> Load:
    times = sorted(generator.latencies)
    return Load(
        requests=len(times),
        seconds=round(seconds, 3),
        rate=round(len(times) / seconds, 1),
        p50=round(times[len(times) // 2], 2),
        p99=round(times[int(len(times) * 0.99)], 2),
        longest=round(times[-1], 2),
        statuses=generator.statuses,
        late=generator.late,
    )
