"""Keeps ClickHouse's copy of who is whom up to the position of the events beside it.

A row that comes twice changes nothing, so after a crash the last position that the table has is
enough to go on from.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import Connection, Engine

from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from projections import people, person_traits
from projections.person_map import (
    CHANGES,
    DIGEST,
    FILL_NOW,
    NOW,
    create_changes,
    create_now,
)

_SHADOW = "_rebuild"
_ROWS = 100_000  # in one insert; a position is never in two
_COMMENT = """
SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"""


class PersonWriter:
    """For one thread; one writer at a time, as of the events."""

    def __init__(self, analytics: AnalyticsEngine, *, suffix: str = "") -> None:
        self._analytics = analytics
        self._changes = CHANGES + suffix
        self._now = NOW + suffix
        self._position = 0

    def recover(self, log_id: UUID) -> None:
        """Makes the tables if they are missing, and empties those of another log or version."""
        generation = f"{log_id} {people.version}"
        self._create(generation)
        found = self._analytics.query(_COMMENT, {"table": self._changes}, LIGHT).rows[0][0]
        if found != generation:
            self.drop()
            self._create(generation)
        self._analytics.command(FILL_NOW.format(now=self._now, changes=self._changes))
        answer = self._analytics.query(f"SELECT max(position) FROM {self._changes}", None, LIGHT)
        self._position = int(answer.rows[0][0])

    def write(self, connection: Connection, upto: int) -> None:
        """What the people's read model, which has come to `upto`, says since the last time."""
        changes = people.find_changes(connection, after=self._position, upto=upto)
        for rows in _in_parts(changes):
            self._insert(self._changes, people.CHANGE, rows)
            self._insert(
                self._now,
                ("app_number", "number", "person"),
                [(app, number, person) for app, number, _, person in rows],
            )
        self._position = max(self._position, upto)

    def drop(self) -> None:
        for table in (self._changes, self._now):
            self._analytics.command(f"DROP TABLE IF EXISTS {table} SYNC")

    def _create(self, generation: str) -> None:
        create = create_changes(self._changes, generation=generation)
        self._analytics.command(create)
        self._analytics.command(create_now(self._now))
        traits = person_traits.create_table(person_traits.TABLE, generation=generation)
        self._analytics.command(traits)

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[int, ...]]) -> None:
        data = "\n".join("\t".join(map(str, row)) for row in rows) + "\n"
        self._analytics.insert_rows(table, columns, data.encode(), format_name="TSV")


def _in_parts(
    changes: Iterator[tuple[int, int, int, int]],
) -> Iterator[list[tuple[int, int, int, int]]]:
    part: list[tuple[int, int, int, int]] = []
    for change in changes:
        if len(part) >= _ROWS and change[2] != part[-1][2]:
            yield part
            part = []
        part.append(change)
    if part:
        yield part


def refill(analytics: AnalyticsEngine, engine: Engine, log_id: UUID, upto: int) -> None:
    """Both tables anew, from the people's read model; readers see the old ones until then."""
    shadow = _filled(analytics, engine, log_id, upto)
    PersonWriter(analytics).recover(log_id)
    for table in (CHANGES, NOW):
        analytics.command(f"EXCHANGE TABLES {table} AND {table}{_SHADOW}")
    shadow.drop()


def differing(
    analytics: AnalyticsEngine, engine: Engine, log_id: UUID, upto: int
) -> tuple[str, ...]:
    """Apps whose changes up to `upto` are not those of the people's read model."""
    shadow = _filled(analytics, engine, log_id, upto)
    live, built = (_digest(analytics, table, upto) for table in (CHANGES, CHANGES + _SHADOW))
    shadow.drop()
    apps = sorted(live.keys() | built.keys())
    return tuple(f"{CHANGES}, app {app}" for app in apps if live.get(app) != built.get(app))


def _filled(analytics: AnalyticsEngine, engine: Engine, log_id: UUID, upto: int) -> PersonWriter:
    shadow = PersonWriter(analytics, suffix=_SHADOW)
    shadow.drop()
    shadow.recover(log_id)
    with engine.connect() as connection:
        shadow.write(connection, upto)
    return shadow


def _digest(analytics: AnalyticsEngine, table: str, upto: int) -> dict[int, tuple[int, str]]:
    answer = analytics.query(DIGEST.format(table=table), {"upto": upto}, {"max_execution_time": 0})
    return {app: (rows, value) for app, rows, value in answer.rows}
