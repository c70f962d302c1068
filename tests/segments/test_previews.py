"""A preview of a merge or an un-merge names the segments that the persons are in once it is done."""

from types import SimpleNamespace

import pytest

from api.segments import previewing
from api.segments.previewing import segments_touched
from infrastructure.reactor import evaluator as evaluating
from projections import people
from projections.people import what_if
from projections.people.what_if import Ids
from tests.segments.test_evaluator import live_through
from tests.segments.world import USERS, World


@pytest.fixture
def world(database_url, analytics_url, history, monkeypatch):
    monkeypatch.setattr(evaluating, "EVERYBODY_SECONDS", 0.0)
    world = World(database_url, analytics_url, history, 5)
    live_through(world, 8)
    yield world
    world.close()


def adapters(world):
    return SimpleNamespace(engine=world.engine, analytics=world.analytics, clock=lambda: world.now)


def numbers_of(world):
    with world.engine.connect() as connection:
        found = people.find_numbers(connection, [(1, user) for user in USERS])
    return {user: number for (_, user), number in found.items()}


def tried_merge(world, user, other):
    numbers = numbers_of(world)
    with world.engine.connect() as connection:
        ids = Ids(numbers[user], numbers[other])
        return what_if.try_merge(
            connection, 1, ids, names=(user, other), forced=True, now=world.now
        )


def members_of(world, persons):
    """Segment -> those of the persons that the world says are in it, by their numbers."""
    owner = {number: min(ids) for ids in persons.numbers for number in ids}
    expected = world.expected()
    for name, (one, _) in world.ids.items():
        if isinstance(listed := world.trees[str(one)], set):
            expected[name] = {owner.get(number, -number) for number in listed}
    return {name: found & set(owner.values()) for name, found in expected.items()}


def told(touched, side, persons):
    by_user = {p.user_id: min(n) for p, n in zip(persons.shown, persons.numbers, strict=True)}
    return {one.name: {by_user[user] for user in getattr(one, side)} for one in touched}


def non_empty(members):
    return {name: found for name, found in members.items() if found}


def check(world, tried, change):
    touched = segments_touched(adapters(world), 1, tried)
    assert touched == sorted(touched, key=lambda one: (one.name, one.segment_id))
    before = members_of(world, tried.before)
    assert non_empty(told(touched, "before", tried.before)) == non_empty(before)
    change()
    world.take()
    after = members_of(world, tried.after)
    assert non_empty(told(touched, "after", tried.after)) == non_empty(after)
    return before != after


def test_what_a_preview_says_is_what_comes_of_it(world):
    changed = 0
    for _ in range(10):
        world.anything()
        world.take()
        user, other = world.random.sample(sorted(numbers_of(world)), 2)
        tried = tried_merge(world, user, other)
        if tried.outcome in {"linked", "same_person"}:
            world.now += world.now.resolution
            changed += check(world, tried, lambda u=user, o=other: world.alias(u, o))
        numbers = numbers_of(world)
        with world.engine.connect() as connection:
            ids = (numbers[user], numbers[other])
            undone, at = what_if.try_unmerge(connection, 1, ids, world.now)
        if undone.outcome == "unmerged":
            world.now = max(world.now, at)
            changed += check(world, undone, lambda u=user, o=other: world.unmerge(u, o))
    assert changed > 3


def test_persons_with_too_many_events_are_not_judged(world, monkeypatch):
    tried = tried_merge(world, *sorted(numbers_of(world))[:2])
    assert segments_touched(adapters(world), 1, tried) is not None
    monkeypatch.setattr(previewing, "MAX_PREVIEWED_EVENTS", 1)
    assert segments_touched(adapters(world), 1, tried) is None
    monkeypatch.undo()
    monkeypatch.setattr(previewing, "MAX_EXPLAINED_EVENTS", 0)
    assert segments_touched(adapters(world), 1, tried) is None
