"""Keeps ClickHouse's copy of who is whom."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy import Connection

from domain.errors import TooHeavy
from infrastructure.analytics_engine import LIGHT, AnalyticsEngine, EngineFailed
from infrastructure.companion_tables import in_parts, last_position, make
from projections import people
from projections.person_map import (
    CHANGES,
    DICTIONARIES,
    DIGEST,
    FILL_NOW,
    NOW,
    create_changes,
    create_now,
    dictionary,
)

_log = structlog.get_logger()

LOOKED_UP = {"check_table_dependencies": 0}  # the dictionaries that read it are loaded anew
# Changes after which an app's dictionary is loaded anew: until then each query reads them.
_RECENT, _RECENT_SHARE = 1_000, 0.02
_CHANGE_BYTES = 40  # of four numbers, at most some


class PersonWriter:
    """A Companion."""

    table, digest = CHANGES, DIGEST

    def __init__(self, analytics: AnalyticsEngine, *, suffix: str = "") -> None:
        self._analytics = analytics
        self._changes = CHANGES + suffix
        self._now = NOW + suffix
        self.position = 0
        self._recent: Counter[int] = Counter()  # changes by app, since its dictionary was loaded

    @property
    def tables(self) -> tuple[str, ...]:
        return self._changes, self._now

    def recover(self, log_id: UUID) -> None:
        generation = f"{log_id} {people.version}"
        make(self._analytics, self._changes, create_changes, generation, self.drop)
        self._analytics.command(create_now(self._now))
        self._analytics.command(FILL_NOW.format(now=self._now, changes=self._changes))
        self.position = last_position(self._analytics, self._changes)
        if self._changes == CHANGES:
            reload_dictionaries(self._analytics)

    def write(self, connection: Connection, upto: int) -> None:
        changes = people.find_changes(connection, after=self.position, upto=upto)
        for rows in in_parts(changes, lambda change: change[2], lambda _: _CHANGE_BYTES):
            self._insert(self._changes, people.CHANGE, rows)
            self._insert(
                self._now,
                ("app_number", "number", "person"),
                [(app, number, person) for app, number, _, person in rows],
            )
            self._recent.update(app for app, *_ in rows)
        self.position = max(self.position, upto)
        if self._changes == CHANGES:
            self._load()

    def _load(self) -> None:
        """Anew what too much has changed of since."""
        many = [app for app, changes in self._recent.items() if changes >= _RECENT]
        if not many:
            return
        rows = self._analytics.query(DICTIONARIES, None, LIGHT).rows
        held = {str(name): int(entries) for name, entries in rows}
        for app in many:
            name = dictionary(app)
            if self._recent[app] >= held.get(name, 0) * _RECENT_SHARE:
                if name in held:  # else the first question makes it
                    _reload(self._analytics, name)
                del self._recent[app]

    def drop(self) -> None:
        for table in (self._changes, self._now):
            self._analytics.command(f"DROP TABLE IF EXISTS {table} SYNC", settings=LOOKED_UP)

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[tuple[int, ...]]) -> None:
        data = "\n".join("\t".join(map(str, row)) for row in rows) + "\n"
        self._analytics.insert_rows(table, columns, data.encode(), format_name="TSV")


def reload_dictionaries(analytics: AnalyticsEngine) -> None:
    """All that are in memory: their tables are other ones now."""
    for name, _ in analytics.query(DICTIONARIES, None, LIGHT).rows:
        _reload(analytics, name)


def _reload(analytics: AnalyticsEngine, name: str) -> None:
    """Anew from the table; one that can't be, such as an array that has become too long, goes, and
    the next question makes it as it has to be now.
    """
    try:
        analytics.command(f"SYSTEM RELOAD DICTIONARY {name}")
    except (EngineFailed, TooHeavy) as error:
        _log.warning("a dictionary is made anew", name=name, error=str(error))
        analytics.command(f"DROP DICTIONARY IF EXISTS {name}")
