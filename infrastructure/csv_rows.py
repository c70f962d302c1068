"""Rows of a CSV file (RFC 4180), read strictly: a quote that is not closed costs one row, not the
rest of the file.
"""

import contextlib
import csv
import re
from collections import deque
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple, TextIO

from domain.errors import AppizerError
from domain.limits import MAX_EVENT_BYTES

DELIMITERS = ",;\t|"
LONGEST_ROW = 8 * MAX_EVENT_BYTES  # characters, more than an event can have; also bounds memory

_MOST_UNCLOSED = 100  # each is looked for through up to LONGEST_ROW characters
_CLOSED = re.compile(r'"(?:[^"]+|"")*+"')

csv.field_size_limit(2 * LONGEST_ROW)  # never met: `_Lines` ends a row before


class Unreadable(AppizerError):
    """The file can't be read, or no further; what came before is good."""

    code = "UNREADABLE_FILE"


class Cells(NamedTuple):
    """A row that could be read. Lines are counted from 1."""

    values: list[str]
    first_line: int
    last_line: int


class Fault(NamedTuple):
    """A row that could not: `text` is the line that it begins with."""

    text: str
    issue: str


class CsvRows:
    """Of lines whose ends are kept. After a fault it goes on with the line behind the row's first:
    what stood between a forgotten quote and the next one is read as the rows that it is.
    """

    def __init__(self, text: TextIO, delimiter: str | None = None) -> None:
        self._lines = _Lines(text)
        with contextlib.suppress(_TooLong):  # told when the row itself is read
            next(self._lines, None)
        first = "".join(self._lines.row)
        self._lines.give_back(0)
        self._delimiter = delimiter or max(DELIMITERS, key=first.count)
        self._reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        self._unclosed = 0

    def __iter__(self) -> Iterator[Cells | Fault]:
        while (found := self.next()) is not None:
            yield found

    def next(self) -> Cells | Fault | None:
        """None at the end. Empty lines are passed over. Raises Unreadable for a file whose quotes
        are beyond mending.
        """
        lines = self._lines
        values: list[str] | None = []
        while values == []:
            lines.begin()
            try:
                values = next(self._reader, None)
            except (csv.Error, _TooLong) as error:
                return self._fault(too_long=isinstance(error, _TooLong))
        return None if values is None else Cells(values, lines.first, lines.number)

    def _fault(self, *, too_long: bool) -> Fault:
        lines = self._lines
        text = "".join(lines.row)
        quoted = _quoted_field(text, self._delimiter)
        if quoted is not None and quoted.end is None:
            self._unclosed += 1
        if self._unclosed > _MOST_UNCLOSED:
            line = lines.first
            raise Unreadable(
                f"over {_MOST_UNCLOSED:,} quotes are not closed, the last in line {line}"
            )
        fault = Fault(lines.row[0], _issue(lines, quoted, too_long=too_long))
        lines.give_back(1)
        return fault


class _TooLong(Exception):
    """The row that is being read has reached LONGEST_ROW."""


class _Lines:
    """For csv.reader. `row`: the lines of the row that is being read; `number`: of the last."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._again: deque[str] = deque()
        self._size = 0
        self.number = 0
        self.row: list[str] = []

    @property
    def first(self) -> int:
        return self.number - len(self.row) + 1

    def begin(self) -> None:
        self.row = []
        self._size = 0

    def give_back(self, after: int) -> None:
        """The row's lines after the first `after` will come again."""
        again = self.row[after:]
        self._again.extendleft(reversed(again))
        self.number -= len(again)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self.row.append(line)
        self._size += len(line)
        if self._size >= LONGEST_ROW:
            raise _TooLong
        return line

    def _read(self) -> str:
        """A line that is too long is cut: the rest of it is not kept."""
        line = rest = self._text.readline(LONGEST_ROW)
        while len(rest) == LONGEST_ROW and not rest.endswith(("\n", "\r")):
            rest = self._text.readline(LONGEST_ROW)
        return line


class _Quoted(NamedTuple):
    """Where a quoted field begins and ends in the text of its row; no end: it is not closed."""

    start: int
    end: int | None


def _issue(lines: _Lines, quoted: _Quoted | None, *, too_long: bool) -> str:
    """`quoted`: the field that is at fault."""
    if quoted is None:
        return f"is longer than {LONGEST_ROW:,} characters; an event may have {MAX_EVENT_BYTES:,}"
    begun = _line_of(lines, quoted.start)
    if quoted.end is None:
        where = f"within {LONGEST_ROW:,} characters" if too_long else "before the end of the file"
        return f"has a quoted field, begun in line {begun}, that is not closed {where}"
    closed = _line_of(lines, quoted.end - 1)
    told = 'quotes inside a quoted field are doubled ("")'
    if closed == begun:
        return f"has text after the closing quote of a field in line {begun}; {told}"
    return (
        f"has a quoted field, begun in line {begun}, with text after its closing quote in line"
        f" {closed}; is a quote not closed in line {begun}? And {told}"
    )


def _quoted_field(text: str, delimiter: str) -> _Quoted | None:
    """The first that is not closed, or has text behind its closing quote."""
    plain = re.compile(f"[^{re.escape(delimiter)}\r\n]*")
    at = 0
    while at < len(text):
        quoted = _CLOSED.match(text, at)
        if quoted is None and text[at] == '"':
            return _Quoted(at, None)
        found = quoted or plain.match(text, at)
        assert found is not None  # `plain` matches anything, also nothing
        if quoted is not None and text[found.end() : found.end() + 1] not in (
            "",
            "\r",
            "\n",
            delimiter,
        ):
            return _Quoted(at, found.end())
        at = found.end() + 1
    return None


def _line_of(lines: _Lines, offset: int) -> int:
    ends = accumulate(map(len, lines.row))
    return lines.first + sum(end <= offset for end in ends)
