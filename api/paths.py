"""A slash that an address writes as %2F belongs to its part of the path: an id may have one."""

import re
from typing import Any
from urllib.parse import unquote

from litestar import Litestar

from domain.errors import Rejected

_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_SLASH = "\udc2f"  # what stands for one meanwhile: half a surrogate pair, which no address has
NOT_UTF_8 = "is not valid UTF-8; encode it as UTF-8 before the percent signs"


class RoutedAsWritten(Litestar):
    """Routes by the path as it was written; the server has decoded all of it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path", b"")
        if b"%" in raw:
            path = _ENCODED_SLASH.sub(_SLASH, raw.decode("ascii"))
            scope["path"] = unquote(path, errors="surrogateescape")
        await super().__call__(scope, receive, send)


def part_of_path(value: str, field: str) -> str:
    """The parameter of a path as it was meant. Raises Rejected where that is not UTF-8."""
    meant = value.replace(_SLASH, "/")
    try:
        meant.encode()
    except UnicodeEncodeError:
        raise Rejected(field, NOT_UTF_8) from None
    return meant
