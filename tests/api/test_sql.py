"""POST /v1/analytics/query: the shape that was promised, and two tenants of one table."""

import csv
import io
import random

import pytest

from tests.fixtures.sql import ACCEPTED, ATTEMPTS, MARKER

BY_EVENT = "SELECT event, count() AS n FROM events GROUP BY event ORDER BY n DESC"


@pytest.fixture(scope="module")
def victim(new_tenant):
    """The marker is in all that it sends."""
    tenant = new_tenant(name=MARKER)
    events = [
        {
            "event_name": MARKER,
            "user_id": f"{MARKER}-{number % 3}",
            "message_id": f"{MARKER}-{number}",
            "properties": {MARKER: MARKER},
            "context": {"page": {"url": f"https://{MARKER}.example"}},
        }
        for number in range(20)
    ]
    assert tenant.send({"events": events}, "/v1/events/batch").status_code == 202
    return tenant


@pytest.fixture(scope="module")
def filled(new_tenant, victim):
    """Ada: 3 commits, Grace: 1 commit and 1 review; both are then one person."""
    tenant = new_tenant()
    for user, name in (
        *(("1", "commit"), ("1", "commit"), ("1", "commit")),
        *(("2", "commit"), ("2", "review")),
    ):
        position = tenant.sent({"event_name": name, "user_id": user, "properties": {"n": 1}})
    tenant.ask("/v1/events", min_position=position)
    return tenant


def test_an_answer_has_the_promised_shape(filled):
    answer = filled.sql(BY_EVENT, app_id=filled.app_id)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body.pop("position") > 0
    assert body.pop("lag_ms") >= 0
    assert body.pop("query_time_ms") > 0
    assert body == {
        "success": True,
        "data": [{"event": "commit", "n": 4}, {"event": "review", "n": 1}],
        "columns": [{"name": "event", "type": "String"}, {"name": "n", "type": "UInt64"}],
        "rows_returned": 2,
        "truncated": False,
    }


def test_csv_has_the_same_rows(filled):
    answer = filled.sql(BY_EVENT, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text == "event,n\r\ncommit,4\r\nreview,1\r\n"
    assert answer.headers["x-truncated"] == "false"
    assert answer.headers["x-rows-returned"] == "2"
    assert int(answer.headers["x-position"]) > 0
    many = filled.sql("SELECT arrayJoin(range(20000)) AS n ORDER BY n", format="csv")
    assert many.headers["x-truncated"] == "true"
    assert len(list(csv.reader(io.StringIO(many.text)))) == 10_001


def test_parameters_are_bound(filled):
    answer = filled.sql(
        "SELECT count() AS n FROM events WHERE event IN {names:Array(String)} AND position > {p:UInt64}",
        parameters={"names": ["review", "x'"], "p": 0},
    )
    assert answer.json()["data"] == [{"n": 1}]


def test_answers_are_those_of_a_past(filled):
    position = filled.sent({"event_name": "deploy", "user_id": "3"})
    asked = "SELECT count() AS n, uniqExact(person_id) AS persons FROM events"
    assert filled.sql(asked, min_position=position).json()["data"] == [{"n": 6, "persons": 3}]
    before = filled.sql(asked, known_at=position - 1).json()
    assert before["data"] == [{"n": 5, "persons": 2}]
    assert before["position"] == position - 1
    assert filled.sql(asked, as_of="2020-01-01").json()["data"] == [{"n": 0, "persons": 0}]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"query": "DROP TABLE events"}, "query"),
        ({"query": "how many users are there?"}, "query"),
        ({"query": "SELECT * FROM campaigns"}, "query"),
        ({"query": "SELECT nothing FROM events"}, "query"),
        ({"query": ""}, "query"),
        ({"query": "SELECT 1", "format": "xml"}, "format"),
        ({"query": "SELECT 1", "app_id": "00000000-0000-4000-8000-000000000000"}, "app_id"),
        ({"query": "SELECT 1", "min_position": -1}, "min_position"),
        ({"query": "SELECT 1", "known_at": 2**50}, "known_at"),
        ({"query": "SELECT 1", "parameters": {"x": 1}}, "parameters.x"),
        ({"query": "SELECT {x:String}"}, "parameters.x"),
        ({"query": "SELECT 1", "settings": {}}, "settings"),
        ({"query": "SELECT 1", "parameters": {"x": {"y": 1}}}, "parameters[...]"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(filled, problem, fields, field):
    details = problem(filled.sql(**fields), 400, "INVALID_REQUEST", field=field)
    assert "app_number" not in str(details)


def test_natural_language_is_pointed_to_sql(filled, problem):
    details = problem(filled.sql("Which users bought most?"), 400, "INVALID_REQUEST")
    assert "natural language" in details["issue"]
    assert "not available" in details["issue"]
    assert "SELECT event, count() FROM events GROUP BY event" in details["issue"]


def test_another_apps_id_looks_like_one_that_does_not_exist(filled, victim, problem):
    theirs = filled.sql("SELECT 1", app_id=victim.app_id)
    nothing = filled.sql("SELECT 1", app_id="00000000-0000-4000-8000-000000000000")
    problem(theirs, 400, "INVALID_REQUEST", field="app_id")
    assert theirs.content == nothing.content


def test_a_question_that_is_too_heavy_says_so(filled, problem):
    asked = "SELECT sum(arrayJoin(range(1000000)) + arrayJoin(range(1000001)))"
    problem(filled.sql(asked), 422, "QUERY_TOO_HEAVY")


def test_whatever_is_asked_nothing_of_the_other_is_in_the_answer(filled, victim):
    """The attempts are all refused before the engine; these are some of them, all the way."""
    mine = victim.sql("SELECT count() AS n FROM events").json()["data"]
    assert mine == [{"n": 20}]
    dice = random.Random(3)
    for query in [*dice.sample(ATTEMPTS, 40), *dice.sample(ACCEPTED, 20)]:
        answer = filled.sql(query)
        assert MARKER not in answer.text, query
        assert answer.status_code in (200, 400, 422), (query, answer.text)
        assert (answer.status_code == 200) == (query in ACCEPTED), (query, answer.text)


@pytest.mark.parametrize("column", ["distinct_id", "user_id"])
def test_a_function_that_fails_fails_on_ones_own_rows_only(filled, victim, column):
    """All of the asker's ids are numbers and none of the other's is: the engine must not look."""
    for query in (
        f"SELECT count() AS n FROM events WHERE toUInt64({column}) > 0",
        f"SELECT count() AS n FROM events WHERE day > '2000-01-01' AND toUInt8({column}) > 0",
        f"SELECT count() AS n FROM events WHERE intDiv(1, length({column}) - 12) >= 0",
        f"WITH a AS (SELECT toUInt8({column}) AS x FROM events) SELECT count() AS n FROM a WHERE x > 0",
    ):
        answer = filled.sql(query)
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"][0]["n"] >= 5
