"""Files to the log: exactly once, whatever happens in between; what is refused is kept."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from api.cli.exits import Exit
from infrastructure.embedded.instance import Instance, write_secret

ROOT = Path(__file__).parents[2]
SMALL = """event,user,time,plan,price,vip,note
signup,ada,2026-01-01T10:00:00Z,free,0,false,
buy,ada,2026-01-02T10:00:00Z,pro,19.5,true,"two
lines"
buy,bob,2026-01-02T10:00:00Z,pro,19.5,false,007
buy,bob,2026-01-02T10:00:00Z,pro,19.5,false,007
"""


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.csv"
    file.write_text(SMALL)
    return file


def summary(answer):
    return json.loads(answer.out.splitlines()[-1])


def test_each_row_becomes_an_event_with_its_other_columns_as_properties(appizer, small, stored):
    answer = appizer("import", "csv", small, "--no-wait")
    assert answer.code == Exit.OK
    assert [event["event"] for event in stored()] == ["signup", "buy", "buy", "buy"]
    second = stored()[1]
    assert second["user_id"] == "ada"
    assert second["timestamp"] == "2026-01-02T10:00:00Z"
    assert second["source"] == "import"
    assert second["properties"] == {"plan": "pro", "price": 19.5, "vip": True, "note": "two\nlines"}


def test_empty_cells_are_left_out(appizer, small, stored):
    appizer("import", "csv", small, "--no-wait")
    assert "note" not in stored()[0]["properties"]


def test_text_stays_text_when_that_is_asked_for(appizer, small, stored):
    appizer("import", "csv", small, "--types", "text", "--no-wait")
    assert stored()[1]["properties"]["price"] == "19.5"


def test_importing_again_adds_nothing(appizer, small, stored):
    appizer("import", "csv", small, "--no-wait")
    again = summary(appizer("import", "csv", small, "--no-wait", "--json"))
    assert (again["accepted"], again["duplicates"], len(stored())) == (0, 4, 4)


def test_a_longer_version_adds_only_what_is_new(appizer, small, stored):
    appizer("import", "csv", small, "--no-wait")
    head, rest = SMALL.split("\n", 1)
    small.write_text(f"{head}\nearly,eve,2025-12-01,,,,\n{rest}late,eve,2026-02-01,,,,\n")
    again = summary(appizer("import", "csv", small, "--no-wait", "--json"))
    assert (again["accepted"], again["duplicates"], len(stored())) == (2, 4, 6)


def test_a_dry_run_shows_the_first_events_and_imports_nothing(appizer, small, stored):
    answer = appizer("import", "csv", small, "--dry-run")
    shown = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["event"]["event_name"] for line in shown] == ["signup", "buy", "buy", "buy"]
    assert "user_id = user" in answer.err
    assert stored() == []


def test_a_limit_ends_the_import_early(appizer, small, stored):
    appizer("import", "csv", small, "--limit", 2, "--no-wait")
    assert len(stored()) == 2


def test_columns_can_be_mapped_and_constants_set(appizer, tmp_path, stored):
    file = tmp_path / "visits.csv"
    file.write_text("who;at;page\nada;01767225600;home\n".replace("01767225600", "1767225600000"))
    answer = appizer(
        "import", "csv", file, "--map", "user_id=who", "--map", "timestamp=at",
        "--set", "event=visit", "--set", "site=shop", "--no-wait",
    )  # fmt: skip
    assert answer.code == Exit.OK
    (event,) = stored()
    assert (event["event"], event["timestamp"]) == ("visit", "2026-01-01T00:00:00Z")
    assert event["properties"] == {"site": "shop", "page": "home"}


def test_a_message_id_of_the_file_is_kept_and_another_content_under_it_is_a_conflict(
    appizer, tmp_path, stored
):
    file = tmp_path / "ids.csv"
    file.write_text("message_id,event,user,time\nm1,a,u,2026-01-01\n")
    appizer("import", "csv", file, "--no-wait")
    file.write_text("message_id,event,user,time\nm1,b,u,2026-01-01\n")
    answer = appizer("import", "csv", file, "--no-wait", "--json")
    assert (answer.code, summary(answer)["conflicts"]) == (Exit.FAILED, 1)
    assert [(event["message_id"], event["event"]) for event in stored()] == [("m1", "a")]


def test_gzip_is_recognised_whatever_the_name(appizer, tmp_path, stored):
    file = tmp_path / "no-such-ending"
    file.write_bytes(gzip.compress(SMALL.encode()))
    assert appizer("import", "csv", file, "--no-wait").code == Exit.OK
    assert len(stored()) == 4


def test_a_cut_off_gzip_is_an_error_and_importing_the_whole_one_completes_it(
    appizer, tmp_path, stored
):
    rows = [f"e,u{n},2026-01-01,{n * 7919 % 10007}\n" for n in range(5000)]
    whole = gzip.compress(("event,user,time,n\n" + "".join(rows)).encode())
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(whole[: len(whole) // 2])
    answer = appizer("import", "csv", file, "--no-wait")
    assert answer.code == Exit.FAILED
    assert "cut off" in answer.err
    file.write_bytes(whole)
    assert appizer("import", "csv", file, "--no-wait").code == Exit.OK
    assert len(stored()) == 5000


def test_standard_input_can_be_imported(appizer, stored, monkeypatch):
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(SMALL.encode())))
    )
    assert appizer("import", "csv", "-", "--no-wait").code == Exit.OK
    assert len(stored()) == 4


def test_json_lines_of_the_apis_own_shape_are_taken_as_they_are(appizer, tmp_path, stored):
    file = tmp_path / "events.jsonl"
    lines = [
        {
            "event_name": "buy",
            "user_id": "42",
            "timestamp": 1767225600,
            "message_id": "m-1",
            "properties": {"items": [{"sku": "a", "n": 2}], "zip": "01234"},
            "context": {"ip": "203.0.113.9"},
        },
        {"event_name": "open", "anonymous_id": "a-1", "timestamp": "2026-01-01", "depth": 3},
    ]
    file.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert appizer("import", "jsonl", file, "--no-wait").code == Exit.OK
    buy, opened = stored()
    assert (buy["user_id"], buy["message_id"], buy["timestamp"]) == (
        "42", "m-1", "2026-01-01T00:00:00Z",
    )  # fmt: skip
    assert buy["properties"] == lines[0]["properties"]
    assert buy["client"]["ip"] == "203.0.113.9"
    assert (opened["anonymous_id"], opened["properties"]) == ("a-1", {"depth": 3})


def test_members_of_members_can_be_mapped(appizer, tmp_path, stored):
    file = tmp_path / "nested.jsonl"
    file.write_text('{"type":"open","user":{"id":"u1"},"at":"2026-01-01"}\n')
    appizer(
        "import", "jsonl", file, "--map", "event=type", "--map", "user_id=user.id",
        "--map", "timestamp=at", "--no-wait",
    )  # fmt: skip
    (event,) = stored()
    assert (event["event"], event["user_id"]) == ("open", "u1")


# --- what is refused -----------------------------------------------------------------------

BAD = b"""event,user,time,n
ok,u1,2026-01-01,1
nobody,,2026-01-01,2
when,u1,yesterday,3
short,u1
,u1,2026-01-01,4
latin,u\xe9,2026-01-01,5
ok,u2,2026-01-01,6
"""


@pytest.fixture
def bad(tmp_path):
    file = tmp_path / "bad.csv"
    file.write_bytes(BAD)
    return file


def test_rows_that_break_a_rule_are_told_with_number_field_and_mend(appizer, bad, tmp_path):
    rejects = tmp_path / "rejects.jsonl"
    answer = appizer("import", "csv", bad, "--rejects", rejects, "--no-wait", "--json")
    assert answer.code == Exit.FAILED
    assert (summary(answer)["accepted"], summary(answer)["rejected"]) == (2, 5)
    told = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(line["row"], line["field"]) for line in told] == [
        (2, "user_id"), (3, "timestamp"), (4, "row"), (5, "event_name"), (6, "row"),
    ]  # fmt: skip
    assert "row 3: timestamp must be a time" in answer.err
    assert "--encoding" in told[4]["issue"]


def test_rejected_rows_are_kept_once_however_often_they_are_imported(appizer, bad, query):
    for _ in range(2):
        appizer("import", "csv", bad, "--no-wait")
    assert query("SELECT topic, count(*) FROM log.events WHERE topic ~ 'tracked|refused' GROUP BY 1"
                 " ORDER BY 1") == [("refused.v1", 5), ("tracked.v1", 2)]  # fmt: skip


def test_the_right_encoding_mends_what_is_not_utf_8(appizer, bad, stored):
    appizer("import", "csv", bad, "--encoding", "latin-1", "--no-wait")
    assert "ué" in [event["user_id"] for event in stored()]


def test_a_row_that_is_too_large_sinks_no_other(appizer, tmp_path, stored):
    file = tmp_path / "large.csv"
    file.write_text(f"event,user,time,n\nbig,u,2026-01-01,{'x' * 40_000}\nok,u,2026-01-01,1\n")
    answer = appizer("import", "csv", file, "--no-wait", "--json")
    assert (summary(answer)["accepted"], summary(answer)["rejected"]) == (1, 1)
    assert [event["event"] for event in stored()] == ["ok"]


def test_lines_that_are_no_json_objects_are_rejected_one_by_one(appizer, tmp_path, stored):
    file = tmp_path / "lines.jsonl"
    good = '{"event":"ok","user":"u","time":"2026-01-01"}\n'
    file.write_text(good + "[1]\n{\n" + good.replace("ok", "too"))
    answer = appizer("import", "jsonl", file, "--no-wait", "--json")
    assert (answer.code, summary(answer)["rejected"]) == (Exit.FAILED, 2)
    assert [event["event"] for event in stored()] == ["ok", "too"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("a,a\n1,2\n", "same name"),
        ("user,time\nu,2026-01-01\n", "--map event=COLUMN"),
    ],
)
def test_a_file_that_can_not_be_imported_is_refused_as_a_whole(appizer, tmp_path, text, said):
    file = tmp_path / "wrong.csv"
    file.write_text(text)
    answer = appizer("import", "csv", file, "--no-wait")
    assert answer.code in (Exit.FAILED, Exit.USAGE)
    assert said in answer.err
    assert "Traceback" not in answer.err


def test_an_app_that_does_not_exist_takes_nothing(appizer, small, query):
    other = "00000000-0000-4000-8000-000000000000"
    answer = appizer("import", "csv", small, "--app", other, "--no-wait")
    assert answer.code == Exit.FAILED
    assert query(f"SELECT FROM log.events WHERE app_id = '{other}'") == []


# --- interruptions -------------------------------------------------------------------------

ROWS = 40_000


@pytest.fixture
def large(tmp_path):
    """Every third row is equal to one before it."""
    file = tmp_path / "large.csv"
    with file.open("w") as out:
        out.write("event,user,time,n\n")
        out.writelines(f"e,u{n % 50},2026-01-01,{n if n % 3 else 0}\n" for n in range(ROWS))
    return file


@pytest.fixture
def killed_in_the_middle(database_url):
    """Starts the import, waits until `enough()`, and kills it with -9."""

    def start_and_kill(file, enough, *options, **environment):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "api.cli.main", "import", "csv", str(file),
             "--batch", "20", "--no-wait", *options],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while not enough():
                assert process.poll() is None, "it was done before it could be killed"
                time.sleep(0.005)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()

    return start_and_kill


def _count(database_url):
    with psycopg.connect(database_url) as connection:
        query = "SELECT count(*) FROM log.events WHERE topic = 'tracked.v1'"
        return connection.execute(query).fetchone()[0]


def test_after_a_kill_the_same_command_completes_it_exactly(
    appizer, large, database_url, killed_in_the_middle
):
    killed_in_the_middle(large, lambda: _count(database_url) > 500)
    before = _count(database_url)
    assert before < ROWS
    again = summary(appizer("import", "csv", large, "--no-wait", "--json"))
    assert (again["accepted"], again["duplicates"]) == (ROWS - before, before)
    assert _count(database_url) == ROWS


def test_an_instance_remembers_how_far_a_killed_import_was(
    appizer, large, database_url, tmp_path, killed_in_the_middle, monkeypatch
):
    instance = Instance(tmp_path / "instance")
    monkeypatch.delenv("APPIZER_DATABASE_URL")
    with instance.held():
        settings = {
            "APPIZER_DATA": str(instance.directory),
            "APPIZER_DATABASE_URL": database_url,
        }
        write_secret(instance.file, settings)
        milestones = instance.directory / "imports"
        data = ("--data", str(instance.directory))
        # .new: it is being written, and not there yet
        marked = lambda: any(file.suffix != ".new" for file in milestones.glob("*"))  # noqa: E731
        killed_in_the_middle(large, marked, *data)
        again = summary(appizer("import", "csv", large, "--no-wait", "--json", *data))
    assert again["skipped"] > 0
    assert again["skipped"] + again["accepted"] + again["duplicates"] == ROWS
    assert _count(database_url) == ROWS
    assert list(milestones.iterdir()) == []


def test_ctrl_c_says_what_is_stored_and_that_the_same_command_continues(
    appizer, large, database_url
):
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "api.cli.main", "import", "csv", str(large),
         "--batch", "20", "--no-wait"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while _count(database_url) < 500:
        assert process.poll() is None, "it was done before it could be interrupted"
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    (line,) = [line for line in told.splitlines() if line.startswith("interrupted after ")]
    assert "continues and stores nothing twice" in line
    rows = int(line.split()[2].replace(",", ""))
    assert 0 < rows <= _count(database_url) < ROWS
    again = summary(appizer("import", "csv", large, "--no-wait", "--json"))
    assert again["accepted"] + again["duplicates"] == ROWS
    assert _count(database_url) == ROWS
