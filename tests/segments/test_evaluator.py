"""Live segments over random histories: after each round the members are what a plain evaluation of
everything that was recorded gives.
"""

import json
import random
from collections import defaultdict
from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import text

from domain.conditions import Where
from domain.conditions.judging import Event, Person, evaluate
from domain.conditions.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Did,
    FirstDid,
    InSequence,
    Member,
    Not,
    OfTrait,
    Step,
    Stopped,
    Times,
    Window,
)
from domain.errors import Overloaded
from domain.segments import (
    SegmentCreated,
    SegmentDeleted,
    SegmentEntered,
    SegmentLeft,
    SegmentUpdated,
    membership_stream,
)
from domain.tracking import Aliased, Identified, Tracked, Unmerged
from infrastructure import codec
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine
from infrastructure.enrichment import Enrichment
from infrastructure.event_projector import EventProjector
from infrastructure.event_store.reader import read_log_id
from infrastructure.reactor import evaluator as evaluating
from infrastructure.reactor.evaluator import Evaluator, NotYet
from infrastructure.read_models import ReadModels
from infrastructure.settings import Settings
from projections import segments
from tests.fixtures.history import NOON

USERS = ["ada", "bob", "cy", "dan", "eve", "anon-1", "anon-2"]
SHAPES = {
    "often": Did(event="buy", times=Times(at_least=2), within=Window(last="1 hour")),
    "quiet": Not(condition=Did(event="view", within=Window(last="2 hours"))),
    "stopped": Stopped(event="view", last="1 hour"),
    "pro": AllOf(
        conditions=(
            OfTrait(trait="plan", operator="equals", value="pro"),
            Did(event="buy", where=(Where("amount", "greater", 1),)),
        )
    ),
    "first": FirstDid(event="view", within=Window(last="1 hour")),
    "left": InSequence(first=Step("view"), then=Step("buy"), within="30 minutes", followed=False),
    "follows": InSequence(
        first=Step("view"), then=Step("buy"), within="1 hour", window=Window(last="2 hours")
    ),
    "spent": Aggregate(
        function="sum",
        event="buy",
        property="amount",
        operator="greater",
        value=3,
        within=Window(last="2 hours"),
    ),
    "dated": OfTrait(trait="since", operator="in_last", value="1 hour"),
    "once": Did(times=Times(exactly=1), within=Window(last="30 minutes")),
}


class World:
    """A log, its read models, an evaluator, and a clock that the test moves."""

    def __init__(self, database_url, analytics_url, history, seed=0):
        self.history, self.random = history, random.Random(seed)
        self.engine = open_engine(database_url)
        self.analytics = AnalyticsEngine(analytics_url)
        self.models = ReadModels(self.engine)
        self.models.prepare()
        settings = Settings(database_url=database_url, analytics_url=analytics_url)
        self.projector = EventProjector(self.engine, self.analytics, Enrichment(), settings)
        self.position = self.projector._recover(read_log_id(history.connection))
        self.shop = history.found()
        self.now = NOON
        self.happened = []
        self.ids = {}  # name -> (segment id, version)
        self.trees = {}  # segment id, as text -> criteria; a set of numbers for a list
        self.evaluator = self.another()

    def another(self):
        made = Evaluator(self.engine, self.analytics, lambda: self.now)
        made.prepare()
        return made

    def close(self):
        self.analytics.close()
        self.engine.dispose()

    # --- what happens ----------------------------------------------------------------------

    def fields(self, at):
        return {"message_id": str(self.random.random()), "received_at": NOON, "timestamp": at}

    def track(self, user, name, at=None, **properties):
        at = at or self.now
        raw = msgspec.Raw(json.dumps(properties).encode())
        event = Tracked(**self.fields(at), user_id=user, event=name, properties=raw)
        position = self.history.append(self.shop, event)
        self.happened.append((user, Event(at, name, properties, {}, position)))

    def identify(self, user, other=None, **traits):
        raw = msgspec.Raw(json.dumps(traits).encode())
        event = Identified(
            **self.fields(self.now), user_id=user, anonymous_id=other or "", traits=raw
        )
        self.history.append(self.shop, event)

    def alias(self, user, previous):
        event = Aliased(
            **self.fields(self.now), user_id=user, previous_id=previous, forced_by="key"
        )
        self.history.append(self.shop, event)

    def unmerge(self, user, other):
        fields = self.fields(self.now)
        del fields["message_id"]
        event = Unmerged(**fields, user_id=user, pairs=((user, other),), done_by="key")
        self.history.append(self.shop, event)

    def save(self, event):
        given = ([event.originator_id], [event.originator_version], [self.shop], [event.TOPIC])
        self.history.connection.execute(
            "SELECT log.save_events(%s::uuid[], %s::bigint[], %s::uuid[], %s::text[], %s::bytea[])",
            (*given, [codec.encode(event)]),
        )

    def define(self, name, tree, kind="live"):
        one, version = self.ids.get(name, (uuid4(), 0))
        made = SegmentUpdated if version else SegmentCreated
        self.ids[name] = one, version + 1
        self.trees[str(one)] = set() if kind == "static" else tree
        self.save(
            made(
                originator_id=one, originator_version=version + 1, occurred_at=self.now,
                app_id=self.shop, kind=kind, name=name, criteria=tree,
            )
        )  # fmt: skip
        return Member(segment=str(one))

    def delete(self, name):
        one, version = self.ids.pop(name)
        del self.trees[str(one)]
        self.save(
            SegmentDeleted(
                originator_id=one, originator_version=version + 1, occurred_at=self.now,
                app_id=self.shop,
            )
        )  # fmt: skip

    def list_(self, name, number, version, *, entered=True):
        one, _ = self.ids[name]
        listed = self.trees[str(one)]
        (listed.add if entered else listed.discard)(number)
        kind = SegmentEntered if entered else SegmentLeft
        self.save(
            kind(
                originator_id=membership_stream(one), originator_version=version,
                occurred_at=self.now, app_id=self.shop, segment_id=one, segment_version=1,
                at_position=0, at=self.now, cause="list", persons=(number,),
            )
        )  # fmt: skip

    def anything(self):
        pick = self.random
        user, other = pick.sample(USERS, 2)
        what = pick.random()
        if what < 0.7:
            late = timedelta(minutes=pick.choice([0, 0, 0, 1, 29, 30, 31, 60, 61, 119, -20, -90]))
            name = pick.choice(["view", "buy", "buy", "other"])
            self.track(user, name, self.now - late, amount=pick.choice([1, 2, "x"]))
        elif what < 0.85:
            since = (self.now - timedelta(minutes=pick.choice([0, 30, 70]))).isoformat()
            self.identify(user, plan=pick.choice(["pro", "free", None]), since=since)
        elif what < 0.93:
            self.alias(user, other)
        else:
            self.unmerge(user, other)

    def pass_time(self):
        minutes = self.random.choice([0, 0, 1, 5, 29, 30, 31, 60, 100])
        self.now += timedelta(minutes=minutes, microseconds=self.random.choice([0, 0, 1]))

    # --- what follows ----------------------------------------------------------------------

    def take(self):
        page = self.history.recorded(self.position)
        if page:
            self.models.apply(page)
            self.projector._write(page, self.position)
            self.position = page[-1].position

    def evaluate(self):
        self.take()
        told = self.evaluator.evaluate(1)
        self.take()
        return told

    def members(self):
        with self.engine.connect() as connection:
            return {
                name: segments.current_members(connection, 1, one)
                for name, (one, _) in self.ids.items()
            }

    # --- what it should be -----------------------------------------------------------------

    def people(self):
        with self.engine.connect() as connection:
            rows = connection.execute(
                text("SELECT distinct_id, person FROM people.distinct_ids WHERE app_number = 1")
            ).all()
            told = connection.execute(
                text("SELECT person, traits FROM people.persons WHERE app_number = 1")
            ).all()
        person_of = dict(map(tuple, rows))
        events = defaultdict(list)
        for user, event in self.happened:
            events[person_of[user]].append(event)
        traits = dict(map(tuple, told))
        return [Person(n, traits.get(n, {}), events[n]) for n in set(person_of.values())]

    def expected(self):
        people = self.people()

        def holds(tree, person):
            def is_member(segment):
                named = self.trees.get(segment)
                if isinstance(named, set):
                    return person.number in named
                return named is not None and holds(named, person)

            return evaluate(tree, person, self.now, is_member)

        return {
            name: {person.number for person in people if holds(tree, person)}
            for name, (one, _) in self.ids.items()
            if not isinstance(tree := self.trees[str(one)], set)
        }

    def check(self):
        members = self.members()
        assert {name: members[name] for name in self.expected()} == self.expected()
        self.check_balance(members)

    def check_balance(self, members):
        """Nobody enters who is in, nor leaves who is not; what entered and did not leave is in."""
        inside = defaultdict(set)
        for one in self.history.recorded():
            event = one.event
            if isinstance(event, SegmentEntered):
                assert not inside[event.segment_id] & set(event.persons)
                inside[event.segment_id] |= set(event.persons)
            elif isinstance(event, SegmentLeft):
                assert inside[event.segment_id] >= set(event.persons)
                inside[event.segment_id] -= set(event.persons)
        assert {name: inside[one] for name, (one, _) in self.ids.items()} == members


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
    live_through(world, 25)


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
