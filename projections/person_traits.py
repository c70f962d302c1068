"""The traits of persons as ClickHouse knows them, for criteria.

A row says what a person's traits are from a position on; the last one counts. A person that has
none any more, because they were unset or because another person has the number now, has `{}`.
"""

from collections.abc import Sequence

TABLE = "person_traits"
COLUMNS = ("app_number", "person", "position", "traits")

CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
    app_number UInt32, person UInt64, position UInt64 CODEC(Delta(8), ZSTD(1)),
    traits String CODEC(ZSTD(1))
) ENGINE = ReplacingMergeTree ORDER BY (app_number, person, position)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT '{generation}'"""
VERSION = 1  # of the rows; another one fills the table anew
DIGEST = """
SELECT app_number, count(),
    toString(sum(reinterpretAsUInt128(sipHash128(person, position, traits))))
FROM {table} FINAL WHERE position <= {{upto:UInt64}} GROUP BY app_number ORDER BY app_number"""


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def line(row: tuple[int, int, int, str]) -> bytes:
    """In the format TSV."""
    *numbers, traits = row
    return "\t".join([*map(str, numbers), traits.translate(_ESCAPES)]).encode() + b"\n"


def latest(
    app_number: int, known_at: int | None, *, table: str = TABLE, conditions: Sequence[str] = ()
) -> str:
    """Rows (person, properties), as projections/conditions.py asks of them; `conditions`: on
    `person`.
    """
    asked = [f"app_number = {app_number:d}", *conditions]
    if known_at is not None:
        asked.append(f"position <= {known_at:d}")
    return (
        f"SELECT person, argMax(traits, position) AS properties FROM {table}"
        f" WHERE {' AND '.join(asked)} GROUP BY person"
    )
