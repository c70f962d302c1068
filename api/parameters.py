"""The address's parameters: those that a route knows, each once, with a value that says something.

The framework would ignore an unknown one, take `null` for none and `1e2` for a number.
"""

import re
from functools import cache
from typing import Any, TypeVar, get_args
from urllib.parse import unquote, unquote_to_bytes

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.params import QueryParameter

from api.paths import NOT_UTF_8
from domain.errors import Rejected
from domain.limits import MAX_NAME_CHARS
from domain.nearest import told

T = TypeVar("T")
_WHOLE = re.compile("-?(0|[1-9][0-9]*)")


def check_parameters(request: Request[Any, Any, Any]) -> None:
    """Raises Rejected, naming the parameter."""
    if not request.scope["query_string"]:
        return
    known = _known(request.route_handler)
    seen = set()
    _check_encoding(request.scope["query_string"])
    for name, value in request.query_params.multi_items():
        field = name[:MAX_NAME_CHARS]
        if not name:
            raise Rejected("address", "has a value without a name; write name=value")
        if name not in known:
            raise Rejected(field, f"is no parameter here{told(tuple(known), name)}")
        if name in seen:
            raise Rejected(field, "is given twice; give it once")
        if not value:
            raise Rejected(field, "is empty; leave it out or give a value")
        if known[name] and not _WHOLE.fullmatch(value):
            raise Rejected(field, "must be a whole number in plain digits, such as 50")
        seen.add(name)


def _check_encoding(query: bytes) -> None:
    """The framework would put a sign of its own in the place of what is not UTF-8."""
    for pair in query.split(b"&"):
        try:
            unquote_to_bytes(pair).decode()
        except UnicodeDecodeError:
            name = pair.partition(b"=")[0].decode("latin-1")
            field = unquote(name)[:MAX_NAME_CHARS]
            raise Rejected(field, NOT_UTF_8) from None


@cache
def _known(handler: HTTPRouteHandler) -> dict[str, bool]:
    """Name in the address -> whether it is a whole number."""
    return {
        parameter.kwarg_definition.name or name: int in _types(parameter.annotation)
        for name, parameter in handler.parsed_fn_signature.parameters.items()
        if isinstance(parameter.kwarg_definition, QueryParameter)
    }


def _types(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) or (annotation,)


def given(value: T | None, name: str) -> T:
    """Raises Rejected."""
    if value is None:
        raise Rejected(name, "is missing")
    return value
