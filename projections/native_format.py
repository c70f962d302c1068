"""ClickHouse's Native format: (columns, rows), then per column its name, its type and its values.

https://clickhouse.com/docs/interfaces/formats/Native
"""

import struct
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import msgspec

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def block(columns: Sequence[bytes], rows: int) -> bytes:
    """Blocks can follow one another in an insert."""
    return b"".join((_varint(len(columns)), _varint(rows), *columns))


def packed(name: str, kind: str, code: str, values: Sequence[int]) -> bytes:
    """`code` is that of the struct module."""
    return _named(name, kind) + struct.pack(f"<{len(values)}{code}", *values)


def micros(values: Sequence[datetime]) -> list[int]:
    """Since 1970. In whole numbers: datetime.timestamp() takes twice as long and rounds."""
    spans = [value - _EPOCH for value in values]
    return [(s.days * 86_400 + s.seconds) * 1_000_000 + s.microseconds for s in spans]


def repeated_micros(values: Sequence[datetime]) -> list[int]:
    """The same, faster where the same moment comes many times in a row."""
    found: list[int] = []
    for value, same in groupby(values):
        found += micros([value]) * len(list(same))
    return found


def uuids(name: str, values: bytes) -> bytes:
    """`values` are 16 bytes for each."""
    # Two little-endian words, the high one first: the bytes of each half, turned round.
    halves = array("Q", values)
    halves.byteswap()
    return _named(name, "UUID") + halves.tobytes()


def texts(name: str, values: Sequence[str]) -> bytes:
    return strings(name, joined(values))


def raws(name: str, values: Sequence[bytes | msgspec.Raw]) -> bytes:
    return strings(name, _joined(values))


def strings(name: str, values: bytes) -> bytes:
    """`values` are from `joined`: columns that hold the same can share them."""
    return _named(name, "String") + values


def joined(values: Sequence[str]) -> bytes:
    first = values[0]
    if values.count(first) == len(values):
        encoded = first.encode()
        return (_varint(len(encoded)) + encoded) * len(values)
    return _joined(list(map(str.encode, values)))


def _joined(values: Sequence[bytes | msgspec.Raw]) -> bytes:
    parts: list[Any] = [b""] * (2 * len(values))
    sizes = list(map(len, values))
    short = max(sizes) < len(_LENGTHS)
    parts[::2] = map(_LENGTHS.__getitem__ if short else _varint, sizes)
    parts[1::2] = values
    return b"".join(parts)


def _named(name: str, kind: str) -> bytes:
    return b"".join(_varint(len(text)) + text.encode() for text in (name, kind))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >> 7:  # LEB128: seven bits a byte, the lowest first
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_LENGTHS = [_varint(n) for n in range(65_536)]
