"""One table from what went wrong to what the caller is told, in one envelope."""

import contextlib
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from api.body import opened_body, too_large
from api.dialects.request import NO_BODY
from api.shapes import told_at
from domain import errors
from infrastructure.database import AWAY, took_too_long

STATUS: dict[type[errors.AppizerError], int] = {
    errors.Rejected: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.LinkRefused: 409,
    errors.TooLarge: 413,
    errors.TooHeavy: 422,
    errors.TooManyQueries: 429,
    errors.Overloaded: 503,
    errors.NotCaughtUp: 504,
}
_CODES = {
    401: "MISSING_AUTH",
    403: "INSUFFICIENT_PERMISSIONS",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    500: "INTERNAL_ERROR",
}
_log = structlog.get_logger()


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a success."""

    error: str
    message: str
    code: str
    details: dict[str, Any] = {}


OUR_FAULT = Problem(
    error="Internal Server Error",
    message="this is our fault; it was logged",
    code="INTERNAL_ERROR",
)


def status_of(error: errors.AppizerError) -> int:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_of(error: errors.AppizerError) -> Problem:
    phrase = HTTPStatus(status_of(error)).phrase
    return Problem(error=phrase, message=error.message, code=error.code, details=error.details)


def headers_of(error: errors.AppizerError) -> dict[str, str]:
    if isinstance(error, errors.Overloaded):
        return {"retry-after": str(error.retry_after)}
    return {}


def answer_refusal(_: Request[Any, Any, Any], error: errors.AppizerError) -> Response[Problem]:
    return _response(problem_of(error), status_of(error), headers_of(error))


def answer_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """The framework's own refusals: unknown route, wrong method, a body of the wrong shape."""
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return answer_refusal(request, _explained(request, error))
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return answer_refusal(request, too_large())
    status = error.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return answer_fault(request, error)
    problem = Problem(
        error=HTTPStatus(status).phrase,
        message=error.detail,
        code=_CODES.get(status, "INVALID_REQUEST"),
    )
    return _response(problem, status, dict(error.headers or {}))


_ON_THE_WIRE = {"data": "", "start": "from"}  # what a handler can't call so, callers do


def _explained(request: Request[Any, Any, Any], error: HTTPException) -> errors.Rejected:
    """The first of what the framework found, in our words."""
    issues: Any = error.extra
    if not isinstance(issues, list) or not issues:
        return errors.Rejected("body", f"is not valid JSON: {error.detail}")
    field, issue = str(issues[0].get("key", "data")), str(issues[0].get("message"))
    if issue == f"'{field}'":
        return errors.Rejected(*NO_BODY)
    wanted = request.route_handler.parsed_fn_signature.parameters
    name = _ON_THE_WIRE.get(field, field)
    if field in wanted and field != "data":
        return told_at(issue, wanted[field].annotation, "", field=name)
    body = wanted.get("data")
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        value = msgspec.json.decode(opened_body(request))
        return told_at(issue, body and body.annotation, name, value=value)
    return told_at(issue, body and body.annotation, name)


def answer_unreadable(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """The framework's JSON reader lets these two pass; nothing else of ours raises them."""
    deep = isinstance(error, RecursionError)
    issue = "nests too deeply; flatten it" if deep else "is not valid UTF-8"
    return answer_refusal(request, errors.Rejected("body", issue))


def answer_away(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    if took_too_long(error) and request.method in {"GET", "HEAD"}:
        issue = "the question takes too long; ask for fewer people or a shorter time"
        return answer_refusal(request, errors.TooHeavy(issue))
    _log.warning("the store is away", path=request.url.path, error=type(error).__name__)
    return answer_refusal(request, errors.Overloaded("the store can't be reached; try again"))


def answer_fault(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Ours. The log has the traceback; the caller gets nothing of the inside."""
    _log.error("request failed", path=request.url.path, exc_info=error)
    return _response(OUR_FAULT, 500, {})


def _response(problem: Problem, status: int, headers: dict[str, str]) -> Response[Problem]:
    return Response(problem, status_code=status, headers=headers, media_type=MediaType.JSON)


HANDLERS: dict[int | type[Exception], Any] = {
    errors.AppizerError: answer_refusal,
    HTTPException: answer_http,
    RecursionError: answer_unreadable,
    UnicodeDecodeError: answer_unreadable,
    **dict.fromkeys(AWAY, answer_away),
    Exception: answer_fault,
}
