"""`appizer import users`: rows of CSV and JSON lines as upserts of people."""

import gzip
import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from api.cli.exits import Exit

CUSTOMERS = """user_id,email,phone,plan,seats,vip,zip
ada,ada@example.com,+49 30 901820,pro,3,true,01234
bob,bob@example.com,,free,,false,99999
ada,,,team,4,true,01234
"""


@pytest.fixture
def identified(query):
    """The messages about people, in the order of the log."""

    def read() -> list[dict]:
        rows = query(
            "SELECT convert_from(substr(state, 2), 'UTF8')::json FROM log.events"
            " WHERE topic = 'identified.v1' ORDER BY notification_id"
        )
        return [row[0] for row in rows]

    return read


@pytest.fixture
def file(tmp_path):
    def written(content: str | bytes, name: str = "customers.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.fixture
def imported(appizer, file):
    """Imports, and returns the answer and its summary."""

    def run(content, *options, name="customers.csv"):
        answer = appizer("import", "users", file(content, name), "--no-wait", "--json", *options)
        return answer, json.loads(answer.out.splitlines()[-1])

    return run


def when(message) -> datetime:
    return datetime.fromisoformat(message["timestamp"])


def test_each_row_is_an_upsert_with_its_other_columns_as_traits(imported, identified):
    answer, told = imported(CUSTOMERS)
    assert (answer.code, told["accepted"]) == (Exit.OK, 3)
    ada, bob, later = identified()
    assert (ada["user_id"], ada["source"]) == ("ada", "import")
    assert ada["traits"] == {
        "email": "ada@example.com",
        "phone": "+49 30 901820",
        "plan": "pro",
        "seats": 3,
        "vip": True,
        "zip": "01234",
    }
    assert bob["traits"] == {
        "email": "bob@example.com",
        "plan": "free",
        "vip": False,
        "zip": "99999",
    }
    assert later["user_id"] == "ada"


def test_rows_without_a_time_count_in_the_order_of_the_file(imported, identified):
    rows = "".join(f"u,{n}\n" for n in range(50))
    imported("user_id,n\n" + rows, "--batch", "7")
    times = [when(message) for message in identified()]
    assert times == sorted(set(times))
    assert times[0] > datetime.now(UTC) - timedelta(minutes=2)
    assert "original_timestamp" not in identified()[0]


def test_a_row_may_say_from_when_on_it_counts(imported, identified):
    imported(
        "user_id,timestamp,created_at,plan\nada,2026-01-31,2020-01-01,pro\nbob,,2021-01-01,free\n",
        "--timezone",
        "Europe/Berlin",
    )
    ada, bob = identified()
    assert ada["timestamp"] == "2026-01-30T23:00:00Z"
    assert ada["traits"] == {"created_at": "2020-01-01", "plan": "pro"}
    assert when(bob) > datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", ["userId", "User ID", "customer_id", "id", "distinct_id"])
def test_usual_names_of_the_id_are_found(imported, identified, name):
    imported(f"{name},plan\n7,pro\n")
    (message,) = identified()
    assert (message["user_id"], message["traits"]) == ("7", {"plan": "pro"})


def test_a_user_id_goes_before_a_mere_id(imported, identified):
    imported("id,user_id\n7,ada\n")
    (message,) = identified()
    assert (message["user_id"], message["traits"]) == ("ada", {"id": 7})


def test_another_column_can_be_the_id(imported, identified):
    imported("number,user_id\n007,ada\n", "--id-column", "number")
    (message,) = identified()
    assert (message["user_id"], message["traits"]) == ("007", {"user_id": "ada"})


def test_a_file_without_an_id_is_refused_with_the_option_that_mends_it(appizer, file, identified):
    answer = appizer("import", "users", file("name,plan\nAda,pro\n"))
    assert (answer.code, identified()) == (Exit.USAGE, [])
    assert "--id-column COLUMN" in answer.err
    answer = appizer("import", "users", file("name,plan\nAda,pro\n"), "--id-column", "nr")
    assert (answer.code, "no column nr" in answer.err) == (Exit.USAGE, True)


@pytest.mark.parametrize("field", ["user_id", "email", "phone", "anonymous_id", "message_id"])
def test_no_two_people_have_one_of_these(appizer, file, field):
    answer = appizer("import", "users", file("user_id\nada\n"), "--set", f"{field}=x")
    assert answer.code == Exit.USAGE
    assert f"--map {field}=COLUMN" in answer.err


def test_a_trait_can_be_set_for_all(imported, identified):
    imported("user_id\nada\n", "--set", "cohort=2026", "--set", "from=crm")
    assert identified()[0]["traits"] == {"cohort": 2026, "from": "crm"}


def test_an_anonymous_id_is_kept_beside_the_id(imported, identified):
    imported("user_id,anonymous_id\nada,a-1\n")
    (message,) = identified()
    assert (message["user_id"], message["anonymous_id"], "traits" in message) == (
        *("ada", "a-1"),
        False,
    )


# --- JSON lines ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["people.jsonl", "people.csv", "people"])
def test_json_lines_are_known_by_their_first_byte(imported, identified, name):
    imported('\n {"user_id": "ada", "plan": "pro", "n": [1]}\n{"user_id": "bob"}\n', name=name)
    ada, bob = identified()
    assert ada["traits"] == {"plan": "pro", "n": [1]}
    assert bob["user_id"] == "bob"


def test_json_lines_may_have_what_the_api_has(imported, identified):
    line = {
        "user_id": "ada",
        "email": "ada@example.com",
        "traits": {"plan": "pro"},
        "properties": {"age": 36},
        "team": "blue",
        "origin": {"channel": "ads"},
        "set_once": {"first_plan": "free"},
        "increment": {"visits": 2},
        "append": {"seen": "docs"},
        "union": {"tags": ["a"]},
        "unset": ["old"],
    }
    imported(json.dumps(line))
    (ada,) = identified()
    assert ada["traits"] == {
        "plan": "pro",
        "age": 36,
        "team": "blue",
        "email": "ada@example.com",
        "origin": {"channel": "ads"},
    }
    kinds = ("set_once", "increment", "append", "union", "unset")
    assert ada["operations"] == {kind: line[kind] for kind in kinds}


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"user_id": 42}, "user_id"),
        ({"user_id": "null"}, "user_id"),
        ({"user_id": "ada", "email": "ada"}, "email"),
        ({"user_id": "ada", "increment": {"visits": "1"}}, "increment.visits"),
        ({"user_id": "ada", "plan": 1, "traits": {"plan": 1}}, "plan"),
        ({"user_id": "ada", "traits": {"plan": 1}, "properties": {"plan": 1}}, "plan"),
        ({"user_id": "ada", "unset": "plan"}, "unset"),
        ({"user_id": "ada", "append": [1]}, "append"),
        ({"user_id": "ada", "increment": 3}, "increment"),
        ({"user_id": "ada", "origin": "ads"}, "origin"),
        ({"user_id": "ada", "traits": "x"}, "traits"),
    ],
)
def test_a_line_that_breaks_a_rule_is_rejected_alone(imported, identified, tmp_path, line, field):
    rejects = tmp_path / "rejects"
    good = '{"user_id": "bob"}\n'
    answer, told = imported(good + json.dumps(line) + "\n" + good, "--rejects", rejects)
    assert (answer.code, told["accepted"], told["rejected"]) == (Exit.FAILED, 2, 1)
    (refused,) = [json.loads(one) for one in rejects.read_text().splitlines()]
    assert (refused["row"], refused["field"]) == (2, field)
    assert [message["user_id"] for message in identified()] == ["bob", "bob"]


# --- what import does for all --------------------------------------------------------------


def test_a_row_that_is_rejected_is_kept_in_the_dialect_by_which_it_can_be_replayed(
    imported, appizer, project
):
    answer, told = imported("user_id,phone\nada,030 901820\nbob,+4930901820\n")
    assert (answer.code, told["accepted"], told["rejected"]) == (Exit.FAILED, 1, 1)
    assert "row 1: phone is no phone number" in answer.err
    project()
    (kept,) = [json.loads(one) for one in appizer("failed", "list", "--json").out.splitlines()]
    assert (kept["kind"], kept["field"]) == ("refused", "phone")
    again = appizer("failed", "replay", kept["id"])
    assert (again.code, "country code" in again.err + again.out) == (Exit.FAILED, True)


def test_importing_again_adds_nothing_and_a_longer_version_what_is_new(imported, identified):
    imported(CUSTOMERS)
    _, again = imported(CUSTOMERS)
    assert (again["accepted"], again["duplicates"]) == (0, 3)
    _, longer = imported(CUSTOMERS + "eve,eve@example.com,,free,1,false,1\n")
    assert (longer["accepted"], longer["duplicates"], len(identified())) == (1, 3, 4)


def test_one_file_can_hold_events_and_people(imported, appizer, file, stored, identified):
    """The same row is one thing as an event and another as a person."""
    content = "user_id,timestamp,event\nada,2026-01-01,signup\n"
    _, as_people = imported(content)
    answer = appizer("import", "csv", file(content), "--no-wait")
    assert (answer.code, as_people["accepted"]) == (Exit.OK, 1)
    assert len(stored()) == len(identified()) == 1


def test_a_dry_run_shows_the_first_users_and_imports_nothing(appizer, file, identified):
    answer = appizer("import", "users", file(CUSTOMERS + "null,,,,,,\n"), "--dry-run")
    shown = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["user"]["user_id"] for line in shown[:3]] == ["ada", "bob", "ada"]
    assert shown[3]["field"] == "user_id"
    assert "email = email" in answer.err
    assert identified() == []


@pytest.mark.parametrize("content", [CUSTOMERS, '{"user_id": "ada"}\n{"user_id": "bob"}\n'])
def test_files_may_be_compressed_and_come_through_a_pipe(
    appizer, file, identified, monkeypatch, content
):
    packed = gzip.compress(content.encode())
    assert appizer("import", "users", file(packed, "c.gz"), "--no-wait").code == Exit.OK
    count = len(identified())
    assert {message["user_id"] for message in identified()} == {"ada", "bob"}
    piped = io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed)))
    monkeypatch.setattr(sys, "stdin", piped)
    answer = appizer("import", "users", "-", "--no-wait", "--json")
    assert json.loads(answer.out)["duplicates"] == count


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_is_an_error(appizer, file, content):
    answer = appizer("import", "users", file(content), "--no-wait")
    assert answer.code == Exit.FAILED
    assert "Traceback" not in answer.err
