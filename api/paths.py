"""A slash that an address writes as %2F belongs to its part of the path: an id may have one."""

import re
from typing import Any
from urllib.parse import unquote

from litestar import Litestar

_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_SLASH = "\udc2f"  # what stands for one meanwhile: half a surrogate pair, which no address has


class Queries(Litestar):
    """Routes by the path as it was written; the server has decoded all of it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raw = scope.get("raw_path", b"")
        if b"%2" in raw:
            scope["path"] = unquote(_ENCODED_SLASH.sub(_SLASH, raw.decode("ascii")))
        await super().__call__(scope, receive, send)


def part_of_path(value: str) -> str:
    """The parameter of a path as it was meant."""
    return value.replace(_SLASH, "/")
