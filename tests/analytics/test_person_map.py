"""Whose a number is: by the dictionary, by what came after it was loaded, and as of a past."""

import random
from uuid import UUID, uuid4

import pytest

from infrastructure import person_writer
from infrastructure.analytics_engine import AnalyticsEngine, EngineFailed
from infrastructure.person_writer import PersonWriter
from projections import people, person_map
from projections.person_map import DICTIONARIES, dictionary, listed
from projections.segment_members import listed_query

APP, OTHER = 1, 2
IDS = 300


@pytest.fixture
def engine(engine_url):
    """In a database of its own: the tables of other tests have these names too."""
    base = AnalyticsEngine(engine_url)
    name = f"persons_{uuid4().hex}"
    base.command(f"CREATE DATABASE {name}")
    client = AnalyticsEngine(engine_url.removesuffix("default") + name)
    yield client
    client.close()
    base.command(f"DROP DATABASE {name} SYNC")
    base.close()


@pytest.fixture
def log(engine, monkeypatch):
    """Its changes, which a writer finds where else the people's read model has them."""
    changes = []
    monkeypatch.setattr(
        people,
        "find_changes",
        lambda _, *, after, upto: iter([c for c in changes if after < c[2] <= upto]),
    )
    return changes


def moved(changes, upto):
    known = (change for change in changes if change[0] == APP and change[2] <= upto)
    whose = {number: person for _, number, _, person in known}
    return {number: whose.get(number, number) for number in range(1, IDS + 1)}


def asked(engine, known_at=None):
    numbers = list(range(1, IDS + 1))
    with_scalars = f"WITH {person_map.scalars(APP, known_at)}"
    found = engine.query(f"{with_scalars} {listed(numbers, APP, known_at)}").rows
    bitmap = person_map.persons("groupBitmapState(toUInt64(number + 1))", APP, known_at)
    persons = engine.query(f"{with_scalars} SELECT bitmapToArray({bitmap}) FROM numbers({IDS})")
    rows = {number: person for number, (person,) in zip(numbers, found, strict=True)}
    assert sorted(persons.rows[0][0]) == sorted(set(rows.values()))
    return rows


def loaded_upto(engine):
    return engine.query(f"SELECT dictGet('{dictionary(APP)}', 'person', toUInt64(0))").rows[0][0]


def test_numbers_are_whose_they_are_whenever_the_dictionary_was_loaded(engine, log, monkeypatch):
    monkeypatch.setattr(person_writer, "_RECENT", 60)
    dice = random.Random(8)
    writer = PersonWriter(engine)
    writer.recover(uuid4())
    loads = set()
    for position in range(10, 400, 10):
        # Some come back to be their own; some positions move many.
        for number in dice.sample(range(2, IDS), dice.choice([0, 1, 2, 30])):
            log.append((APP, number, position, dice.choice([number, dice.randint(1, number)])))
        log.append((OTHER, 5, position, 1))
        writer.write(None, position)
        assert asked(engine) == moved(log, position)
        loads.add(loaded_upto(engine))
    assert 3 < len(loads) < 30
    for known_at in (5, 95, 200, 391):
        assert asked(engine, known_at) == moved(log, known_at)


def test_tables_of_another_log_are_looked_up_from_the_first_question_on(engine, log):
    writer = PersonWriter(engine)
    writer.recover(UUID(int=21))
    log.append((APP, 9, 1_000, 3))
    writer.write(None, 1_000)
    assert asked(engine)[9] == 3

    log[:] = [(APP, 8, 50, 2)]
    fresh = PersonWriter(engine)
    fresh.recover(UUID(int=22))
    fresh.write(None, 50)
    assert asked(engine) == {**moved([], 0), 8: 2}
    assert dictionary(APP) in {name for name, _ in engine.query(DICTIONARIES).rows}


def test_a_dictionary_that_has_become_too_small_is_made_anew(engine, log, monkeypatch):
    monkeypatch.setattr(person_map, "_MOST_FLAT", 20)  # ids, of which the array takes twice as many
    monkeypatch.setattr(person_writer, "_RECENT", 5)
    writer = PersonWriter(engine)
    writer.recover(uuid4())
    layout = f"SELECT type FROM system.dictionaries WHERE name = '{dictionary(APP)}'"
    for position, number in ((10, 9), (20, 250)):
        log.extend((APP, number + n, position, 1) for n in range(6))
        writer.write(None, position)
        assert asked(engine) == moved(log, position)
        (found,) = {
            row[0] for row in engine.query(f"{layout} AND database = currentDatabase()").rows
        }
        assert found == ("Flat" if position == 10 else "HashedArray")


def test_a_message_that_says_so_makes_no_dictionary(engine, log):
    PersonWriter(engine).recover(uuid4())
    told = f"DB::Exception: Dictionary (`{dictionary(7)}`) not found"
    with pytest.raises(EngineFailed):
        engine.query("SELECT toInt32({told:String})", {"told": told})
    names = "SELECT name FROM system.dictionaries WHERE database = currentDatabase()"
    assert engine.query(names).rows == []


def test_a_list_may_be_long(engine, log):
    """Longer than what the engine takes by itself for a statement, 256 KiB."""
    writer = PersonWriter(engine)
    writer.recover(uuid4())
    log.append((APP, 100_000, 5, 1))
    writer.write(None, 5)
    numbers = range(1, 200_001)
    for known_at, persons in ((None, 199_999), (4, 200_000)):
        query = listed_query([*numbers], APP, known_at)
        found = engine.query(f"SELECT count(), max(person) FROM ({query.sql})", query.parameters)
        assert found.rows == [(persons, 200_000)]
