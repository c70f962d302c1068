"""Keeps ClickHouse's copy of who is in which segment."""

from uuid import UUID

from sqlalchemy import Connection

from infrastructure import checkpoints
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.companion_tables import last_position, lines_in_parts, make
from projections import memberships, segments


class MembershipWriter:
    """A Companion. Copies what there is up to where the read model of segments has come to, which
    may be behind the others while it is built anew.
    """

    table, digest = memberships.TABLE, memberships.DIGEST

    def __init__(self, analytics: AnalyticsEngine, *, suffix: str = "") -> None:
        self._analytics = analytics
        self._name = self.table + suffix
        self.position = 0

    @property
    def tables(self) -> tuple[str, ...]:
        return (self._name,)

    def recover(self, log_id: UUID) -> None:
        generation = f"{log_id} {segments.version} {memberships.VERSION}"
        make(self._analytics, self._name, memberships.create_table, generation, self.drop)
        self.position = last_position(self._analytics, self._name)

    def write(self, connection: Connection, upto: int) -> None:
        reached = checkpoints.read(connection, segments.name)
        upto = min(upto, reached.position if reached else 0)
        rows = segments.moved_between(connection, self.position, upto)
        for part in lines_in_parts(rows, memberships.line, lambda row: row.position):
            self._analytics.insert_rows(self._name, memberships.COLUMNS, part, format_name="TSV")
        self.position = max(self.position, upto)

    def drop(self) -> None:
        self._analytics.command(f"DROP TABLE IF EXISTS {self._name} SYNC")
