"""Answers as tables: text/csv for spreadsheets."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

OF_SERIES = ("series", "kind", "series_value")


class Table(NamedTuple):
    columns: Sequence[str]
    rows: Iterable[Sequence[object]]


def of_series(one: Any) -> tuple[object, ...]:
    """The cells of OF_SERIES. The value is JSON, in which the number 5 is not the text "5"."""
    value = msgspec.json.encode(one.value).decode() if one.kind == "value" else None
    return one.label, one.kind, value


def csv_of(tables: Mapping[str, Table]) -> str:
    """RFC 4180; null is empty, lists and objects are JSON. Of several tables the first column has
    the name.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    is_one = len(tables) == 1
    for place, (name, table) in enumerate(tables.items()):
        if not place:
            writer.writerow([*([] if is_one else ["range"]), *table.columns])
        for row in table.rows:
            writer.writerow([*([] if is_one else [name]), *map(_cell, row)])
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else msgspec.json.encode(value).decode()
