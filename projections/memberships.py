"""Who is in which segment as ClickHouse knows it, for callers' SQL: one row for each person that
entered or left, as the read model of segments has them.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from domain.past import Past

TABLE = "segment_memberships"
COLUMNS = ("app_number", "segment_id", "person", "position", "entered", "at")

_CREATE = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} (
    app_number UInt32, segment_id UUID, person UInt64, position UInt64, entered Bool,
    at DateTime64(6, 'UTC')
) ENGINE = {engine} ORDER BY (app_number, segment_id, person, position)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
COMMENT '{generation}'"""
VERSION = 1  # of the rows; another one fills the table anew
DIGEST = """
SELECT app_number, count(),
    toString(sum(reinterpretAsUInt128(sipHash128(segment_id, person, position, entered, at))))
FROM {table} FINAL WHERE position <= {{upto:UInt64}} GROUP BY app_number ORDER BY app_number"""


class Row(NamedTuple):
    app_number: int
    segment_id: UUID
    person: int
    position: int
    entered: bool
    at: datetime


def line(row: Row) -> bytes:
    """In the format TSV."""
    *others, at = row
    told = "\t".join(str(int(one) if isinstance(one, bool) else one) for one in others)
    return f"{told}\t{at:%Y-%m-%d %H:%M:%S.%f}\n".encode()


def create_table(
    table: str, *, generation: str, engine: str = "ReplacingMergeTree", on_cluster: str = ""
) -> str:
    """The DDL. Of a cluster every server has all rows."""
    return _CREATE.format(table=table, generation=generation, engine=engine, on_cluster=on_cluster)


def latest(app_number: int, past: Past, segments: Sequence[UUID]) -> str:
    """Rows (segment_id, pid0, since): the numbers that are in these segments, or were."""
    conditions = [f"{TABLE}.app_number = {app_number:d}"]
    if past.known_at is not None:
        conditions.append(f"position <= {past.known_at:d}")
    if past.as_of is not None:
        conditions.append(f"at <= toDateTime64('{past.as_of:%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')")
    listed = ", ".join(f"toUUID('{one}')" for one in segments) or "toUUID(NULL)"
    conditions.append(f"segment_id IN ({listed})")
    return (
        "SELECT segment_id, person AS pid0, argMax(at, position) AS since"
        f" FROM {TABLE} PREWHERE {' AND '.join(conditions)}"
        " GROUP BY segment_id, person HAVING argMax(entered, position)"
    )
