"""Members of segments: however often and in what pages their events come, entered less left is who
is in.
"""

import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from domain.conditions.tree import Did
from domain.segments import (
    SegmentCreated,
    SegmentDeleted,
    SegmentEntered,
    SegmentLeft,
    membership_stream,
)
from infrastructure.database import open_engine
from infrastructure.read_models import ReadModels
from projections import apps, segments
from projections.projection import Recorded
from tests.fixtures.history import NOON

SEGMENTS = [UUID(int=n) for n in (21, 22)]


@pytest.fixture
def engine(database_url):
    engine = open_engine(database_url)
    ReadModels(engine).prepare()
    yield engine
    engine.dispose()


def log_of(app, chance):
    """Entering and leaving by chance, also of those who are in or out already."""
    events = []
    for segment in SEGMENTS:
        made = {"originator_id": segment, "occurred_at": NOON, "app_id": app}
        events.append(SegmentCreated(**made, originator_version=1, name="A", criteria=Did()))
        for version in range(1, 15):
            kind = chance.choice([SegmentEntered, SegmentLeft])
            persons = sorted(chance.sample(range(1, 9), 3))
            events.append(
                kind(
                    originator_id=membership_stream(segment),
                    originator_version=version,
                    occurred_at=NOON,
                    app_id=app,
                    segment_id=segment,
                    segment_version=1,
                    at_position=version,
                    at=NOON + timedelta(seconds=version),
                    cause="event",
                    persons=tuple(persons),
                )
            )
    made = {"originator_id": SEGMENTS[1], "occurred_at": NOON, "app_id": app}
    events.append(SegmentDeleted(**made, originator_version=2))
    return [
        Recorded(position, event.originator_id, app, event.TOPIC, NOON, event)
        for position, event in enumerate(events, 10)
    ]


def tables(connection, pages, app):
    """What is in all tables afterwards; nothing of it stays."""
    with connection.begin() as transaction:
        row = {"app_id": app, "app_number": 77, "organisation_id": app, "name": "A"}
        row |= {"timezone": "UTC", "authorized_domains": [], "data_retention_days": 365}
        connection.execute(apps.apps.insert().values(**row, created_at=NOON))
        for page in pages:
            segments.apply(page, connection)
        found = {
            table.name: sorted(map(str, connection.execute(table.select())))
            for table in segments.metadata.sorted_tables
        }
        moves = connection.execute(segments.changes.select()).all()
        for segment in SEGMENTS:
            in_it = segments.current_members(connection, 77, segment)
            balance = dict.fromkeys(range(1, 9), 0)
            for one in moves:
                if one.segment_id == segment:
                    balance[one.person] += 1 if one.entered else -1
            assert {person for person, sum_ in balance.items() if sum_} == in_it
            assert set(balance.values()) <= {0, 1}
        transaction.rollback()
    return found


@pytest.mark.parametrize("seed", range(5))
def test_pages_and_repetitions_change_nothing(engine, seed):
    chance, app = random.Random(seed), uuid4()
    log = log_of(app, chance)
    with engine.connect() as connection:
        whole = tables(connection, [log], app)
        single = [[one] for one in log]
        assert tables(connection, single, app) == whole
        again = [page for one in single for page in (one, one)]
        assert tables(connection, again, app) == whole
        assert tables(connection, [log, log[: chance.randrange(len(log))]], app) == whole
    assert len(whole["segments"]) == 2
