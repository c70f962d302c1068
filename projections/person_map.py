"""Who is whom, as ClickHouse knows it: the changes that the people's read model has seen.

A row of events keeps the number of the distinct id that it was sent with, for ever. Uniques are
counted over bitmaps of these numbers; before counting, the few that belong to another person are
replaced by that person's number. So a merge or an un-merge rewrites no event.

As of now an app's numbers are looked up in a dictionary of its own, an array in memory, which knows
the changes up to the position that it has under the number 0. What came later is read from the
changes by each query, so that the dictionary need not be loaded anew for each merge.
"""

import re
from collections.abc import Sequence

from projections.event_queries import Query
from projections.events import TABLE

CHANGES = "person_changes"  # from `position` on, `number` belongs to `person`
NOW = "person_now"  # the last of these for each number, in memory

_CREATE_CHANGES = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} (
    app_number UInt32, number UInt64, position UInt64, person UInt64,
    INDEX by_position position TYPE minmax GRANULARITY 1
) ENGINE = {engine} ORDER BY (app_number, number, position)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT '{generation}'"""
# A Join table, because a row that is added is found at once.
_CREATE_NOW = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} (app_number UInt32, number UInt64, person UInt64)
ENGINE = Join(ANY, LEFT, app_number, number) SETTINGS join_any_take_last_row = 1"""
FILL_NOW = """
INSERT INTO {now} SELECT app_number, number, argMax(person, position) FROM {changes}
GROUP BY app_number, number"""
# One reading of the changes, so that the position is that of what was read.
_CREATE_DICTIONARY = """
CREATE DICTIONARY IF NOT EXISTS {name} {on_cluster} (number UInt64, person UInt64)
PRIMARY KEY number
SOURCE(CLICKHOUSE(QUERY '
    SELECT pair.1 AS number, pair.2 AS person FROM (
        SELECT arrayJoin(arrayPushBack(
            groupArrayIf((number, person), person != number), (toUInt64(0), max(last))
        )) AS pair
        FROM (
            SELECT number, argMax(person, position) AS person, max(position) AS last
            FROM {database}.{changes} WHERE app_number = {app_number} GROUP BY number
        )
    )'))
LAYOUT({layout}) LIFETIME(0)"""
_DICTIONARY = "persons_of_"  # and the app's number
_MISSING = re.compile(
    rf"DB::Exception: Dictionary \(`?(?:\w+`?\.`?)?{_DICTIONARY}(\d{{1,9}})`?\) not found"
)
DICTIONARIES = (  # (name, entries) of all that are in memory
    "SELECT name, element_count FROM system.dictionaries WHERE database = currentDatabase()"
    f" AND startsWith(name, '{_DICTIONARY}') AND status != 'NOT_LOADED'"
)
HIGHEST = f"SELECT max(number) FROM {CHANGES} WHERE app_number = {{app:UInt32}}"
_FLAT = "FLAT(INITIAL_ARRAY_SIZE 1024 MAX_ARRAY_SIZE {most})"
_MOST_FLAT = 50_000_000  # ids of an app: eight bytes of memory for each; beyond it hashed
DIGEST = """
SELECT app_number, count(),
    toString(sum(reinterpretAsUInt128(sipHash128(number, position, person))))
FROM {table} FINAL WHERE position <= {{upto:UInt64}} GROUP BY app_number ORDER BY app_number"""

_MOVED = "(SELECT groupBitmapState(number) FROM {table} WHERE {condition} AND person != number)"
# Also those of the very position: a merge may have been half written when it was read.
_RECENT = f"""(
    SELECT (groupArray(number), groupArray(person)) FROM (
        SELECT number, argMax(person, position) AS person FROM {CHANGES}
        WHERE app_number = {{app}}
            AND position >= dictGetOrDefault('{{dictionary}}', 'person', toUInt64(0), toUInt64(0))
        GROUP BY number))"""
_THEN = f"""(
    SELECT number, argMax(person, position) AS person FROM {CHANGES}
    WHERE app_number = {{app}} AND position <= {{known_at}} GROUP BY number)"""


def create_changes(
    table: str, *, generation: str, engine: str = "ReplacingMergeTree", on_cluster: str = ""
) -> str:
    """The DDL. Of a cluster every server has all rows."""
    return _CREATE_CHANGES.format(
        table=table, generation=generation, engine=engine, on_cluster=on_cluster
    )


def create_now(table: str, *, on_cluster: str = "") -> str:
    """The DDL. Of a cluster every server has all rows."""
    return _CREATE_NOW.format(table=table, on_cluster=on_cluster)


def create_dictionary(
    app_number: int, *, database: str, ids: int, changes: str = CHANGES, on_cluster: str = ""
) -> str:
    """The DDL of what an app's numbers are looked up in. `ids`: how many distinct ids it has."""
    return _CREATE_DICTIONARY.format(
        name=dictionary(app_number),
        on_cluster=on_cluster,
        database=database,
        changes=changes,
        app_number=f"{app_number:d}",
        layout=_FLAT.format(most=_MOST_FLAT * 2) if ids <= _MOST_FLAT else "HASHED_ARRAY()",
    )


def dictionary(app_number: int) -> str:
    return f"{_DICTIONARY}{app_number:d}"


def missing_dictionary(message: str) -> int | None:
    """The number of the app whose dictionary the engine says is not there."""
    found = _MISSING.search(message)
    return int(found[1]) if found else None


def scalars(app_number: int, known_at: int | None) -> str:
    """What a query must have after WITH to use `persons`. `known_at`: a position, None: now."""
    if known_at is None:
        moved = _MOVED.format(table=NOW, condition=f"app_number = {app_number:d}")
        recent = _RECENT.format(app=f"{app_number:d}", dictionary=dictionary(app_number))
        return f"{moved} AS moved, {recent} AS moved_since"
    then = _THEN.format(app=f"{app_number:d}", known_at=f"{known_at:d}")
    moved = _MOVED.format(table=then, condition="1")
    pairs = f"(SELECT (groupArray(number), groupArray(person)) FROM {then} WHERE person != number)"
    return f"{moved} AS moved, {pairs} AS belongs"


def persons(bitmap: str, app_number: int, known_at: int | None) -> str:
    """The bitmap of persons for a bitmap of numbers."""
    whose = _whose("number", app_number, known_at)
    replaced = f"arrayMap(number -> {whose}, bitmapToArray(bitmapAnd({bitmap}, moved)))"
    return f"bitmapOr(bitmapAndnot({bitmap}, moved), bitmapBuild({replaced}))"


def _whose(number: str, app_number: int, known_at: int | None) -> str:
    if known_at is not None:
        return f"transform({number}, belongs.1, belongs.2, {number})"
    known = f"dictGetOrDefault('{dictionary(app_number)}', 'person', {number}, {number})"
    return f"transform({number}, moved_since.1, moved_since.2, {known})"


def counts_of(app_number: int, numbers: Sequence[int]) -> Query:
    """(event name, how many) of the events that these numbers have sent, most frequent first."""
    return Query(
        f"SELECT event, count() AS events FROM {TABLE} WHERE app_number = {app_number:d}"
        " AND pid0 IN {numbers:Array(UInt64)} GROUP BY event ORDER BY events DESC, event",
        {"numbers": list(numbers)},
    )


def person(app_number: int, known_at: int | None) -> str:
    """Of a row of events, the number of the person; needs `scalars`."""
    return _whose("pid0", app_number, known_at)


def numbers_of_rows(persons: str, app_number: int, known_at: int | None) -> str:
    """The numbers, as rows, that belong to any of the persons that are rows (person)."""
    if known_at is None:
        source = f"(SELECT number, person FROM {NOW} WHERE app_number = {app_number:d})"
    else:
        source = _THEN.format(app=f"{app_number:d}", known_at=f"{known_at:d}")
    return f"{persons} UNION ALL SELECT number FROM {source} WHERE person IN ({persons})"


def listed(numbers: Sequence[int], app_number: int, known_at: int | None) -> str:
    """Rows (person): whose these numbers are."""
    given = ", ".join(f"{number:d}" for number in numbers)
    rows = f"SELECT arrayJoin(CAST([{given}], 'Array(UInt64)')) AS pid0"
    return f"SELECT {person(app_number, known_at)} AS person FROM ({rows})"
