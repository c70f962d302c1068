"""Taking and replaying against the real log."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import psycopg
import pytest

from api.dialects.calls import readmit
from commands.ingest import Replay, refusal_id, replay, take
from domain.errors import Rejected
from infrastructure import codec
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.event_store.reader import read_page

APP = UUID(int=7)
NOW = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
GOOD = b'{"event":"E","user_id":"u","message_id":"m1"}'


@pytest.fixture
def on_the_real_log(database_url):
    """Runs one coroutine function with a log, and returns its result."""

    def run(work):
        async def go():
            log = GroupCommit(database_url, queue_events=1000, commit_events=100)
            log.start()
            try:
                return await work(log)
            finally:
                await log.close()

        return asyncio.run(go())

    return run


@pytest.fixture
def stored(database_url):
    def read():
        with psycopg.connect(database_url, autocommit=True) as connection:
            entries = read_page(connection, 0, 1000)
        return [codec.decode(entry.topic, entry.state) for entry in entries]

    return read


@pytest.fixture
def taken(on_the_real_log, judge):
    """The statuses of one request's messages."""

    def run(body: bytes, path: str = "/v1/events"):
        outcomes = on_the_real_log(lambda log: take(log, APP, judge(body, path)))
        return [outcome.status for outcome in outcomes]

    return run


def test_a_message_is_stored_once_however_often_it_is_sent(taken, stored):
    assert taken(GOOD) == ["accepted"]
    assert taken(GOOD) == ["duplicate"]
    assert [event.message_id for event in stored()] == ["m1"]


def test_the_first_of_two_messages_with_one_id_stays(taken, stored):
    taken(GOOD)
    assert taken(GOOD.replace(b'"E"', b'"F"')) == ["conflict"]
    assert [event.event for event in stored()] == ["E"]


def test_twice_in_one_batch_is_once_and_a_duplicate(taken, stored):
    body = b'{"events":[' + GOOD + b"," + GOOD + b"]}"
    assert taken(body, "/v1/events/batch") == ["accepted", "duplicate"]
    assert len(stored()) == 1


def test_a_refused_message_is_kept_once_with_its_reason(taken, stored):
    for _ in range(2):
        assert taken(b'{"event":"E"}') == ["rejected"]
    (refused,) = stored()
    assert (refused.body, refused.field, refused.dialect) == (b'{"event":"E"}', "user_id", "native")


def test_one_body_refused_by_several_routes_is_kept_for_each(judge):
    """Each is replayed by the rules of its own route."""
    body = b'{"userId":"u","event":5}'
    paths = ("/v1/events", "/v1/track", "/v1/identify", "/v1/page", "/v1/batch")
    sent = [b'{"batch":[%s]}' % body if path == "/v1/batch" else body for path in paths]
    refused = [judge(each, path)[0] for each, path in zip(sent, paths, strict=True)]
    assert {each.body for each in refused} == {body}
    assert len({refusal_id(APP, each) for each in refused}) == len(paths)


def test_a_refused_message_is_taken_once_by_a_replay_under_new_rules(
    on_the_real_log, judge, stored
):
    (refused,) = judge(b'{"event":"E"}')
    (good,) = judge(b'{"event":"E","user_id":"u"}')

    def by_new_rules(refusal, new_id):
        assert refusal == refused
        return msgspec.structs.replace(good, message_id=new_id)

    wanted = Replay(APP, refusal_id(APP, refused), refused, by_new_rules)

    async def twice(log):
        await take(log, APP, [refused])
        return [(await replay(log, wanted, NOW)).status for _ in range(2)]

    assert on_the_real_log(twice) == ["accepted", "duplicate"]
    assert [event.TOPIC for event in stored()] == [
        "refused.v1",
        "tracked.v1",
        "refusal.replayed.v1",
    ]


def test_a_replay_under_the_same_rules_is_refused_again(on_the_real_log, judge):
    (refused,) = judge(b'{"event":"E"}')
    wanted = Replay(APP, refusal_id(APP, refused), refused, readmit)
    with pytest.raises(Rejected):
        on_the_real_log(lambda log: replay(log, wanted, NOW))


def test_a_replayed_message_keeps_the_times_of_its_first_arrival(judge):
    (refused,) = judge(b'{"userId":"u"}', "/v1/track")
    mended = msgspec.structs.replace(refused, body=b'{"userId":"u","event":"E"}')
    message = readmit(mended, "id-from-the-refusal")
    assert (message.received_at, message.message_id) == (refused.received_at, "id-from-the-refusal")
