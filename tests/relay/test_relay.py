"""The stream is an exact copy of the log, whatever is killed on the way."""

import asyncio
import base64
import json
import random
import signal
import time
from collections import defaultdict

import pytest

from infrastructure import message_bus, relay
from infrastructure.message_bus import Outgoing, OutOfStep


def test_every_event_of_the_log_is_published_once_and_in_order(
    log, relays, until_relayed, expect_exact_copy
):
    head = log.append(9000)
    with relays.start_here():
        until_relayed(head)
        for _ in range(20):
            head = log.append(7)
        until_relayed(head)
    expect_exact_copy()


def test_the_subject_names_the_app_and_what_the_event_is_about(
    log, relays, until_relayed, read_stream
):
    log.append_states([b"\x01{}"], [log.apps[0]], "tracked.v1")
    log.append_states([b"\x01{}"], [log.apps[1]], "identified.v1")
    log.append_states([b"\x01{}"], [log.apps[1]], "unheard.of.v9")
    head = log.append_states([b"\x01{}"], [None], "organisation.created.v1")
    with relays.start_here():
        until_relayed(head)
    assert {message.subject for message in read_stream()} == {
        f"appizer.v1.{log.apps[0]}.tracked",
        f"appizer.v1.{log.apps[1]}.people",
        f"appizer.v1.{log.apps[1]}.other",
        "appizer.v1.system.apps",
    }


def test_an_event_is_a_cloud_event_with_the_bytes_that_were_stored(
    log, relays, until_relayed, read_stream
):
    body = b'{"b": 1,"a":"\\u0000 100% \\u00e9", "n":1.0}'
    head = log.append_states([b"\x01" + body], [log.apps[0]], 'odd"topic%.v1')
    with relays.start_here():
        until_relayed(head)
    (message,) = read_stream()
    assert b'"data":' + body + b"}" in message.payload
    assert message.headers["Content-Type"].startswith("application/cloudevents-batch+json")
    (event,) = json.loads(message.payload)
    (row,) = log.rows()
    assert event.pop("time").endswith("Z")
    assert event.pop("data") == {"b": 1, "a": "\x00 100% é", "n": 1.0}
    assert event == {
        "specversion": "1.0",
        "id": row[1],
        "source": f"/apps/{log.apps[0]}",
        "type": 'odd"topic%.v1',
        "position": "1",
        "streamversion": 1,
        "datacontenttype": "application/json",
    }


def test_a_later_version_of_a_stream_has_an_id_of_its_own(log, relays, until_relayed, stored):
    log.append(1)
    log.execute(
        "SELECT log.save_events(array_agg(originator_id), '{2}', array_agg(app_id),"
        " '{key.issued.v1}', array_agg(state)) FROM log.events"
    )
    with relays.start_here():
        until_relayed(2)
    first, second = stored()
    assert second.id == f"{first.id}-2"


def test_a_payload_in_another_codec_travels_as_base64(log, relays, until_relayed, read_stream):
    head = log.append_states([b"\x07\xff\x00sealed"], [log.apps[0]])
    with relays.start_here():
        until_relayed(head)
    (event,) = json.loads(read_stream()[0].payload)
    assert event["codec"] == "07"
    assert base64.b64decode(event["data_base64"]) == b"\xff\x00sealed"
    assert "data" not in event


def test_large_events_are_cut_into_messages_that_nats_takes(
    log, relays, until_relayed, expect_exact_copy, read_stream
):
    body = b'{"filler":"%b"}' % (b"x" * 300_000)
    head = log.append(20, body=body, apps=1)
    with relays.start_here():
        until_relayed(head)
    expect_exact_copy()
    assert all(len(message.payload) < 1024 * 1024 for message in read_stream())


def test_an_event_over_the_largest_message_is_announced_and_stops_nothing(
    log, relays, until_relayed, expect_exact_copy, read_stream
):
    log.append(1, apps=1)
    log.append(1, body=b'{"filler":"%b"}' % (b"x" * 3_000_000), apps=1)
    head = log.append(1, apps=1)
    with relays.start_here():
        until_relayed(head)
    expect_exact_copy()
    events = [event for message in read_stream() for event in json.loads(message.payload)]
    assert [event.get("datatoolarge", False) for event in events] == [False, True, False]


def test_each_message_names_the_last_position_before_it_on_its_subject(
    log, relays, until_relayed, read_stream
):
    for _ in range(3):  # three relays: what the subjects were at is read from the stream
        head = log.append(500)
        with relays.start_here():
            until_relayed(head)
            head = log.append(10)
            until_relayed(head)
    last = defaultdict(int)
    for message in read_stream():
        assert int(message.headers["Appizer-Previous"]) == last[message.subject]
        last[message.subject] = int(message.headers["Appizer-Last"])


def test_pages_follow_each_other_without_a_hole(log, relays, until_relayed, read_stream):
    with relays.start_here():
        for _ in range(10):
            head = log.append(100)
            until_relayed(head)
    pages = {}
    for message in read_stream():
        place = relay.place_of(message)
        pages.setdefault(place.page, []).append((place.part, place.parts))
    after = 0
    for page, parts in pages.items():
        assert page.first == after + 1
        assert parts == [(n + 1, len(parts)) for n in range(len(parts))]
        after = page.last
    assert after == head


@pytest.mark.parametrize("step", ["before-publish", "mid-publish", "after-publish"])
@pytest.mark.parametrize("page", [1, 2])
def test_a_relay_killed_at_a_step_is_continued_exactly(
    step, page, log, relays, until_relayed, expect_exact_copy
):
    head = log.append(6000)
    process = relays.start(step, str(page))
    assert process.wait() == -signal.SIGKILL
    with relays.start_here():
        until_relayed(head)
    expect_exact_copy()


def test_a_half_published_page_is_completed_and_not_begun_again(
    log, relays, until_relayed, read_stream
):
    head = log.append(300)
    relays.start("mid-publish", "1").wait()
    half = read_stream()
    assert [relay.place_of(m)[1:] for m in half] == [(1, 3)]
    with relays.start_here():
        until_relayed(head)
    assert [relay.place_of(m)[1:] for m in read_stream()] == [(1, 3), (2, 3), (3, 3)]
    assert read_stream()[0] == half[0]


def test_two_relays_and_kills_of_both_and_of_nats_leave_an_exact_copy(
    log, relays, nats, until_relayed, expect_exact_copy
):
    draw = random.Random(11)
    running = [relays.start(), relays.start()]
    for turn in range(8):
        for _ in range(draw.randrange(5, 30)):
            head = log.append(draw.randrange(1, 200))
            time.sleep(draw.random() * 0.02)
        if turn % 4 == 3:
            nats.kill()
            log.append(50)
            nats.start()
        else:
            victim = draw.randrange(2)
            running[victim].kill()
            running[victim].wait()
            running[victim] = relays.start()
    head = log.append(1)
    until_relayed(head)
    expect_exact_copy()


def test_the_relay_waits_for_nats_and_catches_up(
    log, relays, nats, until_relayed, expect_exact_copy
):
    nats.kill()
    head = log.append(100)
    with relays.start_here():
        nats.start()
        until_relayed(head)
    expect_exact_copy()


def test_the_relay_survives_the_loss_of_its_database_session(
    log, relays, until_relayed, expect_exact_copy
):
    with relays.start_here():
        until_relayed(log.append(100))
        log.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'appizer relay' AND datname = current_database()"
        )
        until_relayed(log.append(100))
    expect_exact_copy()


def test_a_lost_stream_goes_on_where_the_relay_stood(log, relays, nats, until_relayed, stored):
    with relays.start_here():
        before = log.append(100)
        until_relayed(before)
        wait_for_checkpoint(log, before)
        nats.lose_everything()
        nats.start()
        head = log.append(10)
        until_relayed(head)
    assert sorted(event.position for event in stored()) == list(range(before + 1, head + 1))


def test_a_refill_brings_a_lost_stream_back_from_the_log(
    log, relays, nats, settings, until_relayed, expect_exact_copy
):
    with relays.start_here():
        head = log.append(1000)
        until_relayed(head)
        nats.lose_everything()
        nats.start()
        asyncio.run(relay.refill(settings))
        head = log.append(10)
        until_relayed(head)
    expect_exact_copy()


def test_a_refill_while_the_relay_runs_replaces_what_was_there(
    log, relays, settings, until_relayed, expect_exact_copy
):
    with relays.start_here():
        head = log.append(1000)
        until_relayed(head)
        asyncio.run(relay.refill(settings))
        until_relayed(head)
    expect_exact_copy()


def test_a_stream_that_is_lost_while_nothing_happens_is_made_again(
    log, relays, nats, until_relayed
):
    with relays.start_here():
        head = log.append(10)
        until_relayed(head)
        nats.lose_everything()
        nats.start()
        while not stream_exists(nats.url):
            time.sleep(0.05)


def test_a_refill_may_begin_anywhere(log, relays, settings, until_relayed, stored):
    head = log.append(100)
    asyncio.run(relay.refill(settings, 91))
    with relays.start_here():
        until_relayed(head)
    assert sorted(event.position for event in stored()) == list(range(91, 101))


def test_another_log_is_published_from_its_beginning(log, relays, until_relayed, read_stream):
    head = log.append(10, apps=1)
    with relays.start_here():
        until_relayed(head)
    log.execute("UPDATE log.identity SET log_id = gen_random_uuid()")
    head = log.append(1, apps=1)
    with relays.start_here():
        until_relayed(head)
    assert [place.page[1:] for m in read_stream() if (place := relay.place_of(m))] == [
        (1, 10),
        (1, 11),
    ]
    assert len({message.headers["Appizer-Log"] for message in read_stream()}) == 2


def test_the_checkpoint_says_how_far_the_stream_is(log, relays, until_relayed):
    head = log.append(100)
    with relays.start_here():
        until_relayed(head)
        wait_for_checkpoint(log, head)


def test_a_publisher_that_does_not_know_the_end_of_the_stream_is_refused(nats):
    async def publish_twice() -> None:
        bus = await message_bus.connect(nats.url, "test")
        await bus.ensure_stream(3600)
        message = Outgoing("appizer.v1.x.tracked", b"[]", {})
        try:
            assert await bus.publish([message], 0) == 1
            with pytest.raises(OutOfStep):
                await bus.publish([message], 0)
            assert (await bus.end())[0] == 1
        finally:
            await bus.close()

    asyncio.run(publish_twice())


def test_a_probe_stores_a_message_and_leaves_the_feed_alone(nats, read_stream, relays, log):
    asyncio.run(message_bus.probe(nats.url))
    asyncio.run(message_bus.probe(nats.url))
    nats.kill()
    with pytest.raises(message_bus.BusError):
        asyncio.run(message_bus.probe(nats.url))


def wait_for_checkpoint(log, position):
    statement = "SELECT position FROM projections.checkpoints WHERE name = 'relay'"
    while log.one(statement) != position:
        time.sleep(0.02)


def stream_exists(nats_url):
    async def ask() -> bool:
        bus = await message_bus.connect(nats_url, "test")
        try:
            await bus.end()
        except message_bus.BusError:
            return False
        else:
            return True
        finally:
            await bus.close()

    return asyncio.run(ask())
