"""Opaque page cursors. A cursor is refused by any other query than the one that gave it: another
app's, or one with other filters.
"""

import base64
import binascii
import hashlib
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from domain.errors import Rejected
from domain.limits import MAX_NUMBER

T = TypeVar("T")
Moment = Annotated[datetime, msgspec.Meta(tz=True)]  # a part of a place: others can't be compared
_Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]  # what the engine can compare with


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last row of the page before: its time in microseconds since 1970, and its position.
    `query`: of `query_of`.
    """

    query: bytes
    time: _Natural
    position: _Natural


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The last row of the page before in a list with another order: `at` is what its rows are
    sorted by, a list as `decode_place` is told.
    """

    query: bytes
    at: msgspec.Raw


def query_of(*asked: object) -> bytes:
    """What tells queries apart: equal for equal arguments, which msgpack can write."""
    return hashlib.blake2b(msgspec.msgpack.encode(asked), digest_size=8).digest()


def encode_place(query: bytes, at: object) -> str:
    return encode(Place(query, msgspec.Raw(msgspec.msgpack.encode(at))))


def decode_place(text: str | None, query: bytes, kind: type[T]) -> T | None:
    """`kind`: of `at`, all of whose values are safe to compare with."""
    if text is None:
        return None
    place = _unpacked(text, Place)
    try:
        if place is not None and place.query == query:
            return msgspec.msgpack.decode(place.at, type=kind)
    except (msgspec.MsgspecError, ValueError):
        pass
    raise _not_ours()


def encode(cursor: Cursor | Place) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode(text: str | None, query: bytes) -> Cursor | None:
    if text is None:
        return None
    cursor = _unpacked(text, Cursor)
    if cursor is None or cursor.query != query:
        raise _not_ours()
    return cursor


def _unpacked(text: str, kind: type[T]) -> T | None:
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.msgpack.decode(packed, type=kind)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        return None


def _not_ours() -> Rejected:
    return Rejected("cursor", "is not one that this query gave; leave it out to start again")
