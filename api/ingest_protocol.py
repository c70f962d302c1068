"""The write paths straight from the socket.

An ASGI message, a scope, a routing tree and two middlewares cost a small request more than
checking and storing it does (docs/adr/0011-straight-from-the-socket.md has the figures). So a plain
POST to a write path, with its length told beforehand, is answered here; everything else takes
uvicorn's ordinary way, on the same connection and in order.
"""

import asyncio
from typing import Any

from api.connections import BETWEEN, BODY, Connection, Watch
from api.dialects.calls import CALLS
from api.ingest import Respond, request_of
from api.reply import Headers, written
from domain.limits import MAX_REQUEST_BYTES

_PATHS = {path.encode(): path for path in CALLS}
_ORDINARY = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"connection"))


def http_protocol(watching: Watch, respond: Respond | None = None) -> type[asyncio.Protocol]:
    """For uvicorn.Config(http=...). Without `respond` all goes to the application."""
    if respond is None:
        return type("Bound", (Connection,), {"watch": watching})
    bound = {"watch": watching, "_respond": staticmethod(respond)}
    return type("Bound", (IngestProtocol,), bound)


class _Exchange:
    """Stands where uvicorn has its request cycle, as far as the protocol looks into that."""

    __slots__ = ("body", "disconnected", "keep_alive", "message_event", "path", "query")

    response_started = False
    response_complete = False

    def __init__(self, path: str, query: bytes, message_event: asyncio.Event) -> None:
        self.path = path
        self.query = query
        self.body: list[bytes] = []
        self.keep_alive = True
        self.disconnected = False
        self.message_event = message_event


class _Done(_Exchange):
    __slots__ = ()
    response_complete = True


class IngestProtocol(Connection):
    """One connection. A request that comes while another is answered waits, as uvicorn has it:
    the exchange in flight is its cycle.
    """

    _respond: Respond

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._event = asyncio.Event()  # nobody waits for it; connection_lost sets it
        self._done = _Done("", b"", self._event)
        self._making: _Exchange | None = None

    def on_message_begin(self) -> None:
        self.begin()
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._making = None

    def on_headers_complete(self) -> None:
        self._making = self._exchange()
        if self._making is not None:
            self.cycle = self._making
            self.reading = BODY
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the scope, which shares its list of headers
        self.url = url
        self.headers.extend(headers)
        self.expect_100_continue = expects
        super().on_headers_complete()

    def _exchange(self) -> _Exchange | None:
        """None: it goes the ordinary way."""
        raw, _, query = self.url.partition(b"?")
        path = _PATHS.get(raw)
        if path is None or self.parser.get_method() != b"POST":
            return None
        if self.cycle is not None and not self.cycle.response_complete:
            return None  # pipelined
        if not self._is_plain() or self.parser.get_http_version() != "1.1":
            return None
        return _Exchange(path, query, self._event)

    def _is_plain(self) -> bool:
        """The connection stays open, the body comes by itself and in one known length."""
        length = -1
        for name, value in self.headers:
            if name in _ORDINARY and value.lower() != b"keep-alive":
                return False
            if name == b"content-length":
                length = int(value)
        return 0 <= length <= MAX_REQUEST_BYTES

    def on_body(self, body: bytes) -> None:
        if self._making is None:
            super().on_body(body)
        else:
            self._making.body.append(body)

    def on_message_complete(self) -> None:
        exchange = self._making
        if exchange is None:
            super().on_message_complete()
            return
        self._making = None
        self.reading = BETWEEN
        task = self.loop.create_task(self._answer(exchange, self.headers))
        self.tasks.add(task)  # a graceful stop waits for it
        task.add_done_callback(self.tasks.discard)

    async def _answer(self, exchange: _Exchange, headers: Headers) -> None:
        peer = self.client[0] if self.client else None
        body = exchange.body[0] if len(exchange.body) == 1 else b"".join(exchange.body)
        request = request_of(exchange.path, exchange.query, headers, peer)
        reply = await self._respond(request, body)
        if self.cycle is exchange:
            self.cycle = self._done
        if exchange.disconnected or self.transport.is_closing():
            return
        if self.flow.write_paused:
            await self.flow.drain()  # a sender that does not read its answers
        defaults = self.server_state.default_headers
        self.transport.write(written(reply, defaults, keep_alive=exchange.keep_alive))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()
