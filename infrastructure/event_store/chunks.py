"""Reading the tracked events of the log in bulk: Postgres puts the columns together.

A row with seven values for each event costs more to receive than to decode. Here one row carries
some thousand events, and most of it is used as it comes.
"""

from typing import Any, NamedTuple

from psycopg import Connection
from psycopg.rows import args_row

from domain.catalogue import UPCASTERS
from domain.tracking import Tracked

CHUNK = 1_000  # positions; its events fit into a processor's cache

_TOPICS = [Tracked.TOPIC, *UPCASTERS]  # a chunk with an old one is read event by event


class Chunk(NamedTuple):
    """The tracked events in positions (after, upto], oldest first; integers have their
    highest byte first. `bodies` are JSON, separated by commas. Without events all are None.
    `plain`: all are in the newest shape and in the codec whose first byte is 1.
    """

    after: int
    upto: int
    plain: bool | None
    positions: bytes | None  # 8 bytes for each
    stream_ids: bytes | None  # 16 bytes for each
    app_ids: bytes | None  # 16 bytes for each
    recorded_at: bytes | None  # 8 bytes for each: microseconds since 2000
    bodies: bytes | None


# The limit is for the planner: without it, it would expect a chunk to be a part of the whole log.
_READ = f"""
    SELECT first, least(first + {CHUNK}, %(upto)s), columns.*
    FROM generate_series(%(after)s::bigint, %(upto)s - 1, {CHUNK}) AS first, LATERAL (
        SELECT bool_and(topic = %(newest)s AND substr(state, 1, 1) = '\\x01'),
            string_agg(int8send(notification_id), '' ORDER BY notification_id),
            string_agg(uuid_send(originator_id), '' ORDER BY notification_id),
            string_agg(uuid_send(app_id), '' ORDER BY notification_id),
            string_agg(timestamptz_send(recorded_at), '' ORDER BY notification_id),
            string_agg(substr(state, 2), ',' ORDER BY notification_id)
        FROM (
            SELECT * FROM log.events WHERE notification_id > first
            ORDER BY notification_id LIMIT {CHUNK}
        ) AS page
        WHERE notification_id <= %(upto)s AND topic = ANY(%(topics)s) AND app_id IS NOT NULL
    ) AS columns
"""


def read_chunks(connection: Connection[Any], after: int, upto: int) -> list[Chunk]:
    """Of the positions in (after, upto], which must be on the log."""
    given = {"after": after, "upto": upto, "newest": Tracked.TOPIC, "topics": _TOPICS}
    with connection.cursor(binary=True, row_factory=args_row(Chunk)) as cursor:
        return cursor.execute(_READ, given, prepare=True).fetchall()
