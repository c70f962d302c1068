"""The hot path: one request, in order: key, open, parse, admit, take, answer.

api/ingest_protocol.py calls it straight from the socket; the ASGI route here takes what that leaves
over (chunked bodies, preflights, other servers). api/openapi.py documents the routes.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple, TypeVar, get_args
from uuid import UUID

import structlog
from litestar.enums import ScopeType
from litestar.handlers import ASGIRouteHandler, asgi
from litestar.types import HTTPScope, Receive, Scope, Send
from prometheus_client import Counter

from api.auth import check_origin, key_in, require
from api.body import open_body
from api.dialects.calls import CALLS, admit
from api.dialects.request import Answer
from api.errors import OUR_FAULT
from api.reply import Headers, Reply, problem_reply, refusal, reply, send_reply
from commands.ingest import Outcome, Status, take
from domain.errors import AppizerError, Rejected, TooLarge
from domain.limits import MAX_REQUEST_BYTES
from domain.tracking import Client
from infrastructure.bootstrap import Adapters
from projections.apps import Caller

_log = structlog.get_logger()
_received = Counter("appizer_ingest_messages", "Messages by what became of them", ["status"])
_counters = {status: _received.labels(status) for status in get_args(Status)}
_reader = ThreadPoolExecutor(1, thread_name_prefix="long bodies")
_LONG_BYTES = 256 * 1024  # a thread costs more than reading an ordinary batch of 100
_NO_PERSON = "is part of another route here; name the person by another of their ids"
T = TypeVar("T")


class _Gone(Exception):
    """The sender hung up before the body was whole."""


class Request(NamedTuple):
    """`headers`: names in lower case. `named`: the same for look-up; of equal names the first."""

    path: str
    query: bytes
    headers: Headers
    named: dict[bytes, bytes]
    peer: str | None

    def header(self, name: bytes) -> str | None:
        value = self.named.get(name)
        return None if value is None else value.decode("latin-1")


Respond = Callable[[Request, bytes], Awaitable[Reply]]


def request_of(path: str, query: bytes, headers: Headers, peer: str | None) -> Request:
    return Request(path, query, headers, dict(reversed(headers)), peer)


def ingest_route(adapters: Adapters) -> ASGIRouteHandler:
    """All write paths of all dialects. Other methods than POST don't come here: api/routing.py."""
    respond = responder(adapters)

    @asgi(sorted(CALLS), copy_scope=False)
    async def ingest(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == ScopeType.HTTP
        if scope["method"] != "POST":  # DELETE of a person whose id is the last word of this path
            await send_reply(send, refusal(Rejected("user_id", _NO_PERSON)))
            return
        try:
            await send_reply(send, await _serve(respond, scope, receive))
        except _Gone:
            return

    return ingest


async def _serve(respond: Respond, scope: HTTPScope, receive: Receive) -> Reply:
    request = _request(scope)
    try:
        _check_length(request)
        body = await _read(receive)
    except TooLarge as error:
        return refusal(error)
    return await respond(request, body)


def responder(adapters: Adapters) -> Respond:
    """What answers a request whose body is there. Never raises."""

    async def respond(request: Request, body: bytes) -> Reply:
        try:
            return reply(await _take(adapters, request, body))
        except AppizerError as error:
            return refusal(error)
        except Exception:  # noqa: BLE001  the last line before the sender: logged, and told as ours
            _log.exception("ingest failed", path=request.path)
            return problem_reply(500, OUR_FAULT)

    return respond


async def _take(adapters: Adapters, request: Request, raw: bytes) -> Answer:
    call = CALLS[request.path]
    body = open_body(raw, request.header(b"content-encoding"))
    key = key_in(request.headers, request.query)
    caller = await adapters.callers.find(key) if key else None
    is_long = len(body) > _LONG_BYTES
    parsed = await _aside(call.parse, body) if is_long else call.parse(body)
    caller = caller or await adapters.callers.find(parsed.write_key)
    app = _allowed(caller, request)
    judge = partial(
        admit,
        call,
        parsed,
        received_at=adapters.clock(),
        client=_client(adapters, request),
        new_id=_new_id,
    )
    submitted = await _aside(judge) if is_long else judge()
    outcomes = await take(adapters.log, app, submitted, await adapters.barred.of(app))
    _count(outcomes)
    return call.answer(outcomes, submitted)


async def _aside(work: Callable[..., T], *given: object) -> T:
    """Beside the event loop, one at a time: 4 MB of what is dearest to read takes five seconds,
    in which others shall not wait.
    """
    return await asyncio.get_running_loop().run_in_executor(_reader, work, *given)


def _request(scope: HTTPScope) -> Request:
    peer = scope["client"]
    return request_of(
        scope["path"].rstrip("/"),
        scope["query_string"],
        list(scope["headers"]),
        peer[0] if peer else None,
    )


def _check_length(request: Request) -> None:
    """A body whose length is told to be too large need not come before it is refused."""
    if int(request.named.get(b"content-length", b"0")) > MAX_REQUEST_BYTES:
        raise _too_large()


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
            raise _too_large()
        message = await receive()
    raise _Gone


def _too_large() -> TooLarge:
    message = f"a request may have {MAX_REQUEST_BYTES} bytes; send less at once"
    return TooLarge(message, limit_bytes=MAX_REQUEST_BYTES)


def _allowed(caller: Caller, request: Request) -> UUID:
    require(caller, "ingest")
    check_origin(caller, request.header(b"origin"))
    assert caller.app_id is not None  # only an app's keys may ingest
    return caller.app_id


def _new_id() -> str:
    return os.urandom(16).hex()


def _client(adapters: Adapters, request: Request) -> Client:
    settings = adapters.settings
    return _known_client(
        _address(request, settings.trusted_proxies),
        request.named.get(b"user-agent"),
        request.named.get(settings.country_header.encode()),
    )


@lru_cache(4096)
def _known_client(ip: str | None, user_agent: bytes | None, country: bytes | None) -> Client:
    """Headers are latin-1. A country is ISO 3166-1 alpha-2, or none."""
    is_code = country is not None and len(country) == 2 and country.isalpha()  # noqa: PLR2004
    return Client(
        ip=ip,
        user_agent=None if user_agent is None else user_agent.decode("latin-1"),
        country=country.decode().upper() if country is not None and is_code else None,
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
        _counters[status].inc(statuses.count(status))
