"""Rebuilding: equal when nothing is wrong, different when a row was touched, killed or not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.cli.exits import Exit
from projections import people
from tests.fixtures.read_models import ALL, IN_POSTGRES

ROOT = Path(__file__).parents[2]


def lines(answer):
    return [json.loads(line) for line in answer.out.splitlines()]


@pytest.fixture
def imported(appizer, tmp_path, project):
    """Some people with events, in the log and in the read models."""

    def fill(rows):
        file = tmp_path / f"{rows}.csv"
        people = [f"e,u{n % 700},2026-01-01,{n}\n" for n in range(rows)]
        file.write_text("event,user,time,n\n" + "".join(people))
        assert appizer("import", "csv", file, "--no-wait").code == Exit.OK
        project()

    return fill


def test_read_models_are_listed_with_what_they_hold(appizer):
    listed = {one["name"]: one for one in lines(appizer("projections", "list", "--json"))}
    assert list(listed) == [*ALL]
    assert listed["people"]["version"] == people.version
    assert "distinct_ids" in listed["people"]["tables"]
    assert listed["events"]["held_in"] == "ClickHouse"


def test_status_says_how_far_each_is_behind(appizer, imported, change):
    imported(10)
    change("UPDATE projections.checkpoints SET position = position - 4 WHERE name = 'people'")
    answer = appizer("projections", "status", "--json")
    found = {one["name"]: one for one in lines(answer)}
    assert (found["people"]["lag"], found["people"]["state"]) == (4, "behind")
    assert found["people"]["lag_seconds"] > 0
    assert (found["apps"]["lag"], found["apps"]["state"]) == (0, "current")
    assert found["events"]["state"] == "missing"
    assert answer.code == Exit.FAILED  # one is missing


def test_status_names_what_is_outdated_or_parked(appizer, change):
    change("UPDATE projections.checkpoints SET version = 0 WHERE name = 'people'")
    change("INSERT INTO projections.parked VALUES ('apps', 1, null, 'reason')")
    found = {one["name"]: one["state"] for one in lines(appizer("projections", "status", "--json"))}
    assert (found["people"], found["apps"]) == ("outdated", "parked")


def test_watching_goes_on_until_it_is_interrupted(app_id, database_url):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "api.cli.main", "projections", "status", "--watch", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "APPIZER_DATABASE_URL": database_url},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        seen = [json.loads(process.stdout.readline()) for _ in range(len(ALL) + 1)]
        process.send_signal(signal.SIGINT)
        assert process.wait() == Exit.INTERRUPTED
    assert [one["name"] for one in seen] == [*ALL, ALL[0]]


def test_a_rebuild_is_equal_to_what_grew_event_by_event(appizer, imported):
    imported(3000)
    answer = appizer("projections", "rebuild", *IN_POSTGRES, "--verify", "--json")
    assert answer.code == Exit.OK
    assert {one["name"]: one["equal"] for one in lines(answer)} == dict.fromkeys(IN_POSTGRES, True)


def test_a_row_that_was_touched_is_found_and_a_rebuild_mends_it(appizer, imported, change):
    imported(100)
    assert change("UPDATE people.distinct_ids SET messages = 99 WHERE distinct_id = 'u7'") == 1
    answer = appizer("projections", "rebuild", "people", "--verify")
    assert answer.code == Exit.FAILED
    assert "DIFFERENT: people" in answer.out
    assert "distinct_ids, app 1" in answer.out
    assert "traits" not in answer.out
    assert appizer("projections", "rebuild", "people").code == Exit.OK
    assert appizer("projections", "rebuild", "people", "--verify").code == Exit.OK


@pytest.mark.parametrize("mode", [(), ("--verify",)])
def test_a_rebuild_that_was_killed_goes_on_where_it_was(
    appizer, imported, database_url, query, mode
):
    imported(30_000)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "api.cli.main", "projections", "rebuild", "people", *mode],
        env={**os.environ, "PYTHONPATH": str(ROOT), "APPIZER_DATABASE_URL": database_url},
    )
    built = "SELECT position FROM projections.checkpoints WHERE name = 'people_rebuild'"
    try:
        while not (found := query(built)) or not found[0][0]:
            assert process.poll() is None, "it was done before it could be killed"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert query(built)[0][0] > 0
    assert appizer("projections", "rebuild", "people", *mode).code == Exit.OK
    assert appizer("projections", "rebuild", "people", "--verify").code == Exit.OK
    assert query(built) == []


@pytest.mark.parametrize("arguments", [(), ("--all", "people"), ("cities",)])
def test_which_read_models_must_be_said(appizer, arguments):
    assert appizer("projections", "rebuild", *arguments).code == Exit.USAGE
