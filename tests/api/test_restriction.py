"""Questions about chosen persons, and how an answer was got: over HTTP.

tests/analytics/test_people_asked.py checks the figures; here it is that each kind takes criteria.
"""

import pytest

DAY = "2026-03-28"
RANGE = {"from": DAY, "to": DAY}
BOUGHT = {"type": "did", "event": "buy"}


@pytest.fixture(scope="module")
def filled(new_tenant):
    """Ada views, buys and views again; Grace views twice; Bob buys."""
    tenant = new_tenant()
    names = (("ada", "view buy view"), ("grace", "view view"), ("bob", "buy"))
    events = [
        {"event_name": name, "user_id": user, "timestamp": f"{DAY}T12:0{minute}:00Z"}
        for user, told in names
        for minute, name in enumerate(told.split())
    ]
    results = tenant.send({"events": events}, "/v1/events/batch").json()["results"]
    tenant.ask("/v1/events", min_position=results[-1]["position"])
    tenant.ask("/v1/users", min_position=results[-1]["position"])
    return tenant


# Each kind, and the place in its answer of a number that tells of how many persons it is.
KINDS = {
    "trends": ({"measure": "unique"}, lambda data: data["series"][0]["total"]),
    "funnels": (
        {"steps": [{"event": "view"}, {"event": "view"}]},
        lambda data: data["series"][0]["steps"][0]["persons"],
    ),
    "retention": ({"periods": 1}, lambda data: data["series"][0]["size"]),
    "sessions": ({}, lambda data: data["series"][0]["total"]["persons"]),
    "paths": ({}, lambda data: data["sessions"]),
}
BY_KIND = pytest.mark.parametrize("kind", KINDS)


def post(tenant, kind, **question):
    headers = tenant.bearer(tenant.secret_key)
    body = {**({} if kind == "query" else RANGE), **question}
    return tenant.http.post(f"/v1/analytics/{kind}", headers=headers, json=body)


def persons(tenant, kind, **question):
    fields, found = KINDS[kind]
    answer = post(tenant, kind, **fields, **question)
    assert answer.status_code == 200, answer.text
    return found(answer.json()["data"])


@BY_KIND
def test_only_persons_count_of_whom_the_criteria_hold(filled, kind):
    viewers = kind == "funnels"
    assert persons(filled, kind) == 3 - viewers
    assert persons(filled, kind, criteria=BOUGHT) == 2 - viewers
    assert persons(filled, kind, criteria='did "buy"') == 2 - viewers
    assert persons(filled, kind, criteria='not did "buy"') == 1


def test_criteria_are_asked_at_the_time_of_the_question(filled):
    """Grace and Ada view at noon; Ada buys a minute later."""
    asked = {"measure": "unique", "criteria": BOUGHT}
    totals = [
        post(filled, "trends", **asked, as_of=at).json()["data"]["series"][0]["total"]
        for at in (f"{DAY}T12:00:30Z", f"{DAY}T12:01:00Z")
    ]
    assert totals == [1, 2]  # Bob buys at noon


def test_the_time_before_is_compared_for_the_same_persons(filled):
    question = {"from": "2026-03-29", "to": "2026-03-29", "measure": "unique"}
    headers = filled.bearer(filled.secret_key)
    body = {**question, "criteria": BOUGHT, "compare": "previous", "explain": True}
    answer = filled.http.post("/v1/analytics/trends", headers=headers, json=body).json()
    assert [answer[name]["series"][0]["total"] for name in ("data", "previous")] == [0, 2]
    assert set(answer["plan"]) == {"current", "previous"}
    assert answer["plan"]["previous"]["source"] == "day"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"criteria": {"type": "did", "evnt": "buy"}}, "criteria.evnt"),
        ({"criteria": {"type": "dod"}}, "criteria.type"),
        ({"criteria": {"type": "stopped", "last": "soon"}}, "criteria.last"),
        ({"criteria": "bought"}, "criteria"),
        ({"criteria": 5}, "criteria"),
        ({"criteria": {"type": "member", "segment": "none"}}, "segment"),
        ({"segment": "none"}, "segment"),
        ({"segment": ""}, "segment"),
        ({"explain": True, "format": "csv"}, "explain"),
    ],
)
def test_what_is_no_criteria_is_refused_with_its_field(filled, problem, given, field):
    problem(post(filled, "trends", **given), 400, "INVALID_REQUEST", field=field)


@BY_KIND
def test_an_answer_explains_how_it_was_got(filled, kind):
    fields, _ = KINDS[kind]
    assert "plan" not in post(filled, kind, **fields).json()
    plan = post(filled, kind, **fields, explain=True, criteria=BOUGHT).json()["plan"]
    step = plan["current"]
    assert plan["previous"] is None
    assert "buy" in step["parameters"].values()
    assert all(f"{{{name}:" in step["statement"] for name in step["parameters"])
    assert step["rows_read"] > 0
    assert step["bytes_read"] > 0
    assert step["engine_ms"] > 0
    assert step["source"] in {"day", "hour", "rows"}


def test_sql_explains_itself_too(filled):
    query = "SELECT count() AS n FROM events WHERE event = {name:String}"
    answer = filled.sql(query, parameters={"name": "buy"}, explain=True).json()
    assert answer["data"] == [{"n": 2}]
    step = answer["plan"]["current"]
    assert "buy" in step["parameters"].values()
    assert step["rows_read"] >= 6
    assert "plan" not in filled.sql(query, parameters={"name": "buy"}).json()
