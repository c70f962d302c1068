"""Answers that need no framework: those of the write paths and of the connection itself."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from litestar.types import Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from api.dialects.request import Answer
from api.errors import Problem, headers_of, problem_of, status_of
from domain.errors import AppizerError

Headers = list[tuple[bytes, bytes]]

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
_NONE: Mapping[str, str] = {}
_encode = msgspec.json.Encoder().encode


class Reply(NamedTuple):
    status: int
    headers: Headers
    body: bytes


def reply(answer: Answer, headers: Mapping[str, str] = _NONE) -> Reply:
    length = (b"content-length", str(len(answer.body)).encode())
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Reply(answer.status, [_JSON, length, *_CORS, *extra], answer.body)


def problem_reply(status: int, problem: Problem, headers: Mapping[str, str] = _NONE) -> Reply:
    return reply(Answer(status, _encode(problem)), headers)


def refusal(error: AppizerError) -> Reply:
    return problem_reply(status_of(error), problem_of(error), headers_of(error))


def written(answer: Reply, default_headers: Headers, *, keep_alive: bool) -> bytes:
    """As HTTP/1.1 has it on the wire."""
    parts = [STATUS_LINE[answer.status]]
    for name, value in (*default_headers, *answer.headers):
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    parts.append(answer.body)
    return b"".join(parts)


async def send_reply(send: Send, answer: Reply) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
