"""The traits of persons as ClickHouse knows them, for criteria.

A row says what a person's traits are from a position on; the last one counts. A person that has
none any more, because they were unset or because another person has the number now, has `{}`. They
are packed to be read fast, at up to 2.5 times the space that ZSTD takes.
"""

from collections.abc import Mapping, Sequence

TABLE = "person_traits"
COLUMNS = ("app_number", "person", "position", "traits")

_CREATE = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} (
    app_number UInt32 CODEC(T64, LZ4), person UInt64 CODEC(T64, LZ4),
    position UInt64 CODEC(T64, LZ4), traits String CODEC(LZ4)
) ENGINE = {engine} ORDER BY (app_number, person, position)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT '{generation}'"""
VERSION = 2  # of the rows; another one fills the table anew
DIGEST = """
SELECT app_number, count(),
    toString(sum(reinterpretAsUInt128(sipHash128(person, position, traits))))
FROM {table} FINAL WHERE position <= {{upto:UInt64}} GROUP BY app_number ORDER BY app_number"""


# Rows read by one thread at least. The engine's own 163,840 are too many of what has to be parsed.
_BY_MANY = (
    " SETTINGS merge_tree_min_rows_for_concurrent_read = 16384,"
    " merge_tree_min_bytes_for_concurrent_read = 1048576"
)
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def line(row: tuple[int, int, int, str]) -> bytes:
    """In the format TSV."""
    *numbers, traits = row
    return "\t".join([*map(str, numbers), traits.translate(_ESCAPES)]).encode() + b"\n"


def create_table(
    table: str, *, generation: str, engine: str = "ReplacingMergeTree", on_cluster: str = ""
) -> str:
    """The DDL. Of a cluster every server has all rows."""
    return _CREATE.format(table=table, generation=generation, engine=engine, on_cluster=on_cluster)


def latest(
    app_number: int,
    known_at: int | None,
    *,
    facts: Mapping[str, str],
    table: str = TABLE,
    conditions: Sequence[str] = (),
) -> str:
    """Rows (person, facts...): `facts` of each person's last traits, SQL about `properties` as
    projections/conditions.py has it, never NULL. `conditions`: on `person`.
    """
    asked = [f"app_number = {app_number:d}", *conditions]
    if known_at is not None:
        asked.append(f"position <= {known_at:d}")
    # Before grouping: small facts are carried along faster than the text that they come from.
    reckoned = ", ".join(f"{fact} AS {name}" for name, fact in facts.items())
    last = ", ".join(f"argMax({name}, at) AS {name}" for name in facts)
    return (
        f"SELECT person, {last} FROM (SELECT person, position AS at, {table}.traits AS properties,"
        f" {reckoned} FROM {table} WHERE {' AND '.join(asked)}{_BY_MANY}) GROUP BY person"
    )
