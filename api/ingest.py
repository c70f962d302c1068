"""The hot path: raw ASGI, because a framework handler per request would halve the rate.

One request, in order: read, key, parse, admit, take, answer. api/openapi.py documents the routes.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import HTTPScope, Receive, Scope, Send
from prometheus_client import Counter

from api.auth import check_origin, key_in, require
from api.body import open_body
from api.dialects.calls import CALLS, admit
from api.dialects.request import Answer
from api.errors import Problem, headers_of, problem_of, status_of
from commands.ingest import Outcome, take
from domain.errors import AppizerError, TooLarge
from domain.limits import MAX_REQUEST_BYTES
from domain.tracking import Client
from infrastructure.bootstrap import Services
from projections.apps import Caller

_log = structlog.get_logger()
_received = Counter("appizer_ingest_messages", "Messages by what became of them", ["status"])
_encode = msgspec.json.Encoder().encode
_reader = ThreadPoolExecutor(1, thread_name_prefix="long bodies")
_LONG_BYTES = 256 * 1024  # a thread costs more than reading an ordinary batch of 100
T = TypeVar("T")

_JSON = (b"content-type", b"application/json")
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"Retry-After"),
]
PREFLIGHT = [
    *_CORS,
    (b"access-control-allow-methods", b"GET, POST, OPTIONS"),
    (
        b"access-control-allow-headers",
        # `*` is for whatever an SDK adds next; it does not cover authorization.
        b"*, authorization, content-type, content-encoding, x-api-key, anonymousid, sentat",
    ),
    (b"access-control-max-age", b"86400"),
    (b"content-length", b"0"),
]
_FAULT = Problem(
    error="Internal Server Error",
    message="this is our fault; it was logged",
    code="INTERNAL_ERROR",
)


class _Gone(Exception):
    """The sender hung up before the body was whole."""


class Request(NamedTuple):
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    peer: str | None

    def header(self, name: bytes) -> str | None:
        return next((v.decode("latin-1") for n, v in self.headers if n == name), None)


def ingest_route(services: Services) -> ASGIRouteHandler:
    """All write paths of all dialects, and their preflights."""

    @asgi(sorted(CALLS), copy_scope=False)
    async def ingest(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == ScopeType.HTTP
        await _serve(services, scope, receive, send)

    return ingest


async def _serve(services: Services, scope: HTTPScope, receive: Receive, send: Send) -> None:
    if scope["method"] == "OPTIONS":
        await _send(send, 204, PREFLIGHT, b"")
        return
    if scope["method"] != "POST":
        problem = Problem(
            error="Method Not Allowed", message="send it with POST", code="METHOD_NOT_ALLOWED"
        )
        await _reply(send, Answer(405, _encode(problem)), {"allow": "POST, OPTIONS"})
        return
    try:
        answer = await _take(services, _request(scope), receive)
        await _reply(send, answer, {})
    except AppizerError as error:
        await _reply(send, Answer(status_of(error), _encode(problem_of(error))), headers_of(error))
    except _Gone:
        return
    except Exception:  # noqa: BLE001  the last line before the sender: logged, and told as ours
        _log.exception("ingest failed", path=scope["path"])
        await _reply(send, Answer(500, _encode(_FAULT)), {})


async def _take(services: Services, request: Request, receive: Receive) -> Answer:
    call = CALLS[request.path]
    body = open_body(await _read(receive), request.header(b"content-encoding"))
    key = key_in(request.headers, request.query)
    caller = await services.callers.find(key) if key else None
    is_long = len(body) > _LONG_BYTES
    parsed = await _aside(call.parse, body) if is_long else call.parse(body)
    caller = caller or await services.callers.find(parsed.write_key)
    app = _allowed(caller, request)
    judge = partial(
        admit,
        call,
        parsed,
        received_at=services.clock(),
        client=_client(services, request),
        new_id=_new_id,
    )
    outcomes = await take(services.log, app, await _aside(judge) if is_long else judge())
    _count(outcomes)
    return call.answer(outcomes)


async def _aside(work: Callable[..., T], *given: object) -> T:
    """Beside the event loop, one at a time: 4 MB of what is dearest to read takes five seconds,
    in which others shall not wait.
    """
    return await asyncio.get_running_loop().run_in_executor(_reader, work, *given)


def _request(scope: HTTPScope) -> Request:
    peer = scope["client"]
    return Request(
        scope["path"].rstrip("/"),
        scope["query_string"],
        list(scope["headers"]),
        peer[0] if peer else None,
    )


async def _read(receive: Receive) -> bytes:
    message = await receive()
    parts: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        body = message["body"]
        if not message["more_body"]:
            return b"".join((*parts, body)) if parts else body
        parts.append(body)
        size += len(body)
        if size > MAX_REQUEST_BYTES:
            raise TooLarge(
                f"a request may have {MAX_REQUEST_BYTES} bytes; send less at once",
                limit_bytes=MAX_REQUEST_BYTES,
            )
        message = await receive()
    raise _Gone


def _allowed(caller: Caller, request: Request) -> UUID:
    require(caller, "ingest")
    check_origin(caller, request.header(b"origin"))
    assert caller.app_id is not None  # only an app's keys may ingest
    return caller.app_id


def _new_id() -> str:
    return os.urandom(16).hex()


def _client(services: Services, request: Request) -> Client:
    settings = services.settings
    country = request.header(settings.country_header.encode())
    return Client(
        ip=_address(request, settings.trusted_proxies),
        user_agent=request.header(b"user-agent"),
        country=country.upper() if country and len(country) == 2 and country.isalpha() else None,  # noqa: PLR2004  ISO 3166-1 alpha-2
    )


def _address(request: Request, trusted_proxies: int) -> str | None:
    """Each trusted proxy appends the address that it saw, so the sender's stands that many from
    the right; what is left of it the sender may have made up.
    """
    if trusted_proxies:
        # Some proxies append a line, others a word; the order is the same (RFC 9110, 5.3).
        lines = [v.decode("latin-1") for n, v in request.headers if n == b"x-forwarded-for"]
        forwarded = ",".join(lines).split(",")
        if len(forwarded) >= trusted_proxies:
            return forwarded[-trusted_proxies].strip() or request.peer
    return request.peer


def _count(outcomes: Sequence[Outcome]) -> None:
    statuses = [outcome.status for outcome in outcomes]
    for status in set(statuses):
        _received.labels(status).inc(statuses.count(status))


async def _reply(send: Send, answer: Answer, headers: dict[str, str]) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    await _send(send, answer.status, [_JSON, length, *_CORS, *extra], answer.body)


async def _send(
    send: Send, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
