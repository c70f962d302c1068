"""Opaque page cursors. A cursor is refused by any other query than the one that gave it: another
app's, or one with other filters.
"""

import base64
import binascii
import hashlib
from typing import Annotated

import msgspec

from domain.errors import Rejected
from domain.limits import MAX_NUMBER

_Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]  # what the engine can compare with


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last row of the page before: its time in microseconds since 1970, and its position.
    `query`: of `query_of`.
    """

    query: bytes
    time: _Natural
    position: _Natural


def query_of(*asked: object) -> bytes:
    """What tells queries apart: equal for equal arguments, which msgpack can write."""
    return hashlib.blake2b(msgspec.msgpack.encode(asked), digest_size=8).digest()


def encode(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode(text: str | None, query: bytes) -> Cursor | None:
    if text is None:
        return None
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.msgpack.decode(packed, type=Cursor)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        cursor = None
    if cursor is None or cursor.query != query:
        raise Rejected("cursor", "is not one that this query gave; leave it out to start again")
    return cursor
