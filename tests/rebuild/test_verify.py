"""A rebuild beside the live read model says whether both are the same, and where they are not."""

import signal
import subprocess
import sys
import threading
from multiprocessing import active_children
from pathlib import Path

import pytest

from infrastructure import rebuild_events, rebuild_rows
from tests.fixtures.read_models import ALL, IN_POSTGRES

MORTAL = Path(__file__).with_name("rebuild_process.py")

PLANTED = {
    "a row changed": (
        "people",
        "UPDATE people.distinct_ids SET messages = messages + 1 WHERE (app_number, number) = (1, 3)",
        "distinct_ids, app 1",
    ),
    "a row missing": (
        "people",
        "DELETE FROM people.persons WHERE (app_number, person) = (2, 1)",
        "persons, app 2",
    ),
    "a row that nobody sent": (
        "people",
        (
            "INSERT INTO people.distinct_ids VALUES (2, 'nobody', 9999, 1, now(), now(),"
            " NULL, 9999, NULL, 1)"
        ),
        "distinct_ids, app 2",
    ),
    "a whole app that is not there": (
        "people",
        (
            "INSERT INTO people.distinct_ids VALUES (9, 'nobody', 1, 1, now(), now(),"
            " NULL, 1, NULL, 1)"
        ),
        "distinct_ids, app 9",
    ),
    "an app renamed": (
        "apps",
        "UPDATE apps.apps SET name = 'X' WHERE app_number = 1",
        "apps, app 1",
    ),
    "an organisation missing": (
        "apps",
        "DELETE FROM apps.organisations WHERE ctid = (SELECT min(ctid) FROM apps.organisations)",
        "organisations",
    ),
    "a metric measured otherwise": (
        "metrics",
        "UPDATE metrics.versions SET definition = '{}' WHERE name = 'metric 10' AND version = 1",
        "versions, app 1",
    ),
    "a release that is gone": (
        "releases",
        "DELETE FROM releases.releases WHERE app_number = 2",
        "releases, app 2",
    ),
    "a refusal with another body": (
        "failed_events",
        "UPDATE failed_events.refused SET issue = 'x' WHERE body = 'nonsense 3'",
        "refused, app 2",
    ),
}
IN_CLICKHOUSE = {
    "a row deleted": "DELETE FROM events WHERE app_number = 2 AND position ="
    " (SELECT min(position) FROM events WHERE app_number = 2)",
    "a row doubled": "INSERT INTO events SELECT * FROM events WHERE app_number = 2 LIMIT 1",
    "a row that nobody sent": "INSERT INTO events (app_number, event, position) VALUES (2, 'x', 3)",
}


@pytest.fixture
def built(system):
    system.write(people=40)
    system.project()
    return system


def test_what_grew_event_by_event_equals_what_is_built_at_once(built):
    said = [built.verify(name) for name in ALL]
    assert [(one.name, one.equal, one.differing) for one in said] == [(n, True, ()) for n in ALL]
    assert {one.position for one in said} == {built.history.head()}


def test_comparing_and_replacing_leave_nothing_behind(built):
    for name in ALL:
        built.verify(name)
        built.swap(name)
    with built.engine.connect() as connection:
        schemas = connection.exec_driver_sql(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ '(rebuild|old)$'"
        ).all()
        names = connection.exec_driver_sql("SELECT name FROM projections.checkpoints").all()
    tables = built.analytics.query("SHOW TABLES LIKE '%rebuild%'")
    assert (schemas, list(tables.rows)) == ([], [])
    assert {row[0] for row in names} == set(ALL)


def test_every_planted_difference_is_found_and_named(built):
    """One after another; what was planted before stays."""
    places = {}
    for name, statement, place in PLANTED.values():
        built.change(statement)
        places.setdefault(name, set()).add(place)
        said = built.verify(name)
        assert (said.equal, set(said.differing)) == (False, places[name])


def test_every_planted_difference_in_clickhouse_is_found_and_mended_by_a_rebuild(built):
    for statement in IN_CLICKHOUSE.values():
        built.analytics.command(statement)
        said = built.verify("events")
        assert (said.equal, said.differing) == (False, ("events, app 2",))
        built.swap("events")
        assert built.verify("events").equal


def test_a_rebuild_mends_postgres_too(built):
    built.change(PLANTED["a row missing"][1])
    built.swap("people")
    assert built.verify("people").equal


def test_what_could_not_be_taken_is_parked_by_a_rebuild_too(built):
    at = built.history.store("later.v1", b"\x01{}", built.shop)
    built.project()
    for name in IN_POSTGRES:
        assert built.verify(name).equal
        built.swap(name)
    with built.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT projection, position FROM projections.parked")
        assert {tuple(row) for row in rows} == {(name, at) for name in IN_POSTGRES}


@pytest.mark.parametrize("name", ["people", "events"])
def test_rebuilds_at_once_do_not_disturb_each_other(built, name):
    failures = []

    def rebuild(how):
        try:
            assert built.rebuild(name, how).equal in (True, None)
        except BaseException as error:  # noqa: BLE001  told below
            failures.append(error)

    threads = [
        threading.Thread(target=rebuild, args=[how]) for how in ("swap", "verify", "swap", "verify")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert built.verify(name).equal


@pytest.fixture
def killed(environment):
    """`killed(name, how, when)`: a rebuild that dies by SIGKILL at that moment."""

    def run(*given):
        ended = subprocess.run(
            [sys.executable, "-P", str(MORTAL), *given],
            env=environment,
            check=False,
            capture_output=True,
            timeout=120,
        )
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        return ended

    return run


@pytest.mark.parametrize("how", ["verify", "swap"])
def test_killed_half_way_it_goes_on_where_it_was(built, killed, rebuild_command, results, how):
    killed("people", how, "half")
    half = built.checkpoint("people_rebuild").position
    assert 0 < half < built.history.head()
    began = []
    said = built.rebuild("people", how, lambda done, _of: began.append(done))
    assert began[0] == half
    assert said.equal is (True if how == "verify" else None)
    assert results(rebuild_command("people", "--verify"))[0]["equal"]


@pytest.mark.parametrize("how", ["verify", "swap"])
def test_of_events_it_keeps_the_rows_that_it_had(built, killed, rebuild_command, results, how):
    killed("events", how, "half")
    rows = []

    def progress(_done, _of):
        rows.append(built.analytics.query("SELECT count() FROM events_rebuild").rows[0][0])

    said = built.rebuild("events", how, progress)
    assert rows[0] > 50
    assert said.equal is (True if how == "verify" else None)
    assert results(rebuild_command("events", "--verify"))[0]["equal"]


def test_a_long_one_is_made_in_several_processes(built, monkeypatch):
    monkeypatch.setattr(rebuild_events, "_MANY", 0)
    monkeypatch.setattr(rebuild_events, "_CLOSE", 0)
    monkeypatch.setattr(rebuild_events, "_INSERT_ROWS", 20)
    monkeypatch.setattr(rebuild_rows, "PAGE", 20)
    seen = []
    said = built.rebuild("events", "verify", lambda *_: seen.append(len(active_children())))
    assert said.equal
    assert max(seen) > 0
    built.swap("events")
    monkeypatch.setattr(rebuild_events, "_MANY", 1_000_000)
    assert built.verify("events").equal


def test_killed_it_takes_its_processes_with_it(built, killed):
    """Who has its output still open would keep this waiting."""
    ended = killed("events", "swap", "half", "several")
    assert ended.stdout.split()  # they were there
    assert built.verify("events").equal


def test_one_that_was_begun_with_other_rules_begins_anew(built, killed):
    killed("events", "swap", "half")
    built.change("UPDATE projections.checkpoints SET rules = 'old' WHERE name = 'events_rebuild'")
    rows = []

    def progress(_done, _of):
        rows.append(built.analytics.query("SELECT count() FROM events_rebuild").rows[0][0])

    built.rebuild("events", "swap", progress)
    assert rows[0] == 0
    assert built.verify("events").equal


def test_killed_between_the_exchange_and_its_record_the_old_table_does_not_come_back(built, killed):
    built.analytics.command(IN_CLICKHOUSE["a row deleted"])
    killed("events", "swap", "exchanged")
    assert built.verify("events").equal
    built.swap("events")
    assert built.verify("events").equal
    built.write(people=5)
    built.project()
    assert built.verify("events").equal


def test_all_are_verified_by_one_command(built, rebuild_command, results):
    said = results(rebuild_command("--all", "--verify"))
    assert [(one["name"], one["equal"]) for one in said] == [(name, True) for name in ALL]


def test_whoever_rebuilds_people_rebuilds_events_by_the_numbers_of_their_ids(
    built, rebuild_command, results
):
    built.change("UPDATE people.distinct_ids SET number = 9999 WHERE number = 3 AND app_number = 1")
    said = results(rebuild_command("people"))
    assert [one["name"] for one in said] == ["people", "events"]
    assert all(one["equal"] for one in results(rebuild_command("--all", "--verify")))


def test_the_command_fails_when_there_is_a_difference(built, rebuild_command):
    built.change(PLANTED["a row changed"][1])
    process = rebuild_command("--all", "--verify")
    said, _ = process.communicate()
    assert process.returncode == 1
    assert "distinct_ids, app 1" in said
