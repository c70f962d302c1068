"""person_traits in ClickHouse: at every position what the people's read model folds there."""

import json
import random
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import select

from domain.past import Past
from domain.tracking import Aliased, Identified, Unmerged
from infrastructure import companion_tables
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.companions import differing, refill
from infrastructure.database import open_engine
from infrastructure.event_store.reader import read_log_id
from infrastructure.membership_writer import MembershipWriter
from infrastructure.person_writer import PersonWriter
from infrastructure.read_models import ReadModels
from infrastructure.trait_writer import TraitWriter
from projections import people, person_traits
from projections.people.past import Then, said_by, traits_of
from projections.people.tables import distinct_ids
from projections.people.whose import find_whose
from tests.fixtures.history import NOON

USERS = ["ada", "bob", "cy", "anon-1", "anon-2", "anon-3"]
VALUES = [1, "x", "tab\t, \\ and\nline", "ü", [1, "two"], {"in": None}, True, None]
EVERYONE = (
    "SELECT person, position, traits FROM person_traits FINAL WHERE app_number = {app:UInt32}"
)


@pytest.fixture
def analytics(analytics_url):
    client = AnalyticsEngine(analytics_url)
    yield client
    client.close()


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


class Written:
    """A log of random messages about people, and writers that follow its read models."""

    def __init__(self, history, engine, analytics, seed):
        self.history, self.engine, self.analytics = history, engine, analytics
        self.random = random.Random(seed)
        self.models = ReadModels(engine)
        self.models.prepare()
        self.shop = history.found()
        self.other = history.found("Game")
        self.log_id = read_log_id(history.connection)
        self.writer = self.recovered()
        self.minutes = 0

    def recovered(self):
        writer = TraitWriter(self.analytics)
        writer.recover(self.log_id)
        return writer

    def say(self):
        """One message of any kind; many come late."""
        pick = self.random
        self.minutes += 1
        at = NOON + timedelta(minutes=self.minutes - pick.choice([0, 0, 0, 1, 7, 40]))
        made = {"message_id": str(pick.random()), "received_at": NOON, "timestamp": at}
        user, second = pick.sample(USERS, 2)
        kind = pick.random()
        if kind < 0.15:
            event = Aliased(**made, user_id=user, previous_id=second, forced_by="key")
        elif kind < 0.3:
            del made["message_id"]
            event = Unmerged(**made, user_id=user, pairs=((user, second),), done_by="key")
        elif kind < 0.45:
            event = Identified(**made, user_id=user, anonymous_id=second, traits=self.traits())
        elif kind < 0.75:
            event = Identified(**made, user_id=user, traits=self.traits())
        else:
            event = Identified(**made, user_id=user, operations=self.operations())
        self.history.append(self.shop if pick.random() < 0.9 else self.other, event)

    def traits(self):
        names = self.random.sample("abc", self.random.randrange(3))
        return msgspec.Raw(json.dumps({n: self.random.choice(VALUES) for n in names}).encode())

    def operations(self):
        name = self.random.choice("abc")
        said = self.random.choice(
            [{"increment": {name: 1}}, {"append": {name: 2}}, {"unset": [name]}]
        )
        return msgspec.Raw(json.dumps(said).encode())

    def take(self, *, write=True):
        page = self.history.recorded(self.models.position())
        self.models.apply(page)
        if write:
            with self.engine.connect() as connection:
                self.writer.write(connection, page[-1].position)

    def shown(self, app, position):
        rows = self.analytics.query(
            person_traits.latest(app, position, facts={"traits": "properties"}),
            settings={"priority": 1},
        ).rows
        return {person: json.loads(traits) for person, traits in rows if traits != "{}"}

    def folded(self, app, position):
        """By the people's own way into the past."""
        found = {}
        with self.engine.connect() as connection:
            d = distinct_ids.c
            query = select(d.distinct_id).where(d.app_number == app, d.position <= position)
            for one in connection.execute(query).scalars().all():
                whose = find_whose(connection, app, one, position)
                then = Then(connection, lambda _: (), app, Past(position))
                traits = traits_of(said_by(then, whose.numbers))
                values = {n: json.loads(bytes(t.value)) for n, t in traits.items() if t.is_set}
                if values:
                    found[whose.person] = values
        return found

    def all_rows(self):
        return sorted(
            tuple(row)
            for app in (1, 2)
            for row in self.analytics.query(EVERYONE, {"app": app}).rows
        )


@pytest.fixture
def written(history, engine, analytics, request):
    return Written(history, engine, analytics, request.param)


def random_pages(written, pages=12):
    for _ in range(pages):
        for _ in range(written.random.choice([1, 1, 3, 10])):
            written.say()
        written.take()


@pytest.mark.parametrize("written", [1, 2, 3], indirect=True)
def test_at_every_position_they_are_what_the_people_read_model_folds(written):
    random_pages(written)
    for position in range(1, written.history.head() + 1):
        for app in (1, 2):
            assert written.shown(app, position) == written.folded(app, position), position


@pytest.mark.parametrize("written", [4], indirect=True)
def test_rows_do_not_depend_on_pages_nor_on_who_wrote_them(written, engine, analytics, monkeypatch):
    """Written in pages, by a writer that remembers, restarts and forgets, or all at once."""
    monkeypatch.setattr("projections.people.trait_rows._REMEMBERED", 6)
    for _ in range(4):
        random_pages(written, 3)
        written.writer = written.recovered()
    rows = written.all_rows()
    for kind in (PersonWriter, MembershipWriter):
        kind(analytics).recover(written.log_id)
    with engine.connect() as connection:
        persons = PersonWriter(analytics)
        persons.recover(written.log_id)
        persons.write(connection, written.history.head())
        ever = set(range(1, len(USERS) + 1))
        some = {person for person in ever if person % 2}
        again = people.trait_rows_of(connection, 1, some, written.history.head())
        of_app = [row for row in analytics.query(EVERYONE, {"app": 1}).rows if row[0] in some]
        assert sorted(row[1:] for row in again) == sorted(map(tuple, of_app))
    assert differing(analytics, engine, written.log_id, written.history.head()) == ()
    refill(analytics, engine, written.log_id, written.history.head())
    assert written.all_rows() == rows


@pytest.mark.parametrize("written", [5], indirect=True)
def test_what_was_lost_or_comes_twice_changes_nothing(written, analytics, monkeypatch):
    monkeypatch.setattr(companion_tables, "ROWS", 2)  # each insert is small
    random_pages(written, 6)
    rows = written.all_rows()
    half = sorted({row[1] for row in rows})[len(rows) // 3]
    command = "ALTER TABLE person_traits DELETE WHERE position >= {at:UInt64}"
    analytics.command(command, {"at": half}, {"mutations_sync": 1})
    for _ in range(2):
        written.writer = written.recovered()
        with written.engine.connect() as connection:
            written.writer.write(connection, written.history.head())
        assert written.all_rows() == rows
    with written.engine.connect() as connection:
        written.writer._position = 0
        written.writer.write(connection, written.history.head())
    assert written.all_rows() == rows


@pytest.mark.parametrize("written", [6], indirect=True)
def test_a_table_of_another_version_is_filled_anew(written, analytics, monkeypatch):
    random_pages(written, 4)
    rows = written.all_rows()
    analytics.command("INSERT INTO person_traits VALUES (1, 1, 1, 'wrong')")
    monkeypatch.setattr(person_traits, "VERSION", person_traits.VERSION + 1)
    written.writer = written.recovered()
    with written.engine.connect() as connection:
        written.writer.write(connection, written.history.head())
    assert written.all_rows() == rows
