"""The read model of events in ClickHouse: its table, and how the log becomes rows.

One row per tracked event. The rollups live inside the table's parts as aggregate projections:
written, merged and dropped with the rows, so they cannot say anything else than the rows do.

Properties stay the text that was received and are read with JSONExtract. Measured on 3 million
rows of 190 bytes (ClickHouse 26.9): text loads at 1.3 us of CPU a row, a JSON column beside it at
25 us and a Map at 6 us; a breakdown reads text 6 times slower than JSON and as fast as the Map.
Text is also the only one that gives back nulls, key order and number forms.

What most questions read is packed to be read fast: T64 takes no more space than the engine's own
choice, ZSTD, and is read in half the time (docs/benchmarks.md).
"""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal, NamedTuple
from uuid import UUID

from domain.tracking import Tracked
from projections.native_format import (
    block,
    joined,
    micros,
    packed,
    raws,
    repeated_micros,
    strings,
    texts,
    uuids,
)
from projections.projection import Recorded

TABLE = "events"
# When and where on the log, in one number: the engine compares these far faster than pairs.
AT = "bitOr(bitShiftLeft(toUInt128(toUnixTimestamp64Micro(ts)), 64), toUInt128(position))"
SHADOW = "events_rebuild"  # filled beside the live one, then exchanged with it

# `day` and `hour` are of the event's own time, in UTC. Partitions are years, because an import of
# history would otherwise touch hundreds of them with one insert.
_COLUMNS = """
    app_number UInt32 CODEC(T64, LZ4),
    event LowCardinality(String) CODEC(LZ4),
    pid0 UInt64 CODEC(T64, LZ4),
    ts DateTime64(6, 'UTC') CODEC(T64, LZ4),
    position UInt64 CODEC(T64, LZ4),
    event_id UUID CODEC(NONE),
    kind LowCardinality(String),
    source LowCardinality(String),
    message_id String CODEC(ZSTD(1)),
    distinct_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    anonymous_id String CODEC(ZSTD(1)),
    properties String CODEC(ZSTD(1)),
    context String CODEC(ZSTD(1)),
    received_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    recorded_at DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    country LowCardinality(String) CODEC(LZ4),
    browser LowCardinality(String) CODEC(LZ4),
    os LowCardinality(String) CODEC(LZ4),
    device LowCardinality(String) CODEC(LZ4),
    day Date MATERIALIZED toDate(ts) CODEC(LZ4),
    hour DateTime('UTC') MATERIALIZED toStartOfHour(ts) CODEC(T64, LZ4),
    INDEX by_position position TYPE minmax GRANULARITY 1"""

# What an insert carries, in the order of its block; the rest of a row is computed from these.
COLUMNS = [
    "app_number",
    "event",
    "pid0",
    "ts",
    "position",
    "event_id",
    "kind",
    "source",
    "message_id",
    "distinct_id",
    "user_id",
    "anonymous_id",
    "properties",
    "context",
    "received_at",
    "recorded_at",
    "country",
    "browser",
    "os",
    "device",
]

_TIME = "DateTime64(6, 'UTC')"

# The sum does not depend on order and, unlike exclusive or, does not lose pairs.
DIGEST = f"""
SELECT app_number, count(), toString(sum(reinterpretAsUInt128(sipHash128({", ".join(COLUMNS)}))))
FROM {{table}} WHERE position <= {{{{upto:UInt64}}}} GROUP BY app_number ORDER BY app_number"""

# Declared as State: stored as plain groupBitmap it would never be chosen.
_ROLLUP = """
    PROJECTION {name} (SELECT {keys}, count(), groupBitmapState(pid0) GROUP BY {keys})"""
_FACTS = ("country", "browser", "os", "device")
_ROLLUPS = {
    "all_by_day": ("day",),
    "events_by_day": ("day", "event"),
    **{f"{fact}_by_day": ("day", "event", fact) for fact in _FACTS},
    "all_by_hour": ("hour",),
    "events_by_hour": ("hour", "event"),
}
# The rows once more, for what is asked about few persons: in the table's own order each of a
# person's events lies somewhere else.
_BY_PERSON = f"""
    PROJECTION by_person (SELECT {", ".join(COLUMNS)}, day, hour ORDER BY app_number, pid0, ts)"""

_CREATE = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} ({columns},{projections}
) ENGINE = {engine}
PARTITION BY toYear(day) ORDER BY (app_number, day, event, pid0, ts)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1,
    lightweight_mutation_projection_mode = 'rebuild'
COMMENT '{generation}'"""


def create_table(
    table: str, *, generation: str, engine: str = "MergeTree", on_cluster: str = ""
) -> str:
    """The DDL. `generation` names this filling of the table, for its checkpoint: it is the table's
    comment, so it goes with the rows when two tables are exchanged.
    """
    return _CREATE.format(
        table=table,
        on_cluster=on_cluster,
        columns=_COLUMNS,
        projections=",".join([*_rollups(), _BY_PERSON]),
        engine=engine,
        generation=generation,
    )


def create_distributed(table: str, *, local: str, cluster: str, on_cluster: str = "") -> str:
    """The DDL of the table that is asked, over the shards' tables `local`. All rows of a distinct
    id lie on one shard; those of a person need not.
    """
    return (
        f"CREATE TABLE IF NOT EXISTS {table} {on_cluster} AS {local} ENGINE ="
        f" Distributed('{cluster}', currentDatabase(), {local}, sipHash64(app_number, pid0))"
    )


def rollup(unit: Literal["day", "hour"], columns: AbstractSet[str]) -> str | None:
    """The name of the smallest projection that has these columns beside time; None: only the rows
    have them all.
    """
    for name, keys in _ROLLUPS.items():
        if keys[0] == unit and columns <= set(keys):
            return name
    return None


def _rollups() -> Iterator[str]:
    for name, keys in _ROLLUPS.items():
        yield _ROLLUP.format(name=name, keys=", ".join(["app_number", *keys]))


class Seen(NamedTuple):
    """What is worked out from the sender's address and user agent. Empty: not known."""

    country: str = ""
    browser: str = ""
    os: str = ""
    device: str = ""


Enrich = Callable[[Tracked], Seen]
Numbers = Mapping[tuple[int, str], int]  # (app number, distinct id) -> dense number of the id
AppNumbers = Mapping[UUID, int]


class Block(NamedTuple):
    """An insert, or a part of one: `data` is in ClickHouse's Native format."""

    data: bytes
    rows: int


class Kept(NamedTuple):
    """What the log says of the events of a block, beside the events themselves: one item of each
    for every event. `recorded_at` is in microseconds since 1970.
    """

    positions: Sequence[int]
    stream_ids: bytes  # 16 bytes for each
    recorded_at: Sequence[int]
    events: Sequence[Tracked]
    distinct_ids: Sequence[str]


def rows(
    page: Sequence[Recorded], numbers: Numbers, app_numbers: AppNumbers, enrich: Enrich
) -> Block:
    """Raises KeyError for an app or a distinct id that has no number. Everything on the page that
    is not a tracked event is left out.
    """
    page = tracked(page)
    kept = kept_of(page)
    apps = [app_numbers[r.app_id] for r in page]  # type: ignore[index]  # a tracked event has one
    pids = [numbers[key] for key in zip(apps, kept.distinct_ids, strict=True)]
    return encode(kept, apps, pids, list(map(enrich, kept.events)))


def tracked(page: Sequence[Recorded]) -> list[Recorded]:
    """Those that become rows."""
    return [r for r in page if r.event.__class__ is Tracked and r.app_id is not None]


def kept_of(page: Sequence[Recorded]) -> Kept:
    """`page` is from `tracked`."""
    events: list[Tracked] = [r.event for r in page]  # type: ignore[misc]  # all are Tracked
    return Kept(
        array("Q", [r.position for r in page]),
        b"".join([r.stream_id.bytes for r in page]),
        repeated_micros([r.recorded_at for r in page]),
        events,
        distinct_ids(events),
    )


def distinct_ids(events: Sequence[Tracked]) -> list[str]:
    """Tracked.distinct_id of each, without a call for each."""
    return [e.user_id or e.anonymous_id or "" for e in events]


def encode(kept: Kept, apps: Sequence[int], pids: Sequence[int], seen: Sequence[Seen]) -> Block:
    """With the app's number, the distinct id's dense number and the `Seen` of each."""
    if not kept.events:
        return Block(b"", 0)
    return Block(block(_columns_of(kept, apps, pids, seen), len(kept.events)), len(kept.events))


def _columns_of(
    kept: Kept, apps: Sequence[int], pids: Sequence[int], seen: Sequence[Seen]
) -> list[bytes]:
    """Column by column: a few passes of C over a list beat one pass of Python over its rows."""
    events = kept.events
    user_ids = [e.user_id or "" for e in events]
    users = joined(user_ids)
    return [
        packed("app_number", "UInt32", "I", apps),
        texts("event", [e.event for e in events]),
        packed("pid0", "UInt64", "Q", pids),
        packed("ts", _TIME, "q", micros([e.timestamp for e in events])),
        packed("position", "UInt64", "Q", kept.positions),
        uuids("event_id", kept.stream_ids),
        texts("kind", [e.kind for e in events]),
        texts("source", [e.source for e in events]),
        texts("message_id", [e.message_id for e in events]),
        strings(
            "distinct_id", users if kept.distinct_ids == user_ids else joined(kept.distinct_ids)
        ),
        strings("user_id", users),
        texts("anonymous_id", [e.anonymous_id or "" for e in events]),
        raws("properties", [e.properties for e in events]),
        raws("context", [e.context for e in events]),
        packed("received_at", _TIME, "q", repeated_micros([e.received_at for e in events])),
        packed("recorded_at", _TIME, "q", kept.recorded_at),
        texts("country", [s.country for s in seen]),
        texts("browser", [s.browser for s in seen]),
        texts("os", [s.os for s in seen]),
        texts("device", [s.device for s in seen]),
    ]
