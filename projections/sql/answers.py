"""What the engine answers to a caller's SQL: rows, or a complaint to be told without our names."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from domain.errors import Rejected
from domain.limits import MAX_SQL_ROWS
from projections.sql.queries import CTE
from projections.sql.views import INNER

FORMAT = "JSONCompact"
# ErrorCodes.cpp: table, database or setting that is not there, no right, a fault of the engine's.
_OURS = frozenset({49, 60, 81, 115, 164, 452, 497, 516, 1002})
_REASON = re.compile(r"DB::Exception: (?:default: )?(.*)", re.DOTALL)
# From there on the engine, and then its client, show what they were doing, and with what.
_INSIDE = re.compile(
    r"\s*\((?:for url|version|official)\b.*"
    r"|[:.]?\s+(?:In scope|(?:w|W)hile (?:executing|processing)|Stack trace|In query)\b.*",
    re.DOTALL,
)
_CODE = re.compile(r"\s*\([A-Z][A-Z_]+\)\s*$")
_OWN = re.compile(rf"`?\b{CTE}|\b__table\d+\.")
_NAMES = re.compile(
    rf"\b(?:{'|'.join(sorted(INNER))}|joinGet|dictGet\w*|persons_of_\w*|bitmap\w+|SETTINGS|readonly|_CAST|chdb)\b"
    r"|additional_table|https?://127|\{p\d",
    re.IGNORECASE,
)
_LONGEST = 500


class Column(msgspec.Struct, frozen=True):
    """`type` is the engine's."""

    name: str
    type: str


class Read(msgspec.Struct, frozen=True):
    """What the engine read from its tables, in `elapsed` seconds."""

    elapsed: float
    rows_read: int
    bytes_read: int


class _Found(msgspec.Struct, frozen=True):
    meta: list[Column]
    data: list[list[msgspec.Raw]]
    statistics: Read


class Table(NamedTuple):
    """Values are JSON text."""

    columns: list[Column]
    rows: Sequence[Sequence[msgspec.Raw]]
    truncated: bool
    read: Read

    def objects(self) -> list[dict[str, msgspec.Raw]]:
        """Raises Rejected for two columns of one name."""
        names = [column.name for column in self.columns]
        for name in names:
            if names.count(name) > 1:
                raise Rejected("query", f"two columns are called {name}; name them with AS")
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def csv(self) -> str:
        """RFC 4180; NULL is empty, lists and objects are JSON."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow([column.name for column in self.columns])
        writer.writerows(map(_cells, self.rows))
        return text.getvalue()


def _cells(row: Sequence[msgspec.Raw]) -> Iterator[str]:
    for value in row:
        text = bytes(value)
        if text.startswith(b'"'):
            yield msgspec.json.decode(text, type=str)
        else:
            yield "" if text == b"null" else text.decode()


_decode = msgspec.json.Decoder(_Found).decode


def table(answer: bytes) -> Table:
    """Of an answer in FORMAT."""
    found = _decode(answer)
    is_more = len(found.data) > MAX_SQL_ROWS
    return Table(found.meta, found.data[:MAX_SQL_ROWS], is_more, found.statistics)


def complaint(code: int | None, message: str) -> Rejected | None:
    """What the engine found wrong with the query; None where it is not the caller's doing."""
    if code is None or code in _OURS:
        return None
    found = _REASON.search(message)
    reason = _CODE.sub("", _OWN.sub("", _INSIDE.sub("", found[1]))).strip() if found else ""
    if not reason or _NAMES.search(reason):
        reason = f"it can't be answered (error {code} of ClickHouse)"
    return Rejected("query", reason[:_LONGEST])
