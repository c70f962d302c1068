"""Where the rows of one import came to lie on the log."""

from bisect import bisect_right, insort
from typing import NamedTuple


class _Stretch(NamedTuple):
    """`rows` positions from `position` on, of as many rows from `row` on."""

    position: int
    row: int
    rows: int


class Places:
    """Which row a position belongs to. Rows in a row on the log cost nothing but the first: a file
    has millions.
    """

    def __init__(self) -> None:
        self._stretches: list[_Stretch] = []  # by position; they don't overlap

    def add(self, row: int, position: int) -> None:
        """The first row that came to a position keeps it."""
        last = self._stretches[-1] if self._stretches else None
        if last and (row - last.row) == (position - last.position) == last.rows:
            self._stretches[-1] = last._replace(rows=last.rows + 1)
        elif self.row_at(position) is None:
            insort(self._stretches, _Stretch(position, row, 1))

    def row_at(self, position: int) -> int | None:
        at = bisect_right(self._stretches, position, key=lambda stretch: stretch.position) - 1
        if at < 0:
            return None
        found = self._stretches[at]
        offset = position - found.position
        return found.row + offset if offset < found.rows else None
