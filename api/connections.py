"""What a connection is held to: whatever it sends is HTTP and comes whole in time, answers are
taken, and there is only so much of everything. Who breaks that is told so and let go.

uvicorn bounds the pause between two requests alone, with a timer for each. Here one watch looks at
all connections once a second, so a request costs no timer.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

import httptools
import structlog
from prometheus_client import Counter, Gauge
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import OUR_FAULT, Problem
from api.reply import Reply, problem_reply, refusal, written
from domain.errors import Overloaded, Rejected, TooLarge
from domain.limits import MAX_REQUEST_BYTES

MAX_HEAD_BYTES = 64 * 1024
_MOST_BYTES = 4 * MAX_REQUEST_BYTES  # of a request with the marks of its chunks
_SPARE = 100  # so many are told that there is no room; the others are cut off

BETWEEN, HEAD, BODY = range(3)

_log = structlog.get_logger()
_open = Gauge("appizer_http_connections", "Connections that are open")
_cut = Counter("appizer_http_connections_cut", "Connections that were cut off", ["reason"])


class Patience(NamedTuple):
    """In ticks of the watch, which are seconds."""

    idle: int = 75  # between two requests; longer than proxies keep theirs (nginx: 60)
    head: int = 10  # from a request's first byte to the end of its header, and before the first
    pause: int = 30  # without a byte of the body
    whole: int = 300  # from a request's first byte to its last
    unread: int = 60  # without a byte of the answer's being taken; systems take them in large steps
    farewell: int = 2  # for the sender to hang up after it was told to


class Watch:
    """`most`: how many connections may be open. `now` counts ticks and not the clock's seconds: a
    process that stood still must not hold that against those who were sending.
    """

    def __init__(self, most: int, patience: Patience | None = None, tick: float = 1.0) -> None:
        self.most = most
        self.patience = patience or Patience()
        self.now = 0
        self.refused = 0
        self._tick = tick

    async def keep(self, connections: Iterable[asyncio.Protocol]) -> None:
        """For ever. `connections`: uvicorn's own set of them."""
        while True:
            await asyncio.sleep(self._tick)
            self.now += 1
            every = [one for one in connections if isinstance(one, Connection)]
            _open.set(len(every))
            for connection in every:
                self._look(connection)
            if self.refused:
                _log.warning("too many connections", open=len(every), refused=self.refused)
                self.refused = 0

    def _look(self, connection: "Connection") -> None:
        try:
            connection.look(self.now)
        except Exception:  # noqa: BLE001  a fault with one must not end the watch over the others
            _log.exception("a connection could not be looked after")
            connection.transport.abort()


class Connection(HttpToolsProtocol):
    """`reading`: where in a request the sender is. `began`: the tick of that request's first byte;
    between two, of the last time that something was to be answered.
    """

    watch: Watch
    cycle: Any  # uvicorn's, or what stands in its place

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reading = BETWEEN
        self.began = self._heard = self._drained = self.watch.now
        self._bytes = self._packet = self._unread = 0
        self._silence = self.watch.patience.head  # how long nothing may come between requests
        self._leaving = False
        self._last_word: bytes | None = None

    # --- from the socket -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        over = len(self.connections) - self.watch.most
        if over <= 0:
            return
        self.watch.refused += 1
        _cut.labels("full").inc()
        if over > _SPARE:
            transport.abort()
            return
        self._leaving = True  # it is told with its first bytes: a proxy takes no answer before
        self._last_word = self._written(refusal(Overloaded("too many connections; try again")))

    def data_received(self, data: bytes) -> None:
        if self._leaving:
            self._take_leave()
            return
        self._heard = self.watch.now
        self._packet = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # it is answered; what follows is not HTTP/1.1
            self._leaving = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._turn_away(_malformed(error), "malformed")
        else:
            if self.reading != BETWEEN:
                self._bytes += self._packet
                self._check_size()

    def _check_size(self) -> None:
        if self.reading == HEAD and self._bytes > MAX_HEAD_BYTES:
            self._turn_away(_large_head(), "malformed")
        elif self._bytes > _MOST_BYTES:
            error = TooLarge("the request does not end", limit_bytes=MAX_REQUEST_BYTES)
            self._turn_away(refusal(error), "malformed")

    # --- from the parser -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.begin()
        super().on_message_begin()

    def begin(self) -> None:
        self.reading = HEAD
        self.began = self.watch.now
        self._silence = self.watch.patience.idle
        self._bytes = -self._packet  # what began in the middle of it: it may be another's

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.reading = BODY

    def on_message_complete(self) -> None:
        self.reading = BETWEEN
        super().on_message_complete()

    # --- from the cycle --------------------------------------------------------------------

    def on_response_complete(self) -> None:
        """uvicorn's, without its timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._leaving:
            self._take_leave()

    # --- from the watch --------------------------------------------------------------------

    def look(self, now: int) -> None:
        patience = self.watch.patience
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread:
            self._drained = now
        self._unread = unread
        if now - self._drained > patience.unread:
            _cut.labels("stuck").inc()
            self.transport.abort()
        elif unread or self.flow.read_paused or (self.reading != BODY and self._in_flight()):
            self.began = self._heard = now  # it is for us to go on
        elif self._leaving or self.reading == BETWEEN:
            if now - self.began > (patience.farewell if self._leaving else self._silence):
                self.transport.close()
        elif self._is_late(now):
            self._turn_away(_TOO_SLOW, "slow")

    def _is_late(self, now: int) -> bool:
        since, patience = now - self.began, self.watch.patience
        if self.reading == HEAD:
            return since > patience.head
        return now - self._heard > patience.pause or since > patience.whole

    # --- the end ---------------------------------------------------------------------------

    def _turn_away(self, answer: Reply, reason: str) -> None:
        _cut.labels(reason).inc()
        self._leaving = True
        self.began = self.watch.now
        self._last_word = self._written(answer)
        if self.reading == BODY:
            self._give_up()
        self._take_leave()

    def _give_up(self) -> None:
        """The request whose body does not come. One that is answered already gets no second
        answer, and one that waits behind another takes that along.
        """
        if self.pipeline or self.cycle.response_started:
            self.transport.close()
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self.cycle = None

    def _take_leave(self) -> None:
        """Once all answers before it are given. The sender's half stays open a little: bytes that
        are not read would take the answer from the sender (RFC 9112, section 9.6).
        """
        if self._last_word is None or self._in_flight() or self.transport.is_closing():
            return
        self.transport.write(self._last_word)
        self.transport.write_eof()
        self._last_word = None

    def _in_flight(self) -> bool:
        return bool(self.pipeline) or not (self.cycle is None or self.cycle.response_complete)

    def _written(self, answer: Reply) -> bytes:
        return written(answer, self.server_state.default_headers, keep_alive=False)


def _malformed(error: httptools.HttpParserError) -> Reply:
    """What a callback of ours raised is a fault of ours, but for an address that can't be read."""
    cause = error.__context__
    if cause is None or isinstance(cause, (httptools.HttpParserError, UnicodeError)):
        issue = str(error).lower() if cause is None else "its address can't be read"
        return refusal(Rejected("request", f"is not valid HTTP: {issue}"))
    _log.error("a request could not be read", exc_info=error)
    return problem_reply(500, OUR_FAULT)


def _large_head() -> Reply:
    problem = Problem(
        error="Request Header Fields Too Large",
        message=f"the header of a request may have {MAX_HEAD_BYTES} bytes",
        code="REQUEST_TOO_LARGE",
        details={"limit_bytes": MAX_HEAD_BYTES},
    )
    return problem_reply(431, problem)


_TOO_SLOW = problem_reply(
    408,
    Problem(
        error="Request Timeout",
        message="the request did not come whole in time; send it again",
        code="REQUEST_TIMEOUT",
    ),
    {"retry-after": "1"},
)
