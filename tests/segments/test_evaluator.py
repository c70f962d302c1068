"""Live segments over random histories: after each round the members are what a plain evaluation of
everything that was recorded gives.
"""

from datetime import timedelta

import pytest

from domain.conditions.tree import (
    AnyOf,
    Did,
    Member,
    Not,
    Times,
)
from domain.errors import Overloaded
from domain.segments import (
    SegmentEntered,
    SegmentLeft,
)
from infrastructure.reactor import evaluator as evaluating
from infrastructure.reactor.evaluator import Evaluator, NotYet
from tests.segments.world import SHAPES, World


@pytest.fixture
def world(database_url, analytics_url, history, request, monkeypatch):
    monkeypatch.setattr(evaluating, "EVERYBODY_SECONDS", 0.0)
    world = World(database_url, analytics_url, history, getattr(request, "param", 0))
    yield world
    world.close()


def define_all(world):
    for name, tree in SHAPES.items():
        world.define(name, tree)
    often, pro = (Member(segment=str(world.ids[name][0])) for name in ("often", "pro"))
    both = world.define("both", AnyOf(conditions=(often, pro)))
    listed = world.define("listed", None, kind="static")
    world.define("neither", Not(condition=AnyOf(conditions=(both, listed))))


def live_through(world, rounds):
    define_all(world)
    for step in range(rounds):
        for _ in range(world.random.choice([0, 1, 2, 5])):
            world.anything()
        world.pass_time()
        if step == rounds // 3:
            world.define("often", Did(event="buy", times=Times(at_least=1)))
            world.list_("listed", 2, 1)
        if step == rounds // 2:
            world.delete("pro")
            world.list_("listed", 2, 2, entered=False)
        world.evaluate()
        world.check()


@pytest.mark.parametrize("world", [1], indirect=True)
def test_members_are_those_of_an_evaluation_from_scratch(world):
    live_through(world, 15)


@pytest.mark.long
@pytest.mark.parametrize("world", range(10, 15), indirect=True)
def test_members_are_those_of_an_evaluation_from_scratch_long(world):
    live_through(world, 100)


def causes(world):
    return [
        (type(one.event) is SegmentEntered, one.event.cause, one.event.persons)
        for one in world.history.recorded()
        if isinstance(one.event, SegmentEntered | SegmentLeft)
    ]


def test_time_alone_makes_persons_leave_and_enter(world):
    world.define("often", SHAPES["often"])
    world.track("ada", "buy")
    world.track("ada", "buy", world.now + timedelta(minutes=5))
    world.evaluate()
    world.now += timedelta(minutes=5)  # the second one's time has come
    world.evaluate()
    assert world.members() == {"often": {1}}
    world.now += timedelta(minutes=55)  # at the edge both count
    assert world.evaluate().left == 0
    world.now += timedelta(microseconds=1)
    told = world.evaluate()
    assert told.left == told.candidates == 1
    assert causes(world) == [(True, "time", (1,)), (False, "time", (1,))]


def test_why_somebody_entered_or_left_is_told(world):
    world.track("ada", "view")
    world.track("bob", "view")
    world.define("views", Did(event="view"))
    world.evaluate()
    world.track("cy", "view")
    world.evaluate()
    world.alias("ada", "bob")
    world.evaluate()
    world.define("views", Did(event="buy"))
    world.evaluate()
    assert causes(world) == [
        (True, "created", (1, 2)),
        (True, "event", (3,)),
        (False, "person", (2,)),
        (False, "updated", (1, 3)),
    ]


def test_a_round_is_on_the_log_and_in_the_state_or_in_neither(world, monkeypatch):
    """Killed before the commit it is done again; after it, nothing is left to do."""
    world.define("views", Did(event="view"))
    world.track("ada", "view")
    world.take()

    def die(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(evaluating.state, "define", die)  # the events are appended by then
        with pytest.raises(KeyboardInterrupt):
            world.evaluator.evaluate(1)
    assert causes(world) == []
    assert world.another().evaluate(1).entered == 1
    with pytest.raises(NotYet):  # what was appended is not in the read model yet
        world.another().evaluate(1)
    world.take()
    assert world.another().evaluate(1).entered == 0
    assert causes(world) == [(True, "created", (1,))]


def test_two_evaluators_append_nothing_twice(world, monkeypatch):
    world.define("views", Did(event="view"))
    world.track("ada", "view")
    world.take()
    second = Evaluator(world.engine, world.analytics, lambda: world.now)
    append = Evaluator._append

    def after_another(self, *args):
        monkeypatch.setattr(Evaluator, "_append", append)
        second.evaluate(1)
        append(self, *args)

    monkeypatch.setattr(Evaluator, "_append", after_another)
    with pytest.raises(Overloaded):
        world.evaluator.evaluate(1)
    assert causes(world) == [(True, "created", (1,))]


def test_too_many_candidates_are_everybody(world, monkeypatch):
    monkeypatch.setattr(evaluating, "MANY", 1)
    world.define("views", SHAPES["often"])
    world.evaluate()
    for user in ("ada", "bob", "cy"):
        world.track(user, "buy")
        world.track(user, "buy")
    assert world.evaluate().candidates is None
    world.check()
    world.now += timedelta(hours=2)
    assert world.evaluate().left == 3


def test_who_is_in_a_list_is_so_under_all_of_their_ids(world):
    world.track("ada", "view")
    world.track("bob", "view")
    listed = world.define("listed", None, kind="static")
    world.define("live", listed)
    world.list_("listed", 2, 1)
    world.evaluate()
    assert world.members()["live"] == {2}
    world.alias("ada", "bob")
    world.evaluate()
    assert world.members()["live"] == {1}
    world.unmerge("ada", "bob")
    world.evaluate()
    assert world.members()["live"] == {2}
