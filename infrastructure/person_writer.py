"""Keeps ClickHouse's copies of who is whom, and of traits, up to the position of the events beside
them.

A row that comes twice changes nothing, so after a crash the last position that a table has is
enough to go on from.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from sqlalchemy import Connection, Engine

from infrastructure.analytics_engine import LIGHT, AnalyticsEngine
from projections import people, person_traits
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

_SHADOW = "_rebuild"
_ROWS = 100_000  # in one insert; a position is never in two
_BYTES = 16 * 2**20
_LOOKED_UP = {"check_table_dependencies": 0}  # the dictionaries that read it are loaded anew
# Changes after which an app's dictionary is loaded anew: until then each query reads them.
_RECENT, _RECENT_SHARE = 1_000, 0.02
_COMMENT = """
SELECT comment FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"""


class PersonWriter:
    """For one thread; one writer at a time, as of the events."""

    table, digest = CHANGES, DIGEST

    def __init__(self, analytics: AnalyticsEngine, *, suffix: str = "") -> None:
        self._analytics = analytics
        self._changes = CHANGES + suffix
        self._now = NOW + suffix
        self._position = 0
        self._recent: Counter[int] = Counter()  # changes by app, since its dictionary was loaded

    @property
    def tables(self) -> tuple[str, ...]:
        return self._changes, self._now

    def recover(self, log_id: UUID) -> None:
        """Makes the tables if they are missing, and empties those of another log or version."""
        generation = f"{log_id} {people.version}"
        _made(self._analytics, self._changes, create_changes, generation, self.drop)
        self._analytics.command(create_now(self._now))
        self._analytics.command(FILL_NOW.format(now=self._now, changes=self._changes))
        answer = self._analytics.query(f"SELECT max(position) FROM {self._changes}", None, LIGHT)
        self._position = int(answer.rows[0][0])
        if self._changes == CHANGES:
            reload_dictionaries(self._analytics)

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
            self._recent.update(app for app, *_ in rows)
        self._position = max(self._position, upto)
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
                    self._analytics.command(f"SYSTEM RELOAD DICTIONARY {name}")
                del self._recent[app]

    def drop(self) -> None:
        for table in (self._changes, self._now):
            self._analytics.command(f"DROP TABLE IF EXISTS {table} SYNC", settings=_LOOKED_UP)

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


class TraitWriter:
    """The same for the traits of persons."""

    table, digest = person_traits.TABLE, person_traits.DIGEST

    def __init__(self, analytics: AnalyticsEngine, *, suffix: str = "") -> None:
        self._analytics = analytics
        self._name = self.table + suffix
        self._rows = people.TraitRows()
        self._position = 0

    @property
    def tables(self) -> tuple[str, ...]:
        return (self._name,)

    def recover(self, log_id: UUID) -> None:
        generation = trait_generation(log_id)
        _made(self._analytics, self._name, person_traits.create_table, generation, self.drop)
        answer = self._analytics.query(f"SELECT max(position) FROM {self._name}", None, LIGHT)
        self._position = int(answer.rows[0][0])
        self._rows.forget()

    def write(self, connection: Connection, upto: int) -> None:
        rows = self._rows.between(connection, self._position, upto)
        for part in _lines_in_parts(rows):
            self._analytics.insert_rows(self._name, person_traits.COLUMNS, part, format_name="TSV")
        self._position = max(self._position, upto)

    def forget(self) -> None:
        """Somebody was erased: what was said of persons is not what it was."""
        self._rows.forget()

    def drop(self) -> None:
        self._analytics.command(f"DROP TABLE IF EXISTS {self._name} SYNC")


def reload_dictionaries(analytics: AnalyticsEngine) -> None:
    """All that there are: their tables are other ones now."""
    for name, _ in analytics.query(DICTIONARIES, None, LIGHT).rows:
        analytics.command(f"SYSTEM RELOAD DICTIONARY {name}")


def trait_generation(log_id: UUID) -> str:
    return f"{log_id} {people.version} {person_traits.VERSION}"


def write_traits(analytics: AnalyticsEngine, rows: Iterable[people.TraitRow]) -> None:
    """Beside what the writer writes."""
    for part in _lines_in_parts(iter(rows)):
        analytics.insert_rows(person_traits.TABLE, person_traits.COLUMNS, part, format_name="TSV")


def _made(
    analytics: AnalyticsEngine,
    table: str,
    create: Callable[..., str],
    generation: str,
    drop: Callable[[], None],
) -> None:
    """The table is there, and of this generation."""
    analytics.command(create(table, generation=generation))
    if analytics.query(_COMMENT, {"table": table}, LIGHT).rows[0][0] != generation:
        drop()
        analytics.command(create(table, generation=generation))


def _lines_in_parts(rows: Iterator[people.TraitRow]) -> Iterator[list[bytes]]:
    """Each is one part of the table, so that it is there or not."""
    part: list[bytes] = []
    size = position = 0
    for row in rows:
        if (len(part) >= _ROWS or size >= _BYTES) and row.position != position:
            yield part
            part, size = [], 0
        part.append(person_traits.line(row))
        size += len(part[-1])
        position = row.position
    if part:
        yield part


_WRITERS: tuple[type[PersonWriter] | type[TraitWriter], ...] = (PersonWriter, TraitWriter)


def refill(analytics: AnalyticsEngine, engine: Engine, log_id: UUID, upto: int) -> None:
    """All tables anew, from the people's read model; readers see the old ones until then."""
    for kind in _WRITERS:
        shadow = _filled(kind, analytics, engine, log_id, upto)
        live = kind(analytics)
        live.recover(log_id)
        for old, new in zip(live.tables, shadow.tables, strict=True):
            analytics.command(f"EXCHANGE TABLES {old} AND {new}", settings=_LOOKED_UP)
        shadow.drop()
    reload_dictionaries(analytics)


def differing(
    analytics: AnalyticsEngine, engine: Engine, log_id: UUID, upto: int
) -> tuple[str, ...]:
    """Apps whose rows up to `upto` are not those of the people's read model."""
    found: list[str] = []
    for kind in _WRITERS:
        shadow = _filled(kind, analytics, engine, log_id, upto)
        live = _digest(analytics, kind.digest, kind.table, upto)
        built = _digest(analytics, kind.digest, kind.table + _SHADOW, upto)
        shadow.drop()
        apps = sorted(live.keys() | built.keys())
        found += [f"{kind.table}, app {app}" for app in apps if live.get(app) != built.get(app)]
    return tuple(found)


def _filled(
    kind: type[PersonWriter] | type[TraitWriter],
    analytics: AnalyticsEngine,
    engine: Engine,
    log_id: UUID,
    upto: int,
) -> PersonWriter | TraitWriter:
    shadow = kind(analytics, suffix=_SHADOW)
    shadow.drop()
    shadow.recover(log_id)
    with engine.connect() as connection:
        shadow.write(connection, upto)
    return shadow


def _digest(
    analytics: AnalyticsEngine, digest: str, table: str, upto: int
) -> dict[int, tuple[int, str]]:
    answer = analytics.query(digest.format(table=table), {"upto": upto}, {"max_execution_time": 0})
    return {app: (rows, value) for app, rows, value in answer.rows}
