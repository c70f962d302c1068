"""The read model of events in ClickHouse: its table, and how the log becomes rows.

One row per tracked event. The rollups live inside the table's parts as aggregate projections:
written, merged and dropped with the rows, so they cannot say anything else than the rows do.

Properties stay the text that was received and are read with JSONExtract. Measured on 3 million
rows of 190 bytes (ClickHouse 26.9): text loads at 1.3 us of CPU a row, a JSON column beside it at
25 us and a Map at 6 us; a breakdown reads text 6 times slower than JSON and as fast as the Map.
Text is also the only one that gives back nulls, key order and number forms.
"""

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from domain.tracking import Tracked
from projections.projection import Recorded

TABLE = "events"
SHADOW = "events_rebuild"  # filled beside the live one, then exchanged with it

# `day` and `hour` are of the event's own time, in UTC. Partitions are years, because an import of
# history would otherwise touch hundreds of them with one insert.
_COLUMNS = """
    app_number UInt32,
    event LowCardinality(String),
    pid0 UInt64,
    ts DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    position UInt64 CODEC(Delta(8), ZSTD(1)),
    event_id UUID,
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
    country LowCardinality(String),
    browser LowCardinality(String),
    os LowCardinality(String),
    device LowCardinality(String),
    day Date MATERIALIZED toDate(ts),
    hour DateTime('UTC') MATERIALIZED toStartOfHour(ts),
    INDEX by_position position TYPE minmax GRANULARITY 1,
    INDEX by_person pid0 TYPE bloom_filter(0.01) GRANULARITY 4"""

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

# The sum does not depend on order and, unlike exclusive or, does not lose pairs.
DIGEST = f"""
SELECT app_number, count(), toString(sum(reinterpretAsUInt128(sipHash128({", ".join(COLUMNS)}))))
FROM {{table}} WHERE position <= {{{{upto:UInt64}}}} GROUP BY app_number ORDER BY app_number"""

# Declared as State: stored as plain groupBitmap it would never be chosen.
_ROLLUP = """
    PROJECTION {name} (SELECT {keys}, count(), groupBitmapState(pid0) GROUP BY {keys})"""
_ROLLUPS = {
    "events_by_day": "app_number, day, event",
    "all_by_day": "app_number, day",
    "events_by_hour": "app_number, hour, event",
    "all_by_hour": "app_number, hour",
}

_CREATE = """
CREATE TABLE IF NOT EXISTS {table} {on_cluster} ({columns},{rollups}
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
        rollups=",".join(_ROLLUP.format(name=name, keys=keys) for name, keys in _ROLLUPS.items()),
        engine=engine,
        generation=generation,
    )


def rollup(unit: Literal["day", "hour"], *, by_event: bool) -> str:
    """The name of the smallest projection that has what is asked for."""
    return f"{'events' if by_event else 'all'}_by_{unit}"


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
    """An insert: `data` is in ClickHouse's Native format."""

    data: bytes
    rows: int


def rows(
    page: Sequence[Recorded], numbers: Numbers, app_numbers: AppNumbers, enrich: Enrich
) -> Block:
    """Raises KeyError for an app or a distinct id that has no number. Everything on the page that
    is not a tracked event is left out.
    """
    kept = tracked(page)
    apps = [app_numbers[r.app_id] for r in kept]  # type: ignore[index]  # a tracked event has one
    ids = [r.event.distinct_id for r in kept]  # type: ignore[attr-defined]  # all are Tracked
    pids = [numbers[key] for key in zip(apps, ids, strict=True)]
    return encode(kept, apps, pids, enrich)


def tracked(page: Sequence[Recorded]) -> list[Recorded]:
    """Those that become rows."""
    return [r for r in page if r.event.__class__ is Tracked and r.app_id is not None]


def encode(
    kept: Sequence[Recorded], apps: Sequence[int], pids: Sequence[int], enrich: Enrich
) -> Block:
    """`kept`, from `tracked`, with the app's number and the dense number of each."""
    if not kept:
        return Block(b"", 0)
    columns = _columns_of(kept, apps, pids, enrich)
    header = _varint(len(columns)) + _varint(len(kept))
    return Block(header + b"".join(columns), len(kept))


def _columns_of(
    kept: Sequence[Recorded], apps: Sequence[int], pids: Sequence[int], enrich: Enrich
) -> list[bytes]:
    """Column by column: a few passes of C over a list beat one pass of Python over its rows."""
    events: list[Tracked] = [r.event for r in kept]  # type: ignore[misc]  # all are Tracked
    ids = [e.distinct_id for e in events]
    seen = [enrich(e) for e in events]
    return [
        _packed("app_number", "UInt32", "I", apps),
        _texts("event", [e.event for e in events]),
        _packed("pid0", "UInt64", "Q", pids),
        _times("ts", [e.timestamp for e in events]),
        _packed("position", "UInt64", "Q", [r.position for r in kept]),
        _uuids("event_id", [r.stream_id for r in kept]),
        _texts("kind", [e.kind for e in events]),
        _texts("source", [e.source for e in events]),
        _texts("message_id", [e.message_id for e in events]),
        _texts("distinct_id", ids),
        _texts("user_id", [e.user_id or "" for e in events]),
        _texts("anonymous_id", [e.anonymous_id or "" for e in events]),
        _raws("properties", [e.properties for e in events]),
        _raws("context", [e.context for e in events]),
        _times("received_at", [e.received_at for e in events]),
        _times("recorded_at", [r.recorded_at for r in kept]),
        _texts("country", [s.country for s in seen]),
        _texts("browser", [s.browser for s in seen]),
        _texts("os", [s.os for s in seen]),
        _texts("device", [s.device for s in seen]),
    ]


# The Native format: (columns, rows), then per column its name, its type and its values.
# https://clickhouse.com/docs/interfaces/formats/Native


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >> 7:  # LEB128: seven bits a byte, the lowest first
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_LENGTHS = [_varint(n) for n in range(65_536)]


def _named(name: str, kind: str) -> bytes:
    return b"".join(_varint(len(text)) + text.encode() for text in (name, kind))


def _packed(name: str, kind: str, code: str, values: Sequence[int]) -> bytes:
    return _named(name, kind) + struct.pack(f"<{len(values)}{code}", *values)


def _times(name: str, values: Sequence[datetime]) -> bytes:
    # A double holds microseconds exactly until 2255; rounding undoes the division by a million.
    micros = [round(value.timestamp() * 1e6) for value in values]
    return _packed(name, "DateTime64(6, 'UTC')", "q", micros)


def _uuids(name: str, values: Sequence[UUID]) -> bytes:
    # Two little-endian words, the high one first: the bytes of each half, turned round.
    halves = array("Q", b"".join([value.int.to_bytes(16, "big") for value in values]))
    halves.byteswap()
    return _named(name, "UUID") + halves.tobytes()


def _texts(name: str, values: Sequence[str]) -> bytes:
    first = values[0]
    if values.count(first) == len(values):
        encoded = first.encode()
        return _named(name, "String") + (_varint(len(encoded)) + encoded) * len(values)
    return _raws(name, list(map(str.encode, values)))


def _raws(name: str, values: Sequence[bytes | msgspec.Raw]) -> bytes:
    parts: list[Any] = [b""] * (2 * len(values))
    sizes = list(map(len, values))
    short = max(sizes) < len(_LENGTHS)
    parts[::2] = map(_LENGTHS.__getitem__ if short else _varint, sizes)
    parts[1::2] = values
    return _named(name, "String") + b"".join(parts)
