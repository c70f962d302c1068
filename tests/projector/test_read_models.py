"""The Postgres read models: each event counts once, whoever applies it, in whatever pages."""

import threading
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text

from domain.tracking import Tracked
from infrastructure import checkpoints
from infrastructure.checkpoints import Checkpoint
from infrastructure.positions import Positions
from infrastructure.read_models import OutOfStep, ReadModels
from projections import apps, people


@pytest.fixture
def page(history):
    """Two apps, three people, their traits and an alias."""
    shop, game = history.found("Shop"), history.found("Game")
    history.track(shop, "ada", 2, anonymous_id="browser 1")
    history.identify(shop, "ada", plan="pro", city="Berlin")
    history.track(game, "ada")
    history.alias(shop, "ada", "browser 2")
    history.track(shop, "bob", 3)
    return history.recorded()


def test_state_and_position_are_one_transaction(models, engine, page, contents, positions):
    before, stood = contents(), positions()

    class _Cut(Exception):
        """Not an event's fault: the database's, say."""

    class Failing(ReadModels):
        def _apply(self, page, how):
            super()._apply(page, lambda *given: (how(*given), self.fail(given[1])))

        @staticmethod
        def fail(projection):
            if projection is people:
                raise _Cut

    with pytest.raises(_Cut):
        Failing(engine).apply(page)
    assert (contents(), positions()) == (before, stood)
    models.apply(page)
    assert set(positions().values()) == {page[-1].position}


def test_the_same_page_twice_changes_nothing(models, page, contents, positions):
    models.apply(page)
    once = contents(), positions()
    models.apply(page)
    models.apply(page[3:7])
    assert (contents(), positions()) == once


def test_a_page_that_overlaps_is_taken_from_where_it_is_new(models, page, contents, empty):
    models.apply(page)
    whole = contents()
    empty()
    models.apply(page[:6])
    models.apply(page[2:])
    assert contents() == whole


def test_two_that_apply_the_same_pages_at_once_count_each_event_once(
    engine, models, page, contents, empty
):
    models.apply(page)
    expected = contents()
    empty()
    start = threading.Barrier(4)
    failures = []

    def apply_all():
        start.wait()
        for index in range(len(page)):
            try:
                ReadModels(engine).apply(page[index : index + 1])
            except Exception as error:  # noqa: BLE001  told below
                failures.append(error)

    threads = [threading.Thread(target=apply_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [error for error in failures if not isinstance(error, OutOfStep)] == []
    models.apply(page)
    assert contents() == expected


def test_a_page_that_does_not_follow_is_refused_and_changes_nothing(
    models, page, contents, positions
):
    models.apply(page[:4])
    before = contents(), positions()
    with pytest.raises(OutOfStep, match="stands at 4, the page begins at 6"):
        models.apply(page[5:])
    assert (contents(), positions()) == before


def test_people_are_numbered_densely_per_app_in_the_order_of_the_log(models, engine, page):
    models.apply(page)
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT app_number, number, distinct_id FROM people.distinct_ids ORDER BY 1, 2")
        ).all()
    assert [tuple(row) for row in rows] == [
        (1, 1, "ada"),
        (1, 2, "browser 1"),
        (1, 3, "browser 2"),
        (1, 4, "bob"),
        (2, 1, "ada"),
    ]


def test_an_id_that_was_only_mentioned_counts_no_message(models, engine, page):
    models.apply(page)
    with engine.connect() as connection:
        rows = connection.execute(
            select(people.distinct_ids.c["distinct_id", "messages", "first_seen"]).where(
                people.distinct_ids.c.app_number == 1
            )
        )
        found = {row.distinct_id: row for row in rows}
    assert (found["browser 2"].messages, found["browser 2"].first_seen) == (0, None)
    assert found["ada"].messages == 4


def test_first_and_last_seen_are_by_the_events_own_time(models, engine, history):
    shop = history.found()
    for hours in (5, -3, 2):
        at = history.recorded()[0].event.occurred_at + timedelta(hours=hours)
        history.track(shop, "ada", timestamp=at)
    page = history.recorded()
    models.apply(page)
    with engine.connect() as connection:
        seen = people.find_profile(connection, 1, "ada")
    times = sorted(r.event.timestamp for r in page if isinstance(r.event, Tracked))
    assert (seen.first_seen, seen.last_seen) == (times[0], times[-1])


def test_apps_are_numbered_in_the_order_of_the_log(models, engine, page):
    models.apply(page)
    with engine.connect() as connection:
        numbers = apps.numbers(connection)
    created = [r.app_id for r in page if r.topic == "app.created.v1"]
    assert numbers == {created[0]: 1, created[1]: 2}


def test_messages_of_an_app_that_does_not_exist_are_nobodys(models, engine, history):
    history.track(UUID(int=5), "ada")
    models.apply(history.recorded())
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM people.distinct_ids")).scalar() == 0


def test_a_half_of_a_rebuild_is_no_read_model_that_lags(models, engine, history):
    """One that was killed stays behind until it is run again."""
    history.found()
    models.apply(history.recorded())
    with engine.begin() as connection:
        checkpoints.write(connection, Checkpoint(name="people_rebuild", version=1, position=0))
    assert "people_rebuild" not in {standing.name for standing in Positions(engine).all()}
