"""Every event once, whatever dies when."""

import contextlib
import random
import threading
import time
from datetime import timedelta
from uuid import uuid4

import pytest

from domain.errors import Overloaded
from infrastructure.analytics_engine import AnalyticsEngine, EngineFailed
from infrastructure.event_writer import EventWriter, digest, drop_table, exchange

LOG = uuid4()
PAGE = 500


@pytest.fixture
def log(tracked, noon):
    """Positions 1 to `size`, of three years, so that one insert makes parts in three partitions."""

    def _log(size):
        return [
            tracked(
                p,
                noon + timedelta(days=p % 3 * 365, seconds=p),
                event=f"e{p % 7}",
                user=f"u{p % 50}",
            )
            for p in range(1, size + 1)
        ]

    return _log


def _catch_up(writer, log, block):
    """What a projector does: pages after the checkpoint, without what is there already."""
    position = writer.recover(LOG)
    while page := log[position : position + PAGE]:
        present = writer.present(page[0].position - 1, page[-1].position)
        missing = [recorded for recorded in page if recorded.position not in present]
        writer.insert(block(missing).data if missing else b"", page[-1].position)
        position = writer.position


def _positions(engine, table):
    return [r[0] for r in engine.query(f"SELECT position FROM {table} ORDER BY position").rows]


def test_each_page_is_written_once_and_the_next_start_goes_on(engine, table, log, block):
    whole = log(3 * PAGE)
    _catch_up(EventWriter(engine, table), whole[: 2 * PAGE], block)
    writer = EventWriter(engine, table)
    assert writer.recover(LOG) == 2 * PAGE
    assert writer.present(2 * PAGE, 3 * PAGE) == frozenset()
    _catch_up(writer, whole, block)
    assert _positions(engine, table) == list(range(1, 3 * PAGE + 1))


def test_rows_without_a_checkpoint_are_found_and_left_alone(engine, table, log, block):
    """In whole pages, and in a half of one."""
    whole = log(5 * PAGE)
    careless = EventWriter(engine, table, checkpoint_every=1000)
    careless.recover(LOG)
    for first, step in ((0, 1), (PAGE, 1), (2 * PAGE, 2)):
        careless.insert(block(whole[first : first + PAGE : step]).data, first + PAGE)
    after = EventWriter(engine, table)
    assert after.recover(LOG) == 0
    assert after.present(0, PAGE) == frozenset(range(1, PAGE + 1))
    assert after.present(2 * PAGE, 3 * PAGE) == frozenset(range(2 * PAGE + 1, 3 * PAGE + 1, 2))
    assert after.present(3 * PAGE, 4 * PAGE) == frozenset()
    _catch_up(after, whole, block)
    assert _positions(engine, table) == list(range(1, 5 * PAGE + 1))


def test_pages_without_rows_move_the_position(engine, table):
    writer = EventWriter(engine, table)
    writer.recover(LOG)
    writer.insert(b"", 77)
    assert EventWriter(engine, table).recover(LOG) == 77


def test_a_page_whose_checkpoint_failed_is_not_repeated(engine, table, log, block):
    writer = EventWriter(engine, table)
    writer.recover(LOG)
    engine.command("RENAME TABLE event_checkpoints TO hidden")
    try:
        with pytest.raises(EngineFailed):
            writer.insert(block(log(PAGE)).data, PAGE)
    finally:
        engine.command("RENAME TABLE hidden TO event_checkpoints")
    assert len(writer.present(0, PAGE)) == PAGE


def test_checkpoints_can_be_fewer_than_inserts(engine, table):
    writer = EventWriter(engine, table, checkpoint_every=3)
    writer.recover(LOG)
    for position in (10, 20):
        writer.insert(b"", position)
    assert EventWriter(engine, table).recover(LOG) == 0
    writer.insert(b"", 30)
    assert EventWriter(engine, table).recover(LOG) == 30
    writer.insert(b"", 40)
    writer.checkpoint()
    assert EventWriter(engine, table).recover(LOG) == 40


def test_another_log_begins_with_an_empty_table(engine, table, log, block):
    _catch_up(EventWriter(engine, table), log(PAGE), block)
    writer = EventWriter(engine, table)
    assert writer.recover(uuid4()) == 0
    assert _positions(engine, table) == []


def test_a_rebuilt_table_takes_its_checkpoint_along(engine, table, log, block):
    whole, shadow = log(2 * PAGE), f"{table}_shadow"
    live, rebuilt = EventWriter(engine, table), EventWriter(engine, shadow)
    _catch_up(live, whole[:PAGE], block)
    _catch_up(rebuilt, whole, block)
    exchange(engine, table, shadow)
    assert live.recover(LOG) == 2 * PAGE
    assert live.generation == rebuilt.generation
    assert _positions(engine, table) == list(range(1, 2 * PAGE + 1))
    drop_table(engine, shadow)
    assert rebuilt.recover(LOG) == 0
    drop_table(engine, shadow)


def test_digests_are_equal_for_equal_rows_in_any_order(engine, table, log, block):
    whole, shadow = log(2 * PAGE), f"{table}_shadow"
    _catch_up(EventWriter(engine, table), whole, block)
    other = EventWriter(engine, shadow)
    other.recover(LOG)
    for part in (whole[700:], whole[:700]):
        other.insert(block(part).data, 0)
    upto = 2 * PAGE
    assert digest(engine, upto, table) == digest(engine, upto, shadow)
    assert digest(engine, upto, table)[1][0] == upto
    assert digest(engine, 900, table) != digest(engine, upto, table)
    other.insert(block(whole[5:6]).data, 0)
    other.insert(block(whole[5:6]).data, 0)
    assert digest(engine, upto, table) != digest(engine, upto, shadow)
    drop_table(engine, shadow)


def test_a_changed_value_changes_the_digest(engine, table, tracked, noon, block):
    page = [tracked(1, noon, event="e", user="u1", plan="free")]
    changed = [tracked(1, noon, event="e", user="u1", plan="Free")]
    found = []
    for rows in (page, changed):
        drop_table(engine, table)
        writer = EventWriter(engine, table)
        writer.recover(LOG)
        writer.insert(block(rows).data, 1)
        found.append(digest(engine, 1, table)[1])
    assert found[0][0] == found[1][0] == 1
    assert found[0][1] != found[1][1]


@pytest.mark.timeout(300)
def test_killing_the_engine_amid_inserts_loses_and_doubles_nothing(engine_process, log, block):
    """Kill -9 at random moments, many times; then the rows and their rollups are exact."""
    dice = random.Random(5)
    whole = log(40 * PAGE)
    client = AnalyticsEngine(engine_process.url)
    writer = EventWriter(client, "events", checkpoint_every=4)
    engine_process.start()
    for _ in range(8):
        timer = threading.Timer(dice.uniform(0.02, 1.5), engine_process.kill)
        timer.start()
        with contextlib.suppress(Overloaded):
            _catch_up(writer, whole, block)
        timer.join()
        engine_process.start()
    _catch_up(writer, whole, block)
    assert _positions(client, "events") == list(range(1, len(whole) + 1))
    _assert_rollups_are_the_rows(client)
    client.close()


def _assert_rollups_are_the_rows(client):
    ask = (
        "SELECT day, event, count(), groupBitmap(pid0) FROM events GROUP BY day, event ORDER BY ALL"
    )
    state = (
        "SELECT day, event, n, bitmapCardinality(s) FROM (SELECT day, event, count() AS n,"
        " groupBitmapState(pid0) AS s FROM events GROUP BY day, event) ORDER BY ALL"
    )
    rows = client.query(ask, settings={"optimize_use_projections": 0}).rows
    assert client.query(state, settings={"force_optimize_projection": 1}).rows == rows


def test_an_insert_on_its_way_is_waited_for(engine, engine_url, table, log, block):
    """A writer that was killed may have left one; its successor must not send the same rows."""
    EventWriter(engine, table).recover(LOG)
    columns = "app_number, event, pid0, ts, position"
    slow = f"INSERT INTO {table} ({columns}) SELECT 1, 'e', 1, now(), number + sleep(1) + 1 FROM numbers(3)"
    other = AnalyticsEngine(engine_url)
    thread = threading.Thread(target=other.command, args=(slow,))
    thread.start()
    running = "SELECT count() FROM system.processes WHERE query_kind = 'Insert'"
    while not engine.query(running).rows[0][0]:
        time.sleep(0.01)
    writer = EventWriter(engine, table)
    writer.recover(LOG)
    assert writer.present(0, 3) == frozenset({1, 2, 3})
    thread.join()
    other.close()
