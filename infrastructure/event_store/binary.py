"""Parallel arrays in Postgres' binary format, made without a Python call per element.

psycopg's own list dumper visits each element; for a commit of 1,000 events that is the largest
client cost of an append. Layout: array_send in src/backend/utils/adt/arrayfuncs.c.
"""

import struct
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

_header = struct.Struct("!iiiii").pack
_length = struct.Struct("!i").pack
_lengths = [_length(n) for n in range(4096)]


class UuidArray(bytes):
    """uuid[]"""


class TextArray(bytes):
    """text[]"""


class ByteaArray(bytes):
    """bytea[]"""


def uuids(values: Sequence[bytes]) -> UuidArray:
    """Each value is the 16 bytes of a UUID."""
    prefix = _lengths[16]
    return UuidArray(_header(1, 0, 2950, len(values), 1) + prefix + prefix.join(values))


def texts(values: Sequence[bytes]) -> TextArray:
    """Each value is UTF-8."""
    return TextArray(_variable(25, values))


def byteas(values: Sequence[bytes]) -> ByteaArray:
    return ByteaArray(_variable(17, values))


def _variable(element_oid: int, values: Sequence[bytes]) -> bytes:
    parts = [_header(1, 0, element_oid, len(values), 1)]
    for value in values:
        size = len(value)
        parts.append(_lengths[size] if size < 4096 else _length(size))  # noqa: PLR2004  the table's size
        parts.append(value)
    return b"".join(parts)


class _Ready(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


class _Uuids(_Ready):
    oid = 2951


class _Texts(_Ready):
    oid = 1009


class _Byteas(_Ready):
    oid = 1001


def register(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    for kind, dumper in ((UuidArray, _Uuids), (TextArray, _Texts), (ByteaArray, _Byteas)):
        connection.adapters.register_dumper(kind, dumper)
