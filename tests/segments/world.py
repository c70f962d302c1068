"""A history at random with live segments over it, and a plain evaluation of what was recorded."""

import json
import random
from collections import defaultdict
from datetime import timedelta
from uuid import uuid4

import msgspec
from sqlalchemy import text

from domain.conditions import Where
from domain.conditions.judging import Event, Person, evaluate
from domain.conditions.tree import (
    Aggregate,
    AllOf,
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
from infrastructure.reactor.evaluator import Evaluator
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
                text(
                    "SELECT distinct_id, person, number FROM people.distinct_ids WHERE app_number = 1"
                )
            ).all()
            told = connection.execute(
                text("SELECT person, traits FROM people.persons WHERE app_number = 1")
            ).all()
        person_of = {row.distinct_id: row.person for row in rows}
        self.numbers = defaultdict(set)
        for row in rows:
            self.numbers[row.person].add(row.number)
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
                    return bool(named & self.numbers[person.number])
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
