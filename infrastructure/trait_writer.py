"""Keeps ClickHouse's copy of the traits of persons."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from sqlalchemy import Connection

from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.companion_tables import last_position, lines_in_parts, make
from projections import people, person_traits


class TraitWriter:
    """Copies the traits of persons as they are after each position that changes them."""

    table, digest = person_traits.TABLE, person_traits.DIGEST

    def __init__(self, analytics: AnalyticsEngine, *, suffix: str = "") -> None:
        self._analytics = analytics
        self._name = self.table + suffix
        self._rows = people.TraitRows()
        self.position = 0

    @property
    def tables(self) -> tuple[str, ...]:
        return (self._name,)

    def recover(self, log_id: UUID) -> None:
        generation = trait_generation(log_id)
        make(self._analytics, self._name, person_traits.create_table, generation, self.drop)
        self.position = last_position(self._analytics, self._name)
        self._rows.forget()

    def write(self, connection: Connection, upto: int) -> None:
        rows = self._rows.between(connection, self.position, upto)
        for part in _parts(rows):
            self._analytics.insert_rows(self._name, person_traits.COLUMNS, part, format_name="TSV")
        self.position = max(self.position, upto)

    def forget(self) -> None:
        """Somebody was erased: what was said of persons is not what it was."""
        self._rows.forget()

    def drop(self) -> None:
        self._analytics.command(f"DROP TABLE IF EXISTS {self._name} SYNC")


def trait_generation(log_id: UUID) -> str:
    return f"{log_id} {people.version} {person_traits.VERSION}"


def write_traits(
    analytics: AnalyticsEngine,
    rows: Iterable[people.TraitRow],
    table: str = person_traits.TABLE,
) -> None:
    """Beside what the writer writes."""
    for part in _parts(iter(rows)):
        analytics.insert_rows(table, person_traits.COLUMNS, part, format_name="TSV")


def _parts(rows: Iterator[people.TraitRow]) -> Iterator[list[bytes]]:
    return lines_in_parts(rows, person_traits.line, lambda row: row.position)
