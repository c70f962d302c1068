"""Opaque page cursors. A cursor carries its app, and is refused with another app's key."""

import base64
import binascii
from typing import Annotated

import msgspec

from domain.errors import Rejected
from domain.limits import MAX_NUMBER

_Natural = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]  # what the engine can compare with


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last row of the page before: its time in microseconds since 1970, and its position."""

    app_number: int
    time: _Natural
    position: _Natural


def encode(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode().rstrip("=")


def decode(text: str | None, app_number: int) -> Cursor | None:
    if text is None:
        return None
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = msgspec.msgpack.decode(packed, type=Cursor)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        cursor = None
    if cursor is None or cursor.app_number != app_number:
        raise Rejected("cursor", "is not one that this query gave; leave it out to start again")
    return cursor
