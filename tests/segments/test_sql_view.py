"""The view `segments` of callers' SQL: who is in what, now and as of any position."""

import json
from uuid import uuid4

import msgspec
import pytest

from domain.past import Past
from domain.segments import SegmentCreated
from domain.sql import Question
from infrastructure import checkpoints
from infrastructure.companions import differing, refill
from infrastructure.event_store.reader import read_log_id
from projections import segments, sql
from projections.sql.answers import FORMAT, table
from tests.segments.world import SHAPES, World

ALL = "SELECT segment, segment_id, person_id FROM segments"


@pytest.fixture
def world(database_url, analytics_url, history):
    world = World(database_url, analytics_url, history, seed=6)
    yield world
    world.close()


def rows(world, query, known_at=None):
    with world.engine.connect() as connection:
        found = segments.find_definitions(connection, 1, known_at)
    names = {one: definition.name for one, definition in found.items()}
    question = Question(query=query)
    plan = sql.plan(question, app_number=1, past=Past(known_at), seconds=10, segments=names)
    raw = world.analytics.raw(plan.sql, plan.parameters, plan.settings, format_name=FORMAT)
    return json.loads(msgspec.json.encode(table(raw).objects()))


def members(world, known_at=None):
    found = {}
    for row in rows(world, ALL, known_at):
        found.setdefault(row["segment"], set()).add(row["person_id"])
    return found


def test_it_has_those_who_are_in_a_segment_and_had_those_who_were(world):
    for name, tree in SHAPES.items():
        world.define(name, tree)
    then = {}
    for step in range(9):
        for _ in range(4):
            world.anything()
        world.pass_time()
        if step == 5:
            world.delete("pro")
            world.define("renamed", SHAPES["pro"])
        world.evaluate()
        then[world.position] = {name: who for name, who in world.expected().items() if who}
        assert members(world) == then[world.position]
    for position, expected in then.items():
        assert members(world, position) == expected


def test_numbers_that_became_one_person_are_one_member(world):
    world.define("listed", None, kind="static")
    world.track("ada", "view")
    world.track("bob", "view")
    world.list_("listed", 1, 1)
    world.list_("listed", 2, 2)
    world.take()
    assert members(world) == {"listed": {1, 2}}
    world.alias("ada", "bob")
    world.take()
    assert members(world) == {"listed": {1}}
    (row,) = rows(world, "SELECT * FROM segments JOIN people USING person_id")
    assert (row["segment"], row["events"]) == ("listed", 2)


def test_names_are_text_and_another_apps_segments_are_not_there(world):
    name = "it's \\ {segment_ids:Array(String)} \U0001f600 `--"
    world.define(name, SHAPES["once"])
    world.track("ada", "view")
    world.evaluate()
    assert members(world) == {name: {1}}
    world.save(
        SegmentCreated(
            originator_id=uuid4(), originator_version=1, occurred_at=world.now,
            app_id=world.history.found(), name="theirs", criteria=SHAPES["once"], kind="live",
        )
    )  # fmt: skip
    world.take()
    world.evaluator.evaluate(1)
    assert members(world) == {name: {1}}
    assert rows(world, "SELECT count() AS n FROM segments WHERE segment = 'theirs'") == [{"n": 0}]


def test_the_table_is_filled_anew_and_compared(world):
    world.define("often", SHAPES["often"])
    world.track("ada", "buy")
    world.track("ada", "buy")
    world.evaluate()
    log_id = read_log_id(world.history.connection)
    assert differing(world.analytics, world.engine, log_id, world.position) == ()
    world.analytics.command("TRUNCATE TABLE segment_memberships")
    told = differing(world.analytics, world.engine, log_id, world.position)
    assert told == ("segment_memberships, app 1",)
    refill(world.analytics, world.engine, log_id, world.position)
    assert differing(world.analytics, world.engine, log_id, world.position) == ()
    assert members(world) == {"often": {1}}


def test_an_emptied_table_is_filled_when_the_projector_starts(world):
    world.define("often", SHAPES["often"])
    world.track("ada", "buy")
    world.track("ada", "buy")
    world.evaluate()
    world.analytics.command("DROP TABLE segment_memberships SYNC")
    world.projector._writer.checkpoint()  # else the last pages come again, and bring it with them
    world.projector._recover(read_log_id(world.history.connection))
    assert members(world) == {"often": {1}}


def test_it_catches_up_when_the_segments_do(world):
    """Their read model may be built anew while nothing is logged."""
    world.define("often", SHAPES["often"])
    world.track("ada", "buy")
    world.track("ada", "buy")
    world.evaluate()
    with world.engine.begin() as connection:
        whole = checkpoints.read(connection, segments.name)
        checkpoints.write(connection, msgspec.structs.replace(whole, position=0))
    world.analytics.command("DROP TABLE segment_memberships SYNC")
    world.projector._writer.checkpoint()  # else the last pages come again, and bring it with them
    position = world.projector._recover(read_log_id(world.history.connection))
    assert members(world) == {}
    world.projector._catch_up(position)
    assert members(world) == {}
    with world.engine.begin() as connection:
        checkpoints.write(connection, whole)
    world.projector._catch_up(position)
    assert members(world) == {"often": {1}}
