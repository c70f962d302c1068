"""Answers of a past are those of a store that was stopped there."""

import random
from datetime import timedelta

import msgspec
import pytest

from domain.conditions import Where
from domain.past import NOW, Past
from domain.tracking import Message
from domain.traits import fold
from projections import apps, people
from projections.people import (
    group_lists,
    lists,
    past,
    past_groups,
    past_lists,
    profiles,
    shown,
    spoken,
)
from projections.people.said import said_of
from projections.people.whose import find_whose
from tests.fixtures.history import NOON
from tests.people.conftest import GROUPS, IDS

POSITIONS = 200
SORTS = ("created", "last_seen", "first_seen", "user_id")
WHERE = [
    (),
    (Where("plan", "equals", "pro"),),
    (Where("a.b", "is_set"), Where("n", "not_equals", 1)),
    (Where("n", "greater", 1),),
    (Where("email", "not_contains", "@"),),
]
SEARCHES = [None, None, "a", "u1", "ADA@"]


def wanted(chance, **fields):
    return lists.Wanted(
        app_number=1,
        where=chance.choice(WHERE),
        search=chance.choice(SEARCHES),
        sort=chance.choice(SORTS),
        limit=chance.choice([3, 100]),
        **fields,
    )


def questions(position):
    """What is asked at this position: the same of a past and of a store that ends there."""
    chance = random.Random(position)
    asked = wanted(chance)
    return {
        "ids": chance.sample(IDS, 2),
        "wanted": asked,
        "groups": group_lists.GroupsWanted(
            app_number=1, group_type=chance.choice([None, "company"]), limit=10
        ),
        "group": chance.choice(GROUPS),
    }


def histories(connection, names, known_at):
    """Links and operations, of each of these ids."""
    found = {}
    for name in names:
        whose = find_whose(connection, 1, name, known_at)
        if whose is not None:
            links = spoken.LinksWanted(1, whose.numbers, known_at, None, 100)
            past = NOW if known_at is None else Past(known_at)
            operations = spoken.OperationsWanted(1, whose.numbers, past, None, None, 1000)
            found[name] = (
                whose,
                spoken.list_links(connection, links),
                spoken.list_operations(connection, operations),
            )
    return found


def answers_of_now(connection, asked):
    page = lists.list_persons(connection, asked["wanted"])
    members = group_lists.MembersWanted(app_number=1, group=asked["group"], limit=5)
    return {
        "profiles": {n: profiles.find_profile(connection, 1, n) for n in asked["ids"]},
        "histories": histories(connection, asked["ids"], None),
        "list": page,
        "next": lists.list_persons(connection, _after(asked["wanted"], page)),
        "groups": group_lists.list_groups(connection, asked["groups"]),
        "group": group_lists.find_group(connection, 1, asked["group"]),
        "members": group_lists.list_members(connection, members),
    }


def answers_of_then(then, asked):
    page = past_lists.list_persons(then, asked["wanted"])
    members = group_lists.MembersWanted(app_number=1, group=asked["group"], limit=5)
    return {
        "profiles": {n: past.find_profile(then, n) for n in asked["ids"]},
        "histories": histories(then.connection, asked["ids"], then.known_at),
        "list": page,
        "next": past_lists.list_persons(then, _after(asked["wanted"], page)),
        "groups": past_groups.list_groups(then, asked["groups"]),
        "group": past_groups.find_group(then, asked["group"]),
        "members": past_groups.list_members(then, members),
    }


def _after(asked, page):
    last = (page.found[-1].key, page.found[-1].person) if page.found else None
    return msgspec.structs.replace(asked, after=last)


@pytest.mark.parametrize("seed", [3])
def test_at_any_position_answers_are_those_of_a_store_that_ends_there(
    seed, engine, models, live, then, random_history
):
    log = random_history(seed, POSITIONS)
    places = random.Random(seed).sample(range(1, len(log) + 1), POSITIONS)
    stopped = {}
    for position in places:
        with engine.connect() as connection:  # rolled back: the tables stay empty
            apps.apply(log[:position], connection)
            people.apply(log[:position], connection)
            stopped[position] = answers_of_now(connection, questions(position))
    live(log)
    with engine.connect() as connection:
        for position in places:
            found = answers_of_then(then(connection, position), questions(position))
            for name, expected in stopped[position].items():
                assert found[name] == expected, (position, name)


def test_up_to_a_time_only_what_had_happened_counts_and_links_stay(
    engine, live, then, random_history
):
    log = random_history(11, 150)
    live(log)
    chance = random.Random(11)
    with engine.connect() as connection:
        for _ in range(60):
            position = chance.randrange(20, len(log))
            until = NOON + timedelta(hours=chance.randrange(-1, 42))
            name = chance.choice(IDS)
            found = past.find_profile(then(connection, position, until), name)
            whole = past.find_profile(then(connection, position), name)
            assert (found is None) == (whole is None)
            if found is not None:
                ids = {one.distinct_id for one in found.ids}
                assert ids == {one.distinct_id for one in whole.ids}
                _check(found, ids, [r for r in log if r.position <= position], until)


def _check(found, ids, log, until):
    counted = [
        r
        for r in log
        if isinstance(r.event, Message)
        and r.event.distinct_id in ids
        and r.event.timestamp <= until
    ]
    times = [r.event.timestamp for r in counted]
    assert found.messages == len(counted)
    assert found.first_seen == min(times, default=None)
    assert found.last_seen == max(times, default=None)
    told = [one for r in counted if (one := said_of(1, r)) is not None]
    assert found.traits == shown.values(fold(told))
    for one in found.ids:
        known = [
            r.event.ordered_at(r.recorded_at) for r in counted if r.event.user_id == one.distinct_id
        ]
        assert one.known_since == min(known, default=None)


def test_the_last_position_at_an_instant(history, database_url):
    app = history.found()
    for _ in range(5):
        history.track(app, "ada", count=3)
    log = history.recorded()

    def position_at(instant):
        query = "SELECT log.position_at(%s)"
        return history.connection.execute(query, (instant,)).fetchone()[0]

    for recorded in log:
        at = recorded.recorded_at
        expected = max(r.position for r in log if r.recorded_at <= at)
        assert position_at(at) == expected
        earlier = [r.position for r in log if r.recorded_at < at]
        assert position_at(at - timedelta(microseconds=1)) == max(earlier, default=0)
    assert position_at(log[-1].recorded_at + timedelta(days=1)) == log[-1].position
