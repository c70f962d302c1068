"""The feed brings whole pages, or says that the log must be read."""

import itertools
import time
import uuid

import psycopg
import pytest

from infrastructure.event_store.reader import read_page
from infrastructure.feed import Assembly, Feed, Gap
from infrastructure.message_bus import Message


@pytest.fixture
def feed(nats, settings, relays, log, until_relayed):
    """A feed that has begun, on a stream that holds one page already."""
    with relays.start_here():
        until_relayed(log.append(1))
    with Feed(nats.url) as feed:
        yield feed


@pytest.fixture
def pages(feed):
    found = feed.pages()
    while next(found) != Gap("started", 0):
        pass
    return found


def entries(pages):
    """The pages that come next, without the ticks between them."""
    return (page for page in pages if not isinstance(page, Gap))


def gaps(pages, reason):
    return (gap for gap in pages if isinstance(gap, Gap) and gap.reason == reason)


def test_a_page_of_many_apps_is_what_the_log_holds(pages, relays, log, database_url):
    log.append_states(
        [b'\x01{"a": 1}', b"\x07\x00sealed", b"\x01{}", b'\x01{"b":[]}'],
        [log.apps[0], log.apps[1], None, log.apps[0]],
    )
    with relays.start_here():
        page = next(entries(pages))
    with psycopg.connect(database_url) as connection:
        assert page == read_page(connection, 1, 100)


def test_pages_follow_each_other_while_the_log_grows(pages, relays, log):
    position = 1
    with relays.start_here():
        for _ in range(30):
            head = log.append(20)
            while position < head:
                page = next(entries(pages))
                assert [e.position for e in page] == list(
                    range(position + 1, position + 1 + len(page))
                )
                position = page[-1].position


def test_a_page_that_was_completed_by_another_relay_is_whole(pages, relays, log):
    head = log.append(300)
    relays.start("mid-publish", "1").wait()
    with relays.start_here():
        assert len(next(entries(pages))) == head - 1


def test_a_page_whose_beginning_was_missed_is_a_gap(nats, relays, log, until_relayed):
    head = log.append(300)
    relays.start("mid-publish", "1").wait()
    with Feed(nats.url) as feed:
        pages = feed.pages()
        next(gaps(pages, "started"))
        with relays.start_here():
            assert next(gaps(pages, "partial")) == Gap("partial", head)


def test_an_event_that_the_feed_cannot_carry_is_a_gap(pages, relays, log):
    head = log.append(1, body=b'"%b"' % (b"x" * 3_000_000))
    with relays.start_here():
        assert next(gaps(pages, "partial")) == Gap("partial", head)


def test_a_reader_that_is_too_slow_is_told_so(pages, relays, log, until_relayed):
    with relays.start_here():
        for _ in range(20):
            head = log.append(1)
            until_relayed(head)
    got = list(itertools.takewhile(lambda item: item != Gap("slow", head), pages))
    assert 0 < len(list(entries(got))) < 20


def test_without_news_there_is_a_tick(pages):
    assert next(pages) == Gap("quiet", 0)


def test_the_feed_outlives_nats(pages, nats, relays, log):
    nats.kill()
    next(gaps(pages, "lost"))
    nats.start()
    next(gaps(pages, "started"))
    with relays.start_here():
        head = log.append(10)
        assert next(entries(pages))[-1].position == head


def test_without_nats_there_are_ticks_all_the_same(nats):
    nats.kill()
    with Feed(nats.url) as feed:
        assert [type(item) for item in itertools.islice(feed.pages(), 3)] == [Gap, Gap, Gap]


def test_a_closed_feed_ends(pages, feed):
    feed.close()
    began = time.monotonic()
    assert all(isinstance(item, Gap) for item in pages)
    assert began


LOG = uuid.uuid4()


def part(number: int, parts: int, first: int = 1, last: int = 9, log: uuid.UUID = LOG) -> Message:
    headers = {
        "Appizer-Log": str(log),
        "Appizer-Page-First": str(first),
        "Appizer-Page-Last": str(last),
        "Appizer-Page-Part": f"{number}/{parts}",
    }
    return Message("appizer.v1.a.tracked", number, headers, b"[]")


@pytest.mark.parametrize(
    ("messages", "whole"),
    [
        ([part(1, 1)], True),
        ([part(1, 3), part(2, 3), part(3, 3)], True),
        ([part(2, 2)], False),
        ([part(1, 3), part(3, 3)], False),
        ([part(1, 3), part(2, 4), part(3, 4), part(4, 4)], False),
        ([part(1, 2), part(2, 2, last=8)], False),
        ([part(1, 2), part(2, 2, log=uuid.uuid4())], False),
        ([part(2, 3), part(3, 3)], False),
        ([part(1, 2), part(1, 2), part(2, 2)], True),
    ],
)
def test_only_parts_of_one_page_in_order_make_a_page(messages, whole):
    assembly = Assembly()
    found = [assembly.add(message) for message in messages]
    assert isinstance(found[-1], list) == whole
    assert whole or isinstance(found[-1], Gap)


def test_a_message_that_no_relay_wrote_is_ignored():
    assert Assembly().add(Message("appizer.v1.a.tracked", 1, {}, b"?")) is None
