"""What failed is listed with its reason, and replayed once when its reason is gone."""

import asyncio
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from api.cli import failed
from api.cli.exits import Exit
from api.dialects import native
from commands.ingest import take
from domain.tracking import Refused
from infrastructure.event_store.group_commit import GroupCommit


def lines(answer):
    return [json.loads(line) for line in answer.out.splitlines()]


@pytest.fixture
def refuse(database_url, app_id, project):
    """Puts a refusal on the log, as a version with other rules would have."""

    def refused(**fields):
        body = json.dumps({"event_name": "buy", "timestamp": "2026-01-01T00:00:00Z", **fields})
        refusal = Refused(
            body=body.encode(),
            field="event_name",
            issue="was forbidden then",
            received_at=datetime(2026, 1, 2, tzinfo=UTC),
            dialect=native.NAME,
        )
        asyncio.run(_append(database_url, UUID(app_id), refusal))
        project()

    return refused


async def _append(database_url, app_id, refusal):
    log = GroupCommit(database_url, queue_events=100, commit_events=100)
    log.start()
    await take(log, app_id, [refusal])
    await log.close()


def test_nothing_failed_is_said_and_is_no_error(appizer):
    answer = appizer("failed", "list")
    assert (answer.code, answer.out, answer.err) == (Exit.OK, "", "nothing failed\n")


def test_a_refusal_is_listed_with_field_issue_and_a_harmless_preview(appizer, refuse, app_id):
    refuse(user_id="u", properties={"note": "\x1b[31mred\u202e" + "x" * 100})
    (listed,) = lines(appizer("failed", "list", "--app", app_id, "--json"))
    assert (listed["kind"], listed["app"]) == ("refused", app_id)
    assert (listed["field"], listed["issue"]) == ("event_name", "was forbidden then")
    assert len(listed["body"]) == 60
    (full,) = lines(appizer("failed", "list", "--full", "--json"))
    assert full["body"].endswith('xxx"}}')
    table = appizer("failed", "list", "--full").out
    assert "\x1b" not in table
    assert "\u202e" not in table


def test_other_apps_failures_are_not_listed(appizer, refuse):
    refuse(user_id="u")
    other = "00000000-0000-4000-8000-000000000000"
    assert lines(appizer("failed", "list", "--app", other, "--json")) == []


def test_what_the_rules_take_today_is_taken_once_with_its_own_time(
    appizer, refuse, stored, project, query
):
    refuse(user_id="u")
    (listed,) = lines(appizer("failed", "list", "--json"))
    first = appizer("failed", "replay", listed["id"], "--json")
    second = appizer("failed", "replay", listed["id"], "--json")  # not yet projected
    assert (first.code, second.code) == (Exit.OK, Exit.OK)
    assert [(event["event"], event["timestamp"]) for event in stored()] == [
        ("buy", "2026-01-01T00:00:00Z")
    ]
    assert query("SELECT count(*) FROM log.events WHERE topic = 'refusal.replayed.v1'") == [(1,)]
    project()
    assert lines(appizer("failed", "list", "--json")) == []
    assert appizer("failed", "replay", listed["id"]).code == Exit.FAILED


def test_what_still_breaks_a_rule_stays_and_the_exit_code_says_so(appizer, refuse, stored):
    refuse(user_id="u")
    refuse(user_id=None)
    answer = appizer("failed", "replay", "--all")
    assert (answer.code, answer.out) == (Exit.FAILED, "1 taken, 1 still fail\n")
    assert "user_id" in answer.err
    assert len(stored()) == 1


def test_an_event_that_a_read_model_could_not_take_is_applied_when_the_reason_is_gone(
    appizer, change, tmp_path, project, query
):
    change("ALTER TABLE people.distinct_ids ADD CONSTRAINT odd CHECK (distinct_id <> 'u2')")
    file = tmp_path / "rows.csv"
    file.write_text("event,user,time\n" + "".join(f"e,u{n},2026-01-01\n" for n in range(4)))
    appizer("import", "csv", file, "--no-wait")
    project()
    (listed,) = lines(appizer("failed", "list", "--json"))
    assert (listed["kind"], listed["field"]) == ("parked", "people")
    assert "odd" in listed["issue"]

    still = appizer("failed", "replay", listed["id"])
    assert (still.code, still.out) == (Exit.FAILED, "0 taken, 1 still fail\n")
    assert query("SELECT count(*) FROM projections.parked") == [(1,)]

    change("ALTER TABLE people.distinct_ids DROP CONSTRAINT odd")
    taken = appizer("failed", "replay", "--all")
    assert (taken.code, taken.out) == (Exit.OK, "1 taken, 0 still fail\n")
    assert query("SELECT count(*) FROM projections.parked") == [(0,)]
    ids = query("SELECT distinct_id, messages FROM people.distinct_ids ORDER BY 1")
    assert ids == [("u0", 1), ("u1", 1), ("u2", 1), ("u3", 1)]
    assert appizer("failed", "replay", listed["id"]).code == Exit.FAILED


@pytest.mark.parametrize("arguments", [(), ("--all", "x"), ("people:1", "--app", "mine")])
def test_what_to_replay_must_be_said(appizer, arguments):
    assert appizer("failed", "replay", *arguments).code == Exit.USAGE


# --- rows of files, and many ---------------------------------------------------------------

FILE = "event,user_id,timestamp\nbuy,u,2026-01-01T00:00:00Z,more\nbuy,u,2026-01-02T00:00:00Z\n"


@pytest.fixture
def rows_rejected(appizer, tmp_path, project):
    """A row with a cell too many, which is on the list; and a good one."""
    file = tmp_path / "rows.csv"
    file.write_text(FILE)
    appizer("import", "csv", file, "--no-wait")
    project()


def test_a_row_that_could_not_be_read_is_not_replayed_into_something_else(
    appizer, rows_rejected, stored
):
    (listed,) = lines(appizer("failed", "list", "--json"))
    assert (listed["kind"], listed["issue"]) == ("row", "has 4 cells, the header has 3")
    answer = appizer("failed", "replay", listed["id"])
    assert (answer.code, answer.out) == (Exit.FAILED, "0 taken, 1 still fail\n")
    assert "mend the file and import it again" in answer.err
    assert len(stored()) == 1


def test_rows_that_can_not_be_replayed_are_told_and_do_not_count_as_failing(
    appizer, rows_rejected, refuse
):
    refuse(user_id="u")
    answer = appizer("failed", "replay", "--all")
    assert (answer.code, answer.out) == (Exit.OK, "1 taken, 0 still fail\n")
    assert "1 is a row of a file and can't be replayed" in answer.err


def test_all_are_replayed_a_page_at_a_time(appizer, refuse, stored, monkeypatch):
    monkeypatch.setattr(failed, "_PAGE", 2)
    for number in range(5):
        refuse(user_id=f"u{number}")
    answer = appizer("failed", "replay", "--all")
    assert (answer.code, answer.out) == (Exit.OK, "5 taken, 0 still fail\n")
    assert len(stored()) == 5


def test_parked_events_are_replayed_a_page_at_a_time_and_what_still_fails_once(
    appizer, change, tmp_path, project, monkeypatch
):
    monkeypatch.setattr(failed, "_PAGE", 2)
    change("ALTER TABLE people.distinct_ids ADD CONSTRAINT odd CHECK (distinct_id = 'good')")
    file = tmp_path / "rows.csv"
    file.write_text("event,user,time\n" + "".join(f"e,u{n},2026-01-01\n" for n in range(5)))
    appizer("import", "csv", file, "--no-wait")
    project()
    answer = appizer("failed", "replay", "--all")
    assert (answer.code, answer.out) == (Exit.FAILED, "0 taken, 5 still fail\n")


@pytest.mark.parametrize("name", ["people:99", "people:x", "nobody:1", "word"])
def test_what_did_not_fail_is_told_by_name(appizer, name):
    answer = appizer("failed", "replay", name)
    assert answer.code == Exit.FAILED
    assert f"not among what failed: {name}" in answer.err
