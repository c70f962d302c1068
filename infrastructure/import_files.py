"""Files of events, row by row: CSV and JSON lines, plain or gzip, from disk or standard input."""

import csv
import gzip
import hashlib
import io
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from commands.importing import Row
from domain.errors import AppizerError
from domain.limits import MAX_EVENT_BYTES

STDIN = "-"
_GZIP = b"\x1f\x8b"
_DELIMITERS = ",;\t|"
_LONGEST_LINE = 32 * MAX_EVENT_BYTES  # what no event can be; also bounds memory
_CHUNK = 1 << 20

csv.field_size_limit(_LONGEST_LINE)


class Unreadable(AppizerError):
    """The file can't be opened, or ends in the middle; what came before is good."""

    code = "UNREADABLE_FILE"


class EventFile:
    """`done` and `total` are bytes of the file as it lies on disk; `total` is None for a pipe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._raw = _opened(name)
        self._bytes = _inflated(self._raw)
        self.columns: list[str] = []  # of a CSV file, once its first line is read
        self.total = None if name == STDIN else os.fstat(self._raw.fileno()).st_size

    @property
    def done(self) -> int:
        return 0 if self.total is None else self._raw.tell()

    def close(self) -> None:
        self._raw.close()

    def csv_rows(self, *, encoding: str, delimiter: str | None) -> Iterator[Row]:
        """The first line names the columns. Empty cells are left out."""
        self._text = io.TextIOWrapper(  # forgotten, it would close the file below it
            self._bytes, encoding, errors="surrogateescape", newline=""
        )
        lines = self._guarded(self._text)
        header = next(lines, "")
        marks = delimiter or max(_DELIMITERS, key=header.count)
        reader = csv.reader(chain([header], lines), delimiter=marks)
        columns = self.columns = _columns(next(reader, []))
        number = 0
        while (cells := _next_cells(reader)) is not None:
            if cells != []:
                number += 1
                yield _csv_row(number, columns, cells)

    def json_rows(self) -> Iterator[Row]:
        """A JSON object in each line; empty lines do not count."""
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        for number, line in enumerate(filter(bytes.strip, self._guarded(self._lines())), start=1):
            yield _json_row(number, line, decode)

    def _lines(self) -> Iterator[bytes]:
        """Lines that are too long are cut: the rest of them is not kept."""
        while line := self._bytes.readline(_LONGEST_LINE):
            rest = line
            while not rest.endswith(b"\n") and len(rest) == _LONGEST_LINE:
                rest = self._bytes.readline(_LONGEST_LINE)
            yield line

    def _guarded(self, lines: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from lines
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Unreadable(f"{self.name} is cut off or damaged: {error}") from None


def digest(name: str, settings: object) -> str | None:
    """Names a file's content together with what is done with it; None for a pipe."""
    if name == STDIN:
        return None
    sha = hashlib.sha256(msgspec.json.encode(settings, order="sorted"))
    with Path(name).open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()[:32]


class Milestone:
    """How many rows of a file are on the log for certain: DIR/imports/KEY. Without a directory,
    or where nothing may be written, the next run begins anew and finds duplicates.
    """

    def __init__(self, directory: str, key: str | None) -> None:
        self._file = Path(directory) / "imports" / key if directory and key else None

    def read(self) -> int:
        if self._file is None:
            return 0
        try:
            return int(self._file.read_text())
        except (OSError, ValueError):
            return 0

    def write(self, rows: int) -> None:
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        with suppress(OSError):
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            new.write_text(str(rows))
            new.rename(self._file)

    def clear(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.unlink()


def _opened(name: str) -> BinaryIO:
    if name == STDIN:
        return sys.stdin.buffer
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise Unreadable(f"{name}: {error.strerror}") from None


def _inflated(raw: BinaryIO) -> BinaryIO:
    """By what the file begins with: names are not to be trusted."""
    peek: Any = raw
    if peek.peek(2)[:2] != _GZIP:
        return raw
    return cast("BinaryIO", gzip.GzipFile(fileobj=raw))


def _columns(header: Sequence[str]) -> list[str]:
    columns = [name.strip() or f"column_{at}" for at, name in enumerate(header, start=1)]
    twice = {name for name in columns if columns.count(name) > 1}
    if twice:
        raise Unreadable(f"two columns have the same name: {', '.join(sorted(twice))}")
    if not columns:
        raise Unreadable("the file is empty; its first line must name the columns")
    return columns


def _next_cells(reader: Iterator[list[str]]) -> list[str] | str | None:
    """The cells; or what is wrong with the line; None at the end."""
    try:
        return next(reader, None)
    except csv.Error as error:
        return f"is not CSV ({error}); is a quote not closed?"


def _csv_row(number: int, columns: list[str], cells: list[str] | str) -> Row:
    if isinstance(cells, str):
        return Row(number, {}, cells)
    found = {column: cell for column, cell in zip(columns, cells, strict=False) if cell}
    if len(cells) == len(columns):
        return Row(number, found)
    return Row(number, found, f"has {len(cells)} cells, the header has {len(columns)}")


def _json_row(number: int, line: bytes, decode: Any) -> Row:
    if len(line) >= _LONGEST_LINE:
        return Row(number, {}, f"is longer than {_LONGEST_LINE} bytes")
    try:
        return Row(number, {k: v for k, v in decode(line).items() if v is not None})
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        text = line.decode(errors="replace").strip()
        return Row(number, {"line": text}, f"is not a JSON object: {error}")
