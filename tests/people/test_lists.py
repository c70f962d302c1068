"""Lists of persons: conditions in two readings, search, order, pages."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Text, cast, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB

from domain.conditions import Where, matches
from domain.errors import Rejected
from projections.people import lists
from projections.people.lists import Wanted, after_prefix, list_persons
from projections.people.trait_conditions import all_of, check_traits
from tests.analytics.test_conditions import (
    CONDITION,
    LIKELY,
    NOW,
    OF_FACTS,
    OPERATORS,
    PROPERTIES,
    WHOLE,
)
from tests.fixtures.history import NOON

CONDITIONS = CONDITION.filter(lambda where: where.property[:2] == "$$" or where.property[0] != "$")


@pytest.fixture
def agree(engine):
    """Asserts that memory and the database judge alike."""

    def asked(objects, conditions):
        check_traits(conditions)
        objects = [msgspec.json.decode(_without_nul(one)) for one in objects]
        given_ = cast(literal(msgspec.json.encode(objects).decode(), Text()), JSONB)
        traits = func.jsonb_array_elements(given_, type_=JSONB()).column_valued("traits")
        with engine.connect() as connection:
            found = connection.execute(select(*all_of(conditions, traits, now=NOW))).all()
        for one, row in zip(objects, found, strict=True):
            assert list(row) == [matches(where, one, {}, NOW) for where in conditions]

    return asked


def _without_nul(traits):
    """No trait has one: it is refused where it is sent."""
    return msgspec.json.encode(traits).replace(b"\\u0000", b"")


def test_memory_and_the_database_agree_on_every_operator_and_type(agree):
    objects = [{}, *({"a": value} for value in WHOLE), {"a.b": 5}, {"a.b": None, "a": {"b": 5}}]
    objects += [{"a": [{"b": 5}]}, {"$plan": 5}, {"a": 1e-300}]
    conditions = [
        Where(name, operator, value)
        for name in ("a", "a.b", "a.0", "$$plan")
        for operator, values in OPERATORS.items()
        for value in values
    ]
    for at in range(0, len(conditions), 20):
        agree(objects, tuple(conditions[at : at + 20]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(PROPERTIES | LIKELY, min_size=1, max_size=5),
    st.lists(CONDITIONS, min_size=1, max_size=15),
)
def test_memory_and_the_database_agree_about_anything(agree, objects, conditions):
    agree(objects, tuple(conditions))


def test_a_number_too_small_for_a_double_is_nought(engine):
    traits = cast(literal('{"a": 1e-400}', Text()), JSONB)
    with engine.connect() as connection:
        (found,) = connection.execute(select(*all_of([Where("a", "equals", 0)], traits))).one()
    assert found


@given(OF_FACTS)
def test_facts_of_events_are_no_traits(where):
    with pytest.raises(Rejected) as caught:
        check_traits((Where("plan", "is_set"), where))
    assert caught.value.field == "where[1].property"


@given(st.text(min_size=1, max_size=4), st.text(max_size=3))
def test_after_a_prefix_comes_what_does_not_begin_so(prefix, rest):
    end = after_prefix(prefix)
    assert end is None or prefix + rest < end
    assert (end is None or rest < end) == (rest < prefix or rest.startswith(prefix))


@pytest.fixture
def people_there(engine, live, random_history):
    log = random_history(5, 120)
    live(log)
    with engine.connect() as connection:
        yield connection


@pytest.mark.parametrize("sort", ["created", "last_seen", "first_seen", "user_id"])
def test_pages_of_any_size_are_the_list_cut_in_order(people_there, sort):
    wanted = Wanted(app_number=1, sort=sort, limit=1000)
    whole = list_persons(people_there, wanted)
    assert whole.total == len(whole.found) == len({one.person for one in whole.found})
    for size in (1, 2, 5):
        found, after = [], None
        while True:
            asked = msgspec.structs.replace(wanted, limit=size, after=after)
            page = list_persons(people_there, asked)
            assert page.total == whole.total
            found += page.found
            if len(page.found) < size:
                break
            after = page.found[-1].key, page.found[-1].person
        assert found == whole.found


def test_each_order_is_what_it_says(people_there):
    def found(sort):
        wanted = Wanted(app_number=1, sort=sort, limit=1000)
        return list_persons(people_there, wanted).found

    numbers = [one.person for one in found("created")]
    assert numbers == sorted(numbers, reverse=True)
    names = [one.listed.user_id for one in found("user_id")]
    assert names == sorted(names)
    for sort in ("last_seen", "first_seen"):
        times = [getattr(one.listed, sort) for one in found(sort)]
        seen = [at for at in times if at is not None]
        assert seen == sorted(seen, reverse=True)
        assert times == seen + [None] * (len(times) - len(seen))


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("ad", {"ada", "adam", "grace"}),
        ("ADA@", {"grace"}),
        ("phone", {"ada"}),
        ("%", set()),
        ("a_a", set()),
        ("ü", {"ümit"}),
        ("Ada", {"grace"}),
        ("adam", {"adam"}),
    ],
)
def test_search_finds_how_an_id_or_an_address_begins(engine, live, history, search, found):
    shop = history.found()
    for user in ("ada", "adam", "ümit", "Bob"):
        history.track(shop, user)
    history.identify(shop, "grace", email="Ada@example.com")
    history.identify(shop, "Bob", email=["ada@example.com"])
    history.alias(shop, "ada", "phone-1")
    live(history.recorded())
    with engine.connect() as connection:
        page = list_persons(connection, Wanted(app_number=1, search=search, limit=10))
    assert {one.listed.user_id for one in page.found} == found
    assert page.total == len(page.found)


def test_an_address_that_changes_is_searched_as_it_is(engine, live, history):
    shop = history.found()
    history.identify(shop, "ada", email="old@example.com")
    history.identify(shop, "ada", at=NOON + timedelta(hours=1), email="NEW" * 10_000)
    live(history.recorded())
    with engine.connect() as connection:
        for search, count in (("old", 0), ("newnew", 1)):
            wanted = Wanted(app_number=1, search=search, limit=10)
            assert lists.list_persons(connection, wanted).total == count
