"""Rows that were not taken: each is told and kept, and the last line on stderr says why."""

import json
import subprocess
from uuid import UUID

import pytest

from api.cli.exits import Exit
from commands.erasures import Wanted
from commands.import_places import Places
from infrastructure.database import open_engine
from infrastructure.erasures import ErasureRegister

HEAD = "message_id,event,user,time\n"


def summary(answer):
    return json.loads(answer.out.splitlines()[-1])


def problem(answer):
    return json.loads(answer.err.splitlines()[-1])


@pytest.fixture
def imported(appizer, tmp_path):
    """Writes a file, imports it, and tells what the command line answered."""

    def run(rows, *options, head=HEAD, kind="csv"):
        file = tmp_path / f"rows.{kind}"
        file.write_text(head + rows)
        return appizer("import", kind, file, "--no-wait", *options)

    return run


def test_a_conflict_is_told_and_kept_like_a_rejected_row(
    imported, tmp_path, appizer, project, query
):
    imported("m1,a,u,2026-01-01\n")
    rejects = tmp_path / "rejects.jsonl"
    answer = imported("m0,a,u,2026-01-01\nm1,b,u,2026-01-01\n", "--rejects", rejects)
    (position,) = query("SELECT min(notification_id) FROM log.events WHERE topic = 'tracked.v1'")[0]
    issue = f"m1 belongs to another event, position {position}"
    assert f"row 2: message_id {issue}" in answer.err
    (kept,) = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert (kept["row"], kept["field"], kept["issue"]) == (2, "message_id", issue)
    assert kept["cells"]["event"] == "b"
    assert "imported before with another --map or --set" in answer.err
    project()
    (failed,) = [json.loads(line) for line in appizer("failed", "list", "--json").out.splitlines()]
    assert (failed["kind"], failed["field"]) == ("row", "message_id")
    assert failed["issue"] == issue


def test_a_conflict_is_kept_once_however_often_it_is_imported(imported, query):
    for _ in range(3):
        imported("m1,a,u,2026-01-01\nm1,b,u,2026-01-01\n")
    assert query("SELECT count(*) FROM log.events WHERE topic = 'refused.v1'") == [(1,)]


@pytest.mark.parametrize("batch", [1, 2, 1000])
def test_rows_of_one_file_with_one_message_id_name_each_other(imported, batch):
    rows = "m0,a,u,2026-01-01\nm1,a,u,2026-01-01\nm1,a,u,2026-01-01\nm1,b,u,2026-01-01\n"
    for _ in range(2):
        answer = imported(rows, "--batch", batch, "--json")
        assert "row 4: message_id m1 belongs to row 2 of this file" in answer.err
        assert "imported before" not in answer.err
        found = summary(answer)
        assert (found["conflicts"], found["repeated"], found["rejected"]) == (1, 1, 0)


def test_equal_rows_with_one_message_id_are_duplicates(imported):
    answer = imported("m1,a,u,2026-01-01\nm1,a,u,2026-01-01\n", "--json")
    assert (answer.code, summary(answer)["duplicates"]) == (Exit.OK, 1)


def test_the_last_line_says_why_it_failed(imported):
    rows = "m0,a,u,2026-01-01\nm0,b,u,2026-01-01\nm2,,u,2026-01-01\n"
    answer = imported(rows)
    assert answer.code == Exit.FAILED
    last = answer.err.splitlines()[-1]
    assert last.startswith("error: 1 row rejected, 1 row with the message id of another row")
    assert "appizer failed list" in last


def test_the_last_line_is_the_errors_json_when_that_is_asked_for(imported):
    answer = imported("m0,a,u,2026-01-01\nm2,,u,2026-01-01\nm3,,u,2026-01-01\n", "--json")
    assert summary(answer)["accepted"] == 1
    error = problem(answer)
    assert error.keys() == {"error", "message", "code", "details"}
    assert error["message"].startswith("2 rows rejected;")
    assert (error["code"], error["details"]["rejected"]) == ("ROWS_REJECTED", 2)


def test_a_repository_without_commits_is_told_in_one_line(appizer, tmp_path):
    subprocess.run(["git", "init", str(tmp_path)], check=True, capture_output=True)
    answer = appizer("import", "git", tmp_path, "--no-wait")
    assert answer.code == Exit.FAILED
    assert answer.err == f"error: {tmp_path} has no commits yet\n"


@pytest.mark.parametrize(
    ("head", "row", "kind"),
    [
        ("event,user,time\n", "a,u,2026\n", "csv"),
        ("", '{"event":"a","user":"u","time":2026}\n', "jsonl"),
        ("", '{"event":"a","user":"u","time":"2026"}\n', "jsonl"),
    ],
)
def test_a_year_is_refused_with_how_it_was_read(imported, head, row, kind):
    answer = imported(row, head=head, kind=kind)
    assert answer.code == Exit.FAILED
    assert "row 1: timestamp 2026 is read as epoch seconds and lies before 2000" in answer.err
    assert "2026-01-31" in answer.err


def test_a_quote_in_a_cell_without_quotes_is_a_character_and_the_help_says_so(
    imported, appizer, stored
):
    imported('a,u,2026-01-01,last"\n', head="event,user,time,note\n")
    assert stored()[0]["properties"] == {"note": 'last"'}
    told = " ".join(appizer("import", "csv", "--help").out.split())
    assert "Elsewhere a quote is a character" in told
    assert "do not pair" not in told


def test_places_name_the_first_row_of_a_position():
    places = Places()
    for row, position in [(1, 10), (2, 11), (3, 10), (4, 12), (5, 3), (6, 4), (7, 12), (8, 13)]:
        places.add(row, position)
    assert [places.row_at(p) for p in (2, 3, 4, 5, 9, 10, 11, 12, 13, 14)] == [
        None, 5, 6, None, None, 1, 2, 4, 8, None,
    ]  # fmt: skip


def test_rows_of_somebody_who_was_erased_are_told_and_not_kept(
    imported, database_url, app_id, query
):
    imported("m1,a,ada,2026-01-01\nm2,a,bob,2026-01-01\n")
    engine = open_engine(database_url)
    with engine.begin() as connection:
        wanted = Wanted(UUID(app_id), "ada", None, UUID(int=1), UUID(int=2))
        ErasureRegister(connection).add(wanted, ["ada"])
    engine.dispose()
    answer = imported("m3,a,bob,2026-01-02\nm4,a,ada,2026-01-02\nm5,,ada,2026-01-02\n")
    assert "row 2: user_id was erased" in answer.err
    assert answer.code == Exit.FAILED
    assert query("SELECT count(*) FROM log.events WHERE topic = 'tracked.v1'") == [(3,)]
    assert query("SELECT count(*) FROM log.events WHERE topic = 'refused.v1'") == [(0,)]
