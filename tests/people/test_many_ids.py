"""Persons of many ids: what is linked and un-linked at once."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from domain.tracking import Unmerged
from infrastructure.database import open_engine
from infrastructure.read_models import ReadModels
from tests.fixtures.history import NOON

MANY = 1100


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def models(engine):
    models = ReadModels(engine)
    models.prepare()
    return models


def persons(engine):
    with engine.connect() as connection:
        query = "SELECT count(DISTINCT person), count(*) FROM people.distinct_ids"
        return tuple(connection.execute(text(query)).one())


def test_a_person_of_many_ids_is_taken_apart_at_once(engine, models, history):
    shop = history.found()
    for number in range(MANY):
        history.alias(shop, "ada", f"phone {number}", at=NOON + timedelta(seconds=number))
    models.apply(history.recorded())
    assert persons(engine) == (1, MANY + 1)
    taken = history.head()
    pairs = tuple(("ada", f"phone {number}") for number in range(MANY))
    at = NOON.replace(year=2030)  # after all links, which are of the time they were recorded at
    for first in range(0, MANY, 500):
        history.append(
            shop,
            Unmerged(
                user_id="ada",
                pairs=pairs[first : first + 500],
                timestamp=at,
                received_at=at,
                done_by="key",
            ),
        )
    models.apply(history.recorded(taken))
    assert persons(engine) == (MANY + 1, MANY + 1)
