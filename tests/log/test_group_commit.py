"""Appends through the group commit: receipts, duplicates, back-pressure, an absent store."""

import asyncio
import contextlib
import random
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commands.ports import NewEvent
from domain.errors import Overloaded
from domain.tracking import Tracked
from infrastructure import codec
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.event_store.reader import read_page

APP = UUID(int=7)
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def event(number: int, name: str = "e") -> NewEvent:
    tracked = Tracked(
        message_id=str(number), timestamp=NOW, received_at=NOW, event=name, user_id="u"
    )
    return NewEvent(number.to_bytes(16), APP, tracked)


def appended(database_url, *batches, queue_events=10_000, commit_events=1000):
    """What each batch was answered; all batches are under way at once."""

    async def go():
        log = GroupCommit(database_url, queue_events=queue_events, commit_events=commit_events)
        log.start()
        try:
            return await asyncio.gather(*(log.append(b) for b in batches), return_exceptions=True)
        finally:
            await log.close()

    return asyncio.run(go())


def stored(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        return read_page(connection, 0, 1_000_000)


def test_each_caller_gets_the_positions_of_its_own_events(database_url):
    answers = appended(database_url, [event(1), event(2)], [event(3)], [event(4), event(5)])
    positions = [[receipt.position for receipt in answer] for answer in answers]
    assert sorted(p for each in positions for p in each) == [1, 2, 3, 4, 5]
    log = {
        entry.position: int.from_bytes(entry.originator_id.bytes) for entry in stored(database_url)
    }
    assert [[log[p] for p in each] for each in positions] == [[1, 2], [3], [4, 5]]


def test_an_event_that_is_stored_already_is_named_with_its_position_and_content(database_url):
    appended(database_url, [event(1, "first")])
    [[again, new]] = appended(database_url, [event(1, "second"), event(2)])
    assert again.position == 1
    assert again.stored.event == "first"
    assert (new.position, new.stored) == (2, None)


def test_a_repetition_of_what_only_a_newer_version_can_read_is_told_and_ends_nothing(database_url):
    appended(database_url, [event(1)])
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE log.events SET topic = 'tracked.v99'")
    ((known, fresh),) = appended(database_url, [event(1), event(2)])
    assert (known.position, isinstance(known.stored, codec.Unreadable)) == (1, True)
    assert (fresh.position, fresh.stored) == (2, None)


def test_the_same_event_twice_in_one_call_is_stored_once(database_url):
    [[first, second, other]] = appended(database_url, [event(1, "a"), event(1, "b"), event(2)])
    assert (first.position, first.stored) == (1, None)
    assert (second.position, second.stored.event) == (1, "a")
    assert other.position == 2


def test_a_full_queue_refuses_at_once_and_takes_nothing(database_url):
    [answer] = appended(database_url, [event(n) for n in range(11)], queue_events=10)
    assert isinstance(answer, Overloaded)
    assert answer.retry_after >= 1
    assert stored(database_url) == []


def test_no_store_answers_overloaded_and_recovers_when_it_is_back(database_url):
    async def go():
        log = GroupCommit(database_url, queue_events=100, commit_events=100)
        log.start()
        await log.append([event(1)])
        with psycopg.connect(database_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
        with pytest.raises(Overloaded):
            await log.append([event(2)])
        receipts = None
        while receipts is None:  # bounded by the test's time-out
            with contextlib.suppress(Overloaded):
                receipts = await log.append([event(2)])
            await asyncio.sleep(0.05)
        await log.close()
        return receipts

    [receipt] = asyncio.run(go())
    assert receipt.position == 2
    assert [entry.position for entry in stored(database_url)] == [1, 2]


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    batches=st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=12), max_size=12),
    commit_events=st.integers(1, 20),
)
def test_any_split_and_repetition_stores_each_event_once_without_gaps(
    database_url, batches, commit_events
):
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE log.events")
    answers = appended(
        database_url, *([event(n) for n in b] for b in batches), commit_events=commit_events
    )
    log = stored(database_url)
    assert [entry.position for entry in log] == list(range(1, len(log) + 1))
    assert {entry.originator_id.int for entry in log} == {n for b in batches for n in b}
    where = {entry.originator_id.int: entry.position for entry in log}
    for batch, answer in zip(batches, answers, strict=True):
        assert [receipt.position for receipt in answer] == [where[n] for n in batch]


def test_a_rolled_back_append_leaves_no_gap(database_url):
    with psycopg.connect(database_url) as connection:
        call = "SELECT log.append_events(%s::uuid[], %s::uuid[], %s::text[], %s::bytea[])"
        connection.execute(call, ([UUID(int=1)], [APP], ["tracked.v1"], [b"\x01{}"]))
        connection.rollback()
    [[receipt]] = appended(database_url, [event(2)])
    assert receipt.position == 1


def test_each_event_has_a_later_time_than_the_one_before_it(database_url):
    numbers = list(range(200))
    random.Random(1).shuffle(numbers)
    appended(database_url, *([event(n)] for n in numbers), commit_events=3)
    appended(database_url, [event(n) for n in range(190, 400)])
    times = [entry.recorded_at for entry in stored(database_url)]
    assert len(times) == 400
    assert times == sorted(set(times))


def test_what_is_stored_decodes_to_what_was_appended(database_url):
    appended(database_url, [event(1, "naïve ☃")])
    [entry] = stored(database_url)
    assert codec.decode(entry.topic, entry.state) == event(1, "naïve ☃").event
    assert entry.app_id == APP
