"""Position order is commit order: a reader that tails the log never passes over an event."""

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import psycopg
import pytest

from infrastructure.event_store import binary
from infrastructure.event_store.reader import read_page

WRITERS = 8
TRANSACTIONS = 105  # each
EVENTS = 100  # in a transaction
APPEND = "SELECT log.append_events(%b, %b, %b, %b, false)"

# The lock and the numbering from the head replaced by what most event stores do: a sequence.
SEQUENCE_WITHOUT_LOCK = """
CREATE SEQUENCE log.numbers;
CREATE OR REPLACE FUNCTION log.append_events(
    ids uuid[], app_ids uuid[], topics text[], states bytea[], probe boolean DEFAULT true,
    OUT head bigint, OUT known_ordinals int[], OUT known_positions bigint[]
) LANGUAGE sql AS $$
    INSERT INTO log.events
        SELECT n.id, 1, nextval('log.numbers'), clock_timestamp(), n.app_id, n.topic, n.state
        FROM unnest(ids, app_ids, topics, states) n(id, app_id, topic, state);
    SELECT 0::bigint, NULL::int[], NULL::bigint[];
$$;
"""
# Only the lock taken out.
NO_LOCK = """
CREATE OR REPLACE FUNCTION log.lock_head(OUT head bigint, OUT now timestamptz)
LANGUAGE sql AS $$
    SELECT coalesce(max(notification_id), 0), clock_timestamp() FROM log.events
$$;
"""


class Outcome(NamedTuple):
    committed: set[bytes]
    refused: int
    read: list[tuple[int, bytes]]  # position, stream id, as the tailing reader saw them


@pytest.fixture
def connect(database_url):
    def connect():
        connection = psycopg.connect(database_url)
        binary.register(connection)
        return connection

    return connect


def write(connect, seed) -> tuple[set[bytes], int]:
    chance = random.Random(seed)
    committed: set[bytes] = set()
    refused = 0
    with connect() as connection:
        for _ in range(TRANSACTIONS):
            ids = [os.urandom(16) for _ in range(EVENTS)]
            try:
                connection.execute(APPEND, columns(ids))
                if chance.random() < 0.02:
                    time.sleep(chance.uniform(0.02, 0.1))
                if chance.random() < 0.02:
                    connection.rollback()
                    continue
                connection.commit()
                committed.update(ids)
            except psycopg.errors.UniqueViolation:
                connection.rollback()
                refused += 1
    return committed, refused


def columns(ids):
    app = b"\x07" * 16
    return (
        binary.uuids(ids),
        binary.uuids([app] * len(ids)),
        binary.texts([b"tracked.v1"] * len(ids)),
        binary.byteas([b"\x01{}"] * len(ids)),
    )


def tail(connect, finished) -> list[tuple[int, bytes]]:
    seen: list[tuple[int, bytes]] = []
    with connect() as connection:
        connection.autocommit = True
        while True:
            last_look = finished.is_set()
            page = read_page(connection, seen[-1][0] if seen else 0, 1000)
            seen.extend((entry.position, entry.originator_id.bytes) for entry in page)
            if last_look and not page:
                return seen


def run(connect) -> Outcome:
    finished = threading.Event()
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        reader = pool.submit(tail, connect, finished)
        writers = [pool.submit(write, connect, seed) for seed in range(WRITERS)]
        try:
            results = [writer.result() for writer in writers]
        finally:
            finished.set()
        read = reader.result()
    committed = set().union(*(ids for ids, _ in results))
    return Outcome(committed, sum(refused for _, refused in results), read)


def test_a_tailing_reader_misses_nothing_of_eight_writers_with_slow_and_rolled_back_transactions(
    connect,
):
    outcome = run(connect)
    assert len(outcome.committed) >= 80_000
    assert {stream for _, stream in outcome.read} == outcome.committed
    assert [position for position, _ in outcome.read] == list(range(1, len(outcome.read) + 1))
    assert outcome.refused == 0


def test_control_a_sequence_without_the_lock_loses_events(connect):
    with connect() as connection:
        connection.execute(SEQUENCE_WITHOUT_LOCK)
    outcome = run(connect)
    missed = outcome.committed - {stream for _, stream in outcome.read}
    assert missed


def test_control_our_numbering_without_the_lock_refuses_appends_instead_of_losing_them(connect):
    with connect() as connection:
        connection.execute(NO_LOCK)
    outcome = run(connect)
    assert outcome.refused > 0
    assert {stream for _, stream in outcome.read} == outcome.committed
