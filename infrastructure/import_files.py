"""Files of events, row by row: CSV and JSON lines, plain or gzip, from disk or standard input."""

import codecs
import gzip
import hashlib
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from commands.import_plan import Row
from domain.admission import UNREADABLE, may_lack_keys
from domain.errors import Rejected
from domain.json_objects import ROOT, examine
from infrastructure.csv_rows import LONGEST_ROW, Cells, CsvRows, Fault, Unreadable

STDIN = "-"
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_LEAST = 64  # bytes, by which one sees what a file is


class EventFile:
    """`done` and `total` are bytes of the file as it lies on disk; `total` is None for what is no
    regular file, such as a pipe.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._raw = _opened(name)
        self._bytes = _inflated(self._raw)
        self.columns: list[str] = []  # of a CSV file, once its first line is read
        self.total = None if name == STDIN else _size(os.fstat(self._raw.fileno()))

    @property
    def done(self) -> int:
        return 0 if self.total is None else self._raw.tell()

    def close(self) -> None:
        self._raw.close()

    def csv_rows(self, *, encoding: str, delimiter: str | None) -> Iterator[Row]:
        """The first line names the columns. Empty cells are left out. Raises Unreadable."""
        wide = _utf_16(self._bytes)
        if wide and codecs.lookup(encoding).name.startswith("utf-8"):
            raise Unreadable(
                f"{self.name} is UTF-16: say --encoding {wide}, or convert it: {_convert(wide)}"
            )
        return self._guarded(self._csv_rows(encoding, delimiter))

    def _csv_rows(self, encoding: str, delimiter: str | None) -> Iterator[Row]:
        self._text = io.TextIOWrapper(  # forgotten, it would close the file below it
            self._bytes, encoding, errors="surrogateescape", newline=""
        )
        rows = CsvRows(self._text, delimiter)
        columns = self.columns = self._columns(rows.next())
        for number, row in enumerate(rows, start=1):
            yield _csv_row(number, columns, row)

    def _columns(self, header: Cells | Fault | None) -> list[str]:
        if header is None:
            raise Unreadable(f"{self.name} is empty; its first line must name the columns")
        if isinstance(header, Fault):
            raise Unreadable(f"the first line of {self.name}, the names, {header.issue}")
        return _columns(header.values)

    def begins_as_json(self) -> bool:
        """With an object, whatever the file's name says. To be asked before any row is read."""
        peek: Any = self._bytes
        try:
            start: bytes = peek.peek(_LEAST)
        except (EOFError, OSError, zlib.error):
            return False  # whoever reads it says so
        return start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"

    def json_rows(self) -> Iterator[Row]:
        """A JSON object in each line; empty lines do not count. Raises Unreadable."""
        wide = _utf_16(self._bytes)
        if wide:
            pipe = f"{_convert(wide)} | appizer import jsonl -"
            raise Unreadable(f"{self.name} is UTF-16, and JSON is UTF-8; convert it: {pipe}")
        return self._guarded(self._json_rows())

    def _json_rows(self) -> Iterator[Row]:
        lines = filter(bytes.strip, self._lines())
        first = next(lines, None)
        if first is None:
            raise Unreadable(f"{self.name} is empty; each line must be a JSON object")
        for number, line in enumerate(chain([first.removeprefix(codecs.BOM_UTF8)], lines), start=1):
            yield _json_row(number, line)

    def _lines(self) -> Iterator[bytes]:
        """Lines that are too long are cut: the rest of them is not kept."""
        while line := self._bytes.readline(LONGEST_ROW):
            rest = line
            while not rest.endswith(b"\n") and len(rest) == LONGEST_ROW:
                rest = self._bytes.readline(LONGEST_ROW)
            yield line

    def _guarded(self, rows: Iterator[Row]) -> Iterator[Row]:
        try:
            yield from rows
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Unreadable(f"{self.name} is cut off or damaged: {error}") from None
        except UnicodeDecodeError as error:
            raise Unreadable(f"{self.name} is not what --encoding says: {error}") from None


def digest(name: str, settings: object) -> str | None:
    """Names a file's content together with what is done with it; None for a pipe, which can be
    read but once.
    """
    if name == STDIN or _size(Path(name).stat()) is None:
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


def _size(found: os.stat_result) -> int | None:
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _inflated(raw: BinaryIO) -> BinaryIO:
    """By what the file begins with: names are not to be trusted."""
    peek: Any = raw
    if peek.peek(2)[:2] != _GZIP:
        return raw
    return cast("BinaryIO", gzip.GzipFile(fileobj=raw))


def _utf_16(file: BinaryIO) -> str | None:
    """The name of the encoding, when it is one of 16 bits."""
    peek: Any = file
    try:
        start: bytes = peek.peek(_LEAST)[:_LEAST]
    except (EOFError, OSError, zlib.error):
        return None  # whoever reads it says so
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    high, low = start[0::2].count(0), start[1::2].count(0)
    if max(high, low) <= len(start) / 4 or min(high, low) > 0:
        return None
    return "utf-16-be" if high else "utf-16-le"


def _convert(encoding: str) -> str:
    return f"iconv -f {encoding.upper()} -t UTF-8 FILE"


def _columns(header: Sequence[str]) -> list[str]:
    columns = [name.strip() or f"column_{at}" for at, name in enumerate(header, start=1)]
    twice = {name for name in columns if columns.count(name) > 1}
    if twice:
        raise Unreadable(f"two columns have the same name: {', '.join(sorted(twice))}")
    return columns


def _csv_row(number: int, columns: list[str], row: Cells | Fault) -> Row:
    if isinstance(row, Fault):
        return Row(number, {"line": row.text}, row.issue)
    cells = row.values
    found = {column: cell for column, cell in zip(columns, cells, strict=False) if cell}
    if len(cells) == len(columns):
        return Row(number, found)
    problem = f"has {len(cells)} cells, the header has {len(columns)}"
    if row.first_line != row.last_line:
        lines = f"{row.first_line} to {row.last_line}"
        problem += f"; it goes from line {lines}: is a quote not closed?"
    return Row(number, found, problem)


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_NO_OBJECT = "must be a JSON object"
_KINDS = {b"[": "an array", b'"': "a string"}


def _json_row(number: int, line: bytes) -> Row:
    """What the API says of a message that can't be read, it says of a line."""
    if len(line) >= LONGEST_ROW:
        return _unread(number, line, f"is longer than {LONGEST_ROW:,} bytes")
    try:
        found = _decode(line)
        if may_lack_keys(line, found):
            examine(line.strip(), "")
        return Row(number, {k: v for k, v in found.items() if v is not None}, is_json=True)
    except Rejected as error:
        return _unread(number, line, _issue(error))
    except UNREADABLE as error:
        return _unread(number, line, _json_issue(line.strip(), error))


def _unread(number: int, line: bytes, problem: str) -> Row:
    return Row(number, {"line": line.decode(errors="replace").strip()}, problem)


def _issue(error: Rejected) -> str:
    return error.issue if error.field == ROOT else error.message


def _json_issue(line: bytes, error: Exception) -> str:
    try:
        examine(line, "")
    except Rejected as exact:
        issue = _issue(exact)
        kind = f", not {_KINDS.get(line[:1], 'a single value')}" if issue == _NO_OBJECT else ""
        return issue + kind
    return f"is not valid JSON: {error}"
