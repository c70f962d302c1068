"""Static lists hold numbers, and show and count persons: also those who were several once."""

import random
from collections import defaultdict

import pytest
from sqlalchemy import text

from projections import person_map, segments
from projections.event_queries import Query
from projections.segment_lists import find_segment, list_members
from projections.segment_members import listed_query
from tests.segments.world import USERS, World

WHOSE = text("SELECT number, person FROM people.distinct_ids WHERE app_number = 1")


@pytest.fixture
def world(database_url, analytics_url, history):
    world = World(database_url, analytics_url, history, 7)
    world.define("listed", None, kind="static")
    for user in USERS:
        world.track(user, "view")
    yield world
    world.close()


def check(world):
    segment, _ = world.ids["listed"]
    with world.engine.connect() as connection:
        whose = dict(map(tuple, connection.execute(WHOSE)))
        entered = defaultdict(list)
        for row in connection.execute(segments.members.select()):
            entered[whose[row.person]].append((row.since_position, row.person))
        shown = list_members(connection, 1, segment, after=0, limit=100)
        paged, after = [], 0
        while page := list_members(connection, 1, segment, after=after, limit=1):
            paged += page
            after = page[-1].person
        assert paged == shown
        assert find_segment(connection, 1, segment).members == len(shown) == len(entered)
    assert {whose[one.person]: one.since_position for one in shown} == {
        person: min(entries)[0] for person, entries in entered.items()
    }
    return whose, entered


def test_each_person_is_listed_and_counted_once(world):
    chance, version, doubled = random.Random(3), 0, 0
    for _ in range(25):
        user, other = chance.sample(USERS, 2)
        if chance.random() < 0.5:
            version += 1
            number = chance.randint(1, len(USERS))
            world.list_("listed", number, version, entered=chance.random() < 0.8)
        elif chance.random() < 0.7:
            world.alias(user, other)
        else:
            world.unmerge(user, other)
        world.take()
        _, entered = check(world)
        doubled += any(len(entries) > 1 for entries in entered.values())
    assert doubled > 5


def test_a_past_has_each_person_once_too(world):
    for version, number in enumerate((1, 2, 3), 1):
        world.list_("listed", number, version)
    world.take()
    apart = world.position
    world.alias(USERS[0], USERS[1])
    world.take()
    for position, expected in ((apart, [1, 2, 3]), (None, [1, 3])):
        found = listed_query([1, 2, 3], 1, position)
        assert isinstance(found, Query)
        assert sorted(row[0] for row in world.analytics.query(found.sql).rows) == expected
    assert person_map.listed([], 1, None)
    assert world.analytics.query(listed_query([], 1, None).sql).rows == []
