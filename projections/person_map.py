"""Who is whom, as ClickHouse knows it: the changes that the people's read model has seen.

A row of events keeps the number of the distinct id that it was sent with, for ever. Uniques are
counted over bitmaps of these numbers; before counting, the few that belong to another person are
replaced by that person's number. So a merge or an un-merge rewrites no event.
"""

from collections.abc import Sequence

from projections.event_queries import Query
from projections.events import TABLE

CHANGES = "person_changes"  # from `position` on, `number` belongs to `person`
NOW = "person_now"  # the last of these for each number, in memory

_CREATE_CHANGES = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} (
    app_number UInt32, number UInt64, position UInt64, person UInt64
) ENGINE = {engine} ORDER BY (app_number, number, position)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT '{generation}'"""
# A Join table, because a row that is added is found at once: a dictionary would be loaded anew.
_CREATE_NOW = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} (app_number UInt32, number UInt64, person UInt64)
ENGINE = Join(ANY, LEFT, app_number, number) SETTINGS join_any_take_last_row = 1"""
FILL_NOW = """
INSERT INTO {now} SELECT app_number, number, argMax(person, position) FROM {changes}
GROUP BY app_number, number"""
DIGEST = """
SELECT app_number, count(),
    toString(sum(reinterpretAsUInt128(sipHash128(number, position, person))))
FROM {table} FINAL WHERE position <= {{upto:UInt64}} GROUP BY app_number ORDER BY app_number"""

_MOVED = "(SELECT groupBitmapState(number) FROM {table} WHERE {condition} AND person != number)"
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


def scalars(app_number: int, known_at: int | None) -> str:
    """What a query must have after WITH to use `persons`. `known_at`: a position, None: now."""
    if known_at is None:
        moved = _MOVED.format(table=NOW, condition=f"app_number = {app_number:d}")
        return f"{moved} AS moved"
    then = _THEN.format(app=f"{app_number:d}", known_at=f"{known_at:d}")
    moved = _MOVED.format(table=then, condition="1")
    pairs = f"(SELECT (groupArray(number), groupArray(person)) FROM {then} WHERE person != number)"
    return f"{moved} AS moved, {pairs} AS belongs"


def persons(bitmap: str, app_number: int, known_at: int | None) -> str:
    """The bitmap of persons for a bitmap of numbers."""
    if known_at is None:
        person = f"joinGet('{NOW}', 'person', toUInt32({app_number:d}), number)"
    else:
        person = "transform(number, belongs.1, belongs.2, number)"
    replaced = f"arrayMap(number -> {person}, bitmapToArray(bitmapAnd({bitmap}, moved)))"
    return f"bitmapOr(bitmapAndnot({bitmap}, moved), bitmapBuild({replaced}))"


def counts_of(app_number: int, numbers: Sequence[int]) -> Query:
    """(event name, how many) of the events that these numbers have sent, most frequent first."""
    return Query(
        f"SELECT event, count() AS events FROM {TABLE} WHERE app_number = {app_number:d}"
        " AND pid0 IN {numbers:Array(UInt64)} GROUP BY event ORDER BY events DESC, event",
        {"numbers": list(numbers)},
    )


def person(app_number: int, known_at: int | None) -> str:
    """Of a row of events, the number of the person; needs `scalars`."""
    if known_at is None:
        belongs = f"joinGet('{NOW}', 'person', toUInt32({app_number:d}), pid0)"
    else:
        belongs = "transform(pid0, belongs.1, belongs.2, pid0)"
    return f"if(bitmapContains(moved, pid0), {belongs}, pid0)"


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
