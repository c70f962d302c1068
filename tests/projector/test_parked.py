"""What a read model can't take is kept with the reason, and holds up nothing."""

from types import SimpleNamespace

import msgspec
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import OperationalError

from domain.errors import NotFound
from domain.tracking import Aliased, Identified
from infrastructure import checkpoints
from infrastructure import parked as parked_events
from infrastructure.checkpoints import Checkpoint
from infrastructure.database import AWAY, open_engine, pipelined
from infrastructure.parked import retry_parked
from infrastructure.read_models import ReadModels
from infrastructure.rebuild import Rebuild
from projections import apps, people
from projections.people.tables import metadata
from tests.fixtures.read_models import IN_POSTGRES

DEEP = b'\x01{"message_id":"m","properties":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

UNREADABLE = {
    "a topic of a newer version": ("tracked.v9", b"\x01{}", "UnknownTopic: tracked.v9"),
    "a codec of a newer version": ("tracked.v1", b"\x07sealed", "UnknownCodec: payload codec 07"),
    "an empty payload": ("tracked.v1", b"", "UnknownCodec: payload codec none"),
    "no JSON": ("tracked.v1", b"\x01{nonsense", "DecodeError"),
    "JSON of another shape": ("tracked.v1", b'\x01{"event":7}', "ValidationError"),
    "JSON nested too deeply": ("tracked.v1", DEEP, "RecursionError"),
    "text that is no UTF-8": ("tracked.v1", b'\x01{"event":"\xff"}', "UnicodeDecodeError"),
}


@pytest.fixture
def shop(history):
    return history.found()


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_unreadable_event_is_parked_and_the_rest_goes_on(
    models, history, parked, positions, engine, what
):
    topic, state, reason = UNREADABLE[what]
    shop = history.found()
    history.track(shop, "ada")
    at = history.store(topic, state, shop)
    last = history.track(shop, "bob")
    models.apply(history.recorded())
    assert set(parked()) == {(name, at) for name in IN_POSTGRES}
    assert all(said.startswith(reason) for said in parked().values())
    assert set(positions().values()) == {last}
    with engine.connect() as connection:
        assert set(people.find_numbers(connection, [(1, "ada"), (1, "bob")]).values()) == {1, 2}


@pytest.fixture
def poison(history, shop, noon):
    """A log with an event in its middle that the people's read model can't store: an id holds a
    NUL, which Postgres refuses. (It can't come in: the edge refuses it too.)
    """
    history.track(shop, "ada")
    bad = Identified(
        message_id="bad", timestamp=noon, received_at=noon, user_id="eve\x00",
        traits=msgspec.Raw(b'{"plan":"pro"}'),
    )  # fmt: skip
    at = history.append(shop, bad)
    history.track(shop, "bob")
    return at


def test_an_event_that_breaks_a_projection_is_parked_for_it_alone(models, history, poison, parked):
    models.apply(history.recorded())
    assert set(parked()) == {("people", poison)}
    assert parked()["people", poison].startswith("DataError")


def test_it_leaves_nothing_half_done(models, history, poison, engine):
    models.apply(history.recorded())
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT distinct_id, number FROM people.distinct_ids"))
        assert {tuple(row) for row in rows} == {("ada", 1), ("bob", 2)}


def test_parking_does_not_tell_what_people_sent(models, history, poison, parked):
    models.apply(history.recorded())
    assert "eve" not in parked()["people", poison]


@pytest.fixture
def kept(contents, parked):
    return lambda: (contents(), parked())


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_what_is_parked_does_not_depend_on_the_pages(models, history, poison, kept, empty, size):
    page = history.recorded()
    models.apply(page)
    whole = kept()
    empty()
    for start in range(0, len(page), size):
        models.apply(page[start : start + size])
    assert kept() == whole


def test_retrying_before_anything_changed_says_why_not(models, engine, history, poison, contents):
    models.apply(history.recorded())
    before = contents()
    said = retry_parked(engine, history.connection, "people", poison)
    assert said.reason.startswith("DataError")
    assert contents() == before


def test_retried_after_a_fix_it_counts_once_as_if_it_had_never_failed(
    engine, history, shop, contents, parked, empty
):
    """The fix is a new version of the code; the bug here can't read the trait `plan`."""
    history.track(shop, "ada")
    history.track(shop, "eve")
    at = history.identify(shop, "eve", plan="pro")
    history.identify(shop, "ada", city="Berlin")

    def buggy(page, connection):
        for recorded in page:
            if isinstance(recorded.event, Identified) and b"plan" in bytes(recorded.event.traits):
                raise LookupError("plan")
        people.apply(page, connection)

    broken = SimpleNamespace(**{**vars(people), "apply": buggy})
    models = ReadModels(engine, (apps, broken))
    ReadModels(engine).prepare()
    models.apply(history.recorded())
    assert parked() == {("people", at): "LookupError: plan"}
    assert retry_parked(engine, history.connection, "people", at).reason is None
    assert parked() == {}
    with pytest.raises(NotFound):
        retry_parked(engine, history.connection, "people", at)
    retried = contents((apps, people))
    empty()
    ReadModels(engine, (apps, people)).apply(history.recorded())
    assert contents((apps, people)) == retried


def test_a_link_is_not_taken_out_of_its_order(models, engine, history, shop, noon, parked):
    history.track(shop, "ada")
    bad = Aliased(
        message_id="bad", timestamp=noon, received_at=noon, user_id="ada", previous_id="eve\x00"
    )
    at = history.append(shop, bad)
    models.apply(history.recorded())
    said = retry_parked(engine, history.connection, "people", at)
    assert said.reason.endswith("rebuild instead: appizer projections rebuild people")
    assert set(parked()) == {("people", at)}


@pytest.mark.parametrize(("taken_late", "version"), [(True, 0), (False, 1)])
def test_rows_of_events_are_outdated_when_ids_get_other_numbers(
    models, engine, history, shop, taken_late, version
):
    """As they do after an event was parked and retried: the rows have the old ones."""
    history.track(shop, "ada")
    history.track(shop, "bob")
    models.apply(history.recorded())
    with engine.begin() as connection:
        checkpoints.write(connection, Checkpoint(name="events", version=1, position=3))
        if taken_late:
            late = "UPDATE people.distinct_ids SET number = 9 WHERE distinct_id = 'ada'"
            connection.execute(text(late))
    Rebuild(engine, history.connection, people).swap(lambda _done, _of: None)
    with engine.connect() as connection:
        assert checkpoints.read(connection, "events").version == version


@pytest.fixture
def breaking():
    """People, and with eve's events a row that Postgres refuses once all of the page is sent."""

    def apply(page, connection):
        people.apply(page, connection)
        if any(getattr(recorded.event, "user_id", None) == "eve" for recorded in page):
            row = {"app_number": 1, "position": 1, "number": 1}
            connection.execute(insert(metadata.tables["people.said"]).values(**row))

    return SimpleNamespace(**{**vars(people), "apply": apply})


@pytest.mark.parametrize("how", ["live", "rebuilt"])
def test_what_postgres_refuses_at_the_end_of_a_page_is_found(
    engine, history, shop, parked, breaking, how
):
    for name in ("ada", "eve", "bob"):
        history.track(shop, name)
    at = history.head() - 1
    ReadModels(engine).prepare()
    if how == "live":
        ReadModels(engine, (apps, breaking)).apply(history.recorded())
    else:
        ReadModels(engine, (apps, people)).apply(history.recorded())
        Rebuild(engine, history.connection, breaking).swap(lambda _done, _of: None)
    assert set(parked()) == {("people", at)}
    with engine.connect() as connection:
        known = people.find_numbers(connection, [(1, name) for name in ("ada", "eve", "bob")])
    assert set(known) == {(1, "ada"), (1, "bob")}


def test_a_connection_that_is_lost_amid_a_page_is_told_as_such(engine):
    with pytest.raises(AWAY):
        _lose_amid_a_page(engine)


def _lose_amid_a_page(engine):
    with engine.begin() as connection, pipelined(connection):
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        connection.execute(text("SELECT 1"))


def test_every_fault_of_a_fixed_projection_is_found_again_by_retrying_all(
    models, engine, history, shop, parked
):
    """Nothing leaves the list but by being taken."""
    places = [history.store("later.v1", b"\x01{}", shop) for _ in range(3)]
    models.apply(history.recorded())
    for name, at in parked():
        assert retry_parked(engine, history.connection, name, at).reason == "UnknownTopic: later.v1"
    assert {at for _, at in parked()} == set(places)
    with engine.connect() as connection:
        counts = parked_events.count_parked(connection)
    assert counts == dict.fromkeys(IN_POSTGRES, 3)


def test_the_databases_own_failure_parks_nothing(
    engine, models, history, database_url, parked, positions
):
    """A lock that is not given is no event's fault; the page is tried again later."""
    history.track(history.found(), "ada")
    before = positions()
    impatient = open_engine(f"{database_url}?options=-clock_timeout%3D100ms")
    with engine.begin() as blocker:
        blocker.execute(text("LOCK TABLE people.distinct_ids IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(OperationalError, match="lock timeout"):
            ReadModels(impatient).apply(history.recorded())
    impatient.dispose()
    assert parked() == {}
    assert positions() == before
