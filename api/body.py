"""The bytes of a request as they were before the sender compressed them.

Content-Type and Content-Encoding are not believed: RudderStack's Node SDK labels gzip as a form,
posthog-js as text/plain. The body's first bytes decide.
"""

import zlib
from typing import Any

from litestar import Request

from domain.errors import Rejected, TooLarge
from domain.limits import MAX_REQUEST_BYTES

_GZIP = b"\x1f\x8b"
_GZIP_WBITS = 31  # zlib.h, inflateInit2: 15 for the largest window, 16 for a gzip header
_NOT_COMPRESSED = (None, "", "identity", "gzip", "x-gzip")  # gzip: a proxy may have undone it


def open_body(raw: bytes, content_encoding: str | None) -> bytes:
    """Inflates gzip, never beyond MAX_REQUEST_BYTES. Raises TooLarge, Rejected."""
    if len(raw) > MAX_REQUEST_BYTES:
        raise too_large()
    if raw.startswith(_GZIP):
        return _inflated(raw)
    if content_encoding not in _NOT_COMPRESSED and not _is_known(content_encoding):
        raise Rejected("Content-Encoding", "must be gzip or left out")
    return raw


def _is_known(content_encoding: str | None) -> bool:
    return (content_encoding or "").strip().lower() in _NOT_COMPRESSED


def _inflated(raw: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=_GZIP_WBITS)
    try:
        body = inflater.decompress(raw, MAX_REQUEST_BYTES + 1)
    except zlib.error as error:
        raise Rejected("body", f"is not valid gzip: {error}") from None
    if len(body) > MAX_REQUEST_BYTES:
        raise too_large()
    if not inflater.eof:
        raise Rejected("body", "is cut short: the gzip stream has no end")
    if inflater.unused_data:
        raise Rejected("body", "goes on after the end of the gzip stream")
    if body.startswith(_GZIP):
        raise Rejected("body", "is compressed twice; compress it once")
    return body


_OPENED = "opened_body"


class OpenedRequest(Request[Any, Any, Any]):
    """Its body is what was sent before it was compressed. Raises TooLarge, Rejected."""

    _opened: bytes | None = None

    async def body(self) -> bytes:
        if self._opened is None:
            self._opened = open_body(await super().body(), self.headers.get("content-encoding"))
            self.scope["state"][_OPENED] = self._opened
        return self._opened


def opened_body(request: Request[Any, Any, Any]) -> bytes:
    """What was read of it, whoever did; empty if nobody has."""
    found: bytes = request.scope["state"].get(_OPENED, b"")
    return found


def too_large() -> TooLarge:
    message = f"a request may have {MAX_REQUEST_BYTES} bytes after decompression; send less at once"
    return TooLarge(message, limit_bytes=MAX_REQUEST_BYTES)
