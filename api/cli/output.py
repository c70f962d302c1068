"""What commands print: rows as a table or as JSON lines on stdout, everything else on stderr."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_FILE_WIDTH = 1000  # lines are not broken for programs such as grep

notes = Console(stderr=True, highlight=False, soft_wrap=True)

Record = Mapping[str, Any]


def json_option(command: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


def print_records(records: Sequence[Record], columns: Sequence[str], *, as_json: bool) -> None:
    """All of each record as JSON; of a table only `columns`."""
    if as_json:
        for record in records:
            print_json(record)
    elif records:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = _FILE_WIDTH
        console.print(table_of(records, columns))


def table_of(records: Sequence[Record], columns: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        numeric = all(isinstance(record.get(column), int | float | None) for record in records)
        justify = "right" if numeric else "left"
        table.add_column(
            column.replace("_", " "),
            justify=justify,  # type: ignore[arg-type]  # a Literal in rich
            overflow="fold",
            no_wrap=column.endswith("id"),
        )
    for record in records:
        table.add_row(*(Text(shown(record.get(column))) for column in columns))
    return table


def print_json(record: Any) -> None:
    sys.stdout.write(msgspec.json.encode(record).decode() + "\n")
    sys.stdout.flush()


def shown(value: Any) -> str:
    """For people: no control characters, which could rewrite a terminal."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return "" if value is None else escaped(str(value))


def escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(text: str) -> None:
    """A line for whoever watches; programs read stdout."""
    notes.print(text, markup=False)
