"""The one process that owns the embedded analytics engine, serving ClickHouse's HTTP interface.

chDB locks its directory against every other process, even readers; behind this host the API, the
projector and rebuilds are clients, and a ClickHouse server or cluster is only another URL.
"""

import contextlib
import hmac
import json
import os
import signal
import socket
import sys
import threading
from base64 import b64decode
from binascii import Error as BadBase64
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import structlog

from infrastructure.engine_host.connections import MEBIBYTE, Connections, Limits, Outcome
from infrastructure.engine_host.requests import (
    READONLY,
    EngineError,
    Statement,
    inflated,
    statement,
)
from infrastructure.settings import Settings
from infrastructure.telemetry import set_up_logs

AUTHENTICATION_FAILED = 516
_STATUS = {60: 404, 81: 404, 62: 400, 36: 400, 164: 403, 159: 408, 516: 403, 202: 500}
_CHUNK_LINE = 64

log = structlog.get_logger(__name__)

# Time zones of buckets are worked out before a query, so the engine itself knows UTC only.
_CONFIGURATION = """<clickhouse>
    <max_server_memory_usage>{memory}</max_server_memory_usage>
    <mark_cache_size>268435456</mark_cache_size>
    <timezone>UTC</timezone>
</clickhouse>
"""


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; then finishes what is running, within shutdown_seconds."""
    set_up_logs(settings, "engine")
    at = urlsplit(settings.analytics_url)
    limits = Limits(settings.heavy_queries, settings.query_seconds, settings.query_memory_mib)
    os.chdir(settings.data)
    connections = Connections(_address(limits), limits)
    server = _Server((at.hostname or "127.0.0.1", at.port or 8123), _Handler)
    server.connections = connections
    server.user = unquote(at.username or "default")
    server.password = unquote(at.password or "")
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for serve_forever(), which runs in the thread that takes the signal.
        signal.signal(signal_number, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("engine ready", port=server.server_port)
    try:
        server.serve_forever(poll_interval=0.1)
    finally:
        server.server_close()
        connections.close(settings.shutdown_seconds)


def _address(limits: Limits) -> str:
    """ChDB's connection string, relative to the current directory, because it would read some
    characters of a path as its own. The server's limit is what the allowed queries may take
    together, and room for inserts and merges, but never more than four fifths of the machine.
    """
    wanted = (limits.heavy * limits.query_memory_mib + 2048) * MEBIBYTE
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    Path("engine.xml").write_text(_CONFIGURATION.format(memory=min(wanted, machine * 4 // 5)))
    return "engine?config-file=engine.xml"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    connections: Connections
    user: str
    password: str

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  socketserver's
        log.debug("client went away", client=str(client_address), reason=repr(sys.exception()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet
    server: _Server

    def do_GET(self) -> None:
        if self.path in ("/", "/ping", "/replicas_status"):
            self._send(200, b"Ok.\n", {})
        else:
            self._answer(read_only=True)

    def do_POST(self) -> None:
        self._answer(read_only=False)

    def _answer(self, *, read_only: bool) -> None:
        try:
            self._authenticate()
            wanted = self._statement(read_only=read_only)
            outcome = self.server.connections.run(wanted, self._client_is_gone)
        except EngineError as error:
            self._refuse(error)
        else:
            self._send(200, outcome.body, _headers(wanted, outcome))

    def _authenticate(self) -> None:
        given = parse_qs(urlsplit(self.path).query)
        user = self.headers.get("X-ClickHouse-User") or given.get("user", ["default"])[0]
        password = self.headers.get("X-ClickHouse-Key") or given.get("password", [""])[0]
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            with contextlib.suppress(BadBase64, UnicodeDecodeError):
                user, _, password = b64decode(token).decode().partition(":")
        expected = f"{self.server.user}:{self.server.password}".encode()
        if not hmac.compare_digest(f"{user}:{password}".encode(), expected):
            self.close_connection = True  # its body has not been read
            message = "Code: 516. DB::Exception: Authentication failed. (AUTHENTICATION_FAILED)"
            raise EngineError(AUTHENTICATION_FAILED, message)

    def _statement(self, *, read_only: bool) -> Statement:
        body = inflated(self._body(), self.headers.get("Content-Encoding", ""))
        headers = {name.lower(): value for name, value in self.headers.items()}
        wanted = statement(self.path, headers, body)
        if read_only and not wanted.reads:
            message = "Code: 164. DB::Exception: GET only reads. (READONLY)"
            raise EngineError(READONLY, message)
        if wanted.data_format and self._client_is_gone():
            # Its successor may have looked for these rows already and be sending them again.
            raise ConnectionAbortedError
        return wanted

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self._exactly(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(_CHUNK_LINE).partition(b";")[0], 16):
            chunks.append(self._exactly(size))
            self.rfile.readline(_CHUNK_LINE)
        self.rfile.readline(_CHUNK_LINE)
        return b"".join(chunks)

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionAbortedError
        return data

    def _client_is_gone(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _refuse(self, error: EngineError) -> None:
        headers = {"X-ClickHouse-Exception-Code": str(error.code)}
        self._send(_STATUS.get(error.code, 500), error.message.encode() + b"\n", headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are not logged: statements hold personal data."""


def _headers(wanted: Statement, outcome: Outcome) -> dict[str, str]:
    summary = {
        "read_rows": str(outcome.read_rows),
        "read_bytes": str(outcome.read_bytes),
        "written_rows": str(outcome.written_rows),
        "written_bytes": str(outcome.written_bytes),
        "result_bytes": str(len(outcome.body)),
        "elapsed_ns": str(int(outcome.seconds * 1e9)),
    }
    return {
        "X-ClickHouse-Summary": json.dumps(summary),
        "X-ClickHouse-Format": wanted.answer_format,
    }
