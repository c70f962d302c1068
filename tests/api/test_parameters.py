"""The address's parameters: what is unknown, empty, double or in another form is never ignored."""

import json

import pytest

PAST = "min_position, known_at, as_of"
ROUTES = [
    ("/v1/events", f"event_name, user_id, from, to, where, limit, cursor, {PAST}"),
    ("/v1/events/names", f"prefix, limit, {PAST}"),
    ("/v1/users", f"where, search, sort, limit, cursor, {PAST}"),
    ("/v1/users/ada", PAST),
    ("/v1/users/ada/events", f"limit, cursor, {PAST}"),
    ("/v1/users/ada/aliases", f"limit, cursor, {PAST}"),
    ("/v1/users/ada/history", f"trait, limit, cursor, {PAST}"),
    ("/v1/groups", f"type, limit, cursor, {PAST}"),
    ("/v1/groups/company/acme", PAST),
    ("/v1/groups/company/acme/members", f"limit, cursor, {PAST}"),
    ("/v1/failed-events", "limit, before, min_position"),
]


@pytest.fixture(scope="module")
def days(new_tenant):
    """One event at noon of each of the first three days of November 2026."""
    tenant = new_tenant()
    for day in (1, 2, 3):
        event = {"event_name": f"day {day}", "user_id": "ada"}
        tenant.last = tenant.sent({**event, "timestamp": f"2026-11-0{day}T12:00:00Z"})
    tenant.events()
    return tenant


def names(tenant, **asked: object) -> list[str]:
    return [event["event_name"] for event in tenant.ask("/v1/events", **asked)["events"]]


@pytest.mark.parametrize("day", ["2026-11-02", "20261102", "2026-W45-1", "2026-306"])
def test_a_date_is_that_whole_day(days, day):
    assert names(days, **{"from": day, "to": day}) == ["day 2"]


@pytest.mark.parametrize(
    "noon", ["2026-11-02T12:00", "2026-11-02 12:00", "1793620800", "1793620800000"]
)
def test_a_time_is_an_instant_the_first_included_and_the_last_not(days, noon):
    assert names(days, **{"from": noon}) == ["day 3", "day 2"]
    assert names(days, to=noon) == ["day 1"]


def test_trends_read_times_as_the_list_does(days):
    for first, last in (("2026-W45-1", "20261102"), ("1793620800", 1793620800001)):
        (series,) = days.trends(**{"from": first, "to": last})["data"]["series"]
        assert series["total"] == 1


EMPTY_RANGES = [
    ("2026-11-03", "2026-11-01"),
    ("2026-11-03", "2026-11-02"),  # whose end is the first instant of the third
    ("2026-11-02T12:00", "2026-11-02T12:00"),
    ("2026-11-02T12:00Z", "2026-11-02T13:00+01:00"),
]


@pytest.mark.parametrize(("first", "last"), EMPTY_RANGES)
def test_a_range_that_holds_nothing_is_refused_by_all_queries(days, problem, first, last):
    asked = {"from": first, "to": last}
    details = problem(days.get("/v1/events", **asked), 400, "INVALID_REQUEST", field="to")
    assert details["issue"] == "must lie after `from`"
    headers = days.bearer(days.secret_key)
    answer = days.http.post("/v1/analytics/trends", headers=headers, json=asked)
    assert problem(answer, 400, "INVALID_REQUEST", field="to") == details


@pytest.mark.parametrize("value", ["2026", "null", "2026-11", "179362080", "yesterday"])
@pytest.mark.parametrize("name", ["from", "to"])
def test_what_is_no_time_is_answered_with_an_example(days, problem, name, value):
    details = problem(days.get("/v1/events", **{name: value}), 400, "INVALID_REQUEST", field=name)
    assert "2026-01-31T12:00:00Z" in details["issue"]


@pytest.mark.parametrize(("path", "known"), ROUTES)
def test_an_unknown_parameter_is_refused_with_those_that_there_are(days, problem, path, known):
    answer = days.get(path, min_positions="1")
    details = problem(answer, 400, "INVALID_REQUEST", field="min_positions")
    assert details["issue"].endswith(f"did you mean `min_position`? Known: {known}")


@pytest.mark.parametrize(
    ("given", "meant"), [("form", "from"), ("user", "user_id"), ("event", "event_name")]
)
def test_the_parameter_that_was_meant_is_named(days, problem, given, meant):
    answer = days.get("/v1/events", **{given: "x"})
    details = problem(answer, 400, "INVALID_REQUEST", field=given)
    assert f"did you mean `{meant}`?" in details["issue"]


def test_a_question_in_a_body_has_no_parameters(days, problem):
    headers = days.bearer(days.secret_key)
    question = {"from": "2026-11-01", "to": "2026-11-02"}
    answer = days.http.post("/v1/analytics/trends?limit=5", headers=headers, json=question)
    problem(answer, 400, "INVALID_REQUEST", field="limit")


def test_the_list_of_apps_knows_its_parameters_too(days, problem):
    headers = days.bearer(days.org_key)
    answer = days.http.get("/v1/apps?limt=5", headers=headers)
    assert "`limit`" in problem(answer, 400, "INVALID_REQUEST", field="limt")["issue"]


def test_who_may_not_ask_is_told_that_first(days, problem):
    answer = days.http.get(f"/v1/events?writeKey={days.secret_key}")
    problem(answer, 401, "MISSING_AUTH")
    problem(days.get("/v1/events", writeKey="x"), 400, "INVALID_REQUEST", field="writeKey")


@pytest.mark.parametrize(
    "name", ["event_name", "user_id", "from", "to", "where", "limit", "cursor", "min_position"]
)
def test_an_empty_parameter_is_refused(days, problem, name):
    details = problem(days.get("/v1/events", **{name: ""}), 400, "INVALID_REQUEST", field=name)
    assert "empty" in details["issue"]


@pytest.mark.parametrize(
    "value", ["1e2", "5.0", " 5", "+5", "0x5", "1_0", "null", "٣", "05", "-01"]
)
@pytest.mark.parametrize("name", ["limit", "min_position"])
def test_a_number_is_plain_digits(days, problem, name, value):
    details = problem(days.get("/v1/events", **{name: value}), 400, "INVALID_REQUEST", field=name)
    assert "plain digits" in details["issue"]


def test_a_value_without_a_name_is_told_so(days, problem):
    answer = days.http.get("/v1/events?=1", headers=days.bearer(days.secret_key))
    details = problem(answer, 400, "INVALID_REQUEST", field="address")
    assert "without a name" in details["issue"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/users/%FF", "user_id"),
        ("/v1/users/%FF/events", "user_id"),
        ("/v1/users/a%2F%C3", "user_id"),
        ("/v1/events?user_id=%FF", "user_id"),
        ("/v1/events?limit=1&event_name=%ED%A0%80", "event_name"),
    ],
)
def test_what_is_not_utf_8_is_not_taken_for_somebody_else(tenant, problem, path, field):
    """Who does not look closely sees U+FFFD in its place, and there is such a person."""
    tenant.sent({"event_name": "E", "user_id": "\ufffd"})
    answer = tenant.http.get(path, headers=tenant.bearer(tenant.secret_key))
    details = problem(answer, 400, "INVALID_REQUEST", field=field)
    assert "UTF-8" in details["issue"]


def test_a_parameter_that_is_given_twice_is_refused(days, problem):
    answer = days.get("/v1/events", limit=[1, 2])
    problem(answer, 400, "INVALID_REQUEST", field="limit")
    answer = days.get("/v1/events", event_name=["day 1", "day 2"])
    problem(answer, 400, "INVALID_REQUEST", field="event_name")


def test_a_value_may_read_null(days):
    assert names(days, event_name="null") == []
    assert names(days, user_id="null") == []


# --- conditions and bodies -----------------------------------------------------------------

RANGE = {"from": "2026-11-01", "to": "2026-11-03"}
PLAIN = {"property": "a", "operator": "is_set"}
OPERATORS = "must be one of equals, not_equals, in, not_in, contains, not_contains, starts_with,"
SHAPES = [
    ({"intervall": "day"}, "intervall", "did you mean `interval`? Known: "),
    ({"interval": "minute"}, "interval", "must be one of hour, day, week, month"),
    ({"measure": "mode"}, "measure", "must be one of total, unique"),
    ({"measure": "median"}, "property", "is missing: median is that of a number"),
    ({"breakdown": {"property": "a", "limits": 1}}, "breakdown.limits", "`limit`"),
    ({"breakdown": {"property": "$foo"}}, "breakdown.property", "$event, $kind, $source"),
    ({"where": [{**PLAIN, "values": 1}]}, "where[0].values", "did you mean `value`?"),
    ({"where": [PLAIN, {**PLAIN, "operator": "is"}]}, "where[1].operator", OPERATORS),
    ({"where": [{**PLAIN, "property": "$foo"}]}, "where[0].property", "$event, $kind, $source"),
    ({"where": [{"operator": "is_set"}]}, "where[0].property", "is missing"),
    ({"where": ["a"]}, "where[0]", "expected `object`"),
    ({"timezone": "localtime"}, "timezone", "Europe/Berlin"),
]


@pytest.mark.parametrize(("asked", "field", "issue"), SHAPES)
def test_what_a_question_may_not_say_is_named_with_what_it_may(days, problem, asked, field, issue):
    headers = days.bearer(days.secret_key)
    body = {**RANGE, **asked}
    answer = days.http.post("/v1/analytics/trends", headers=headers, json=body)
    assert issue in problem(answer, 400, "INVALID_REQUEST", field=field)["issue"]


@pytest.mark.parametrize(
    ("asked", "field", "issue"), [shape for shape in SHAPES if shape[1].startswith("where")]
)
def test_the_list_refuses_the_same_conditions(days, problem, asked, field, issue):
    answer = days.get("/v1/events", where=json.dumps(asked["where"]))
    assert issue in problem(answer, 400, "INVALID_REQUEST", field=field)["issue"]


NOT_EXACT = "is a number outside ±2^53, which cannot be kept exactly; send it as a string"
IN_TEXT = [
    ('[{"property":"a","operator":"equals","value":9007199254740993}]', "[0].value", NOT_EXACT),
    ('[{"property":"a","operator":"in","value":[1,-9007199254740993]}]', "[0].value[1]", NOT_EXACT),
    (
        '[{"property":"a","operator":"less","value":12345678901234567890123}]',
        "[0].value",
        NOT_EXACT,
    ),
    ('[{"property":"a","operator":"is_set","property":"b"}]', "[0].property", "comes twice"),
]


@pytest.mark.parametrize(("where", "place", "issue"), IN_TEXT)
def test_what_json_readers_differ_about_is_refused_in_conditions(
    days, problem, where, place, issue
):
    found = problem(days.get("/v1/events", where=where), 400, "INVALID_REQUEST")
    assert found["field"] == f"where{place}"
    assert issue in found["issue"]
    body = '{"from": "2026-11-01", "to": "2026-11-03", "where": ' + where + "}"
    headers = days.bearer(days.secret_key)
    answer = days.http.post("/v1/analytics/trends", headers=headers, content=body)
    assert problem(answer, 400, "INVALID_REQUEST") == found


def test_a_number_beyond_all_is_refused_with_its_place(days, problem):
    where = '[{"property": "a", "operator": "equals", "value": 1e400}]'
    found = problem(days.get("/v1/events", where=where), 400, "INVALID_REQUEST")
    assert found == {"field": "where[0].value", "issue": NOT_EXACT}


LOOSE = [
    ('"where": [{"property": "a", "operator": "equals", "value": 1e400}]', "body", "out of range"),
    ('"min_position": "6"', "min_position", "expected `integer"),
    ('"breakdown": {"property": "a", "limit": "5"}', "breakdown.limit", "expected `integer`"),
    ('"event": "a", "event": "b"', "event", "comes twice"),
    ('"breakdown": {"property": "a", "property": "b"}', "breakdown.property", "comes twice"),
    ('"min_position": 5.5', "min_position", "expected `integer"),
]


@pytest.mark.parametrize(("member", "field", "issue"), LOOSE)
def test_a_question_is_read_as_strictly_as_an_event(days, problem, member, field, issue):
    body = '{"from": "2026-11-01", "to": "2026-11-03", ' + member + "}"
    headers = days.bearer(days.secret_key)
    answer = days.http.post("/v1/analytics/trends", headers=headers, content=body)
    assert issue in problem(answer, 400, "INVALID_REQUEST", field=field)["issue"]


@pytest.mark.parametrize("path", ["/v1/analytics/trends", "/v1/events", "/v1/events/batch"])
def test_a_body_that_is_missing_is_told_everywhere_alike(days, problem, path):
    headers = days.bearer(days.secret_key)
    answer = days.http.post(path, headers=headers, content=b"")
    details = problem(answer, 400, "INVALID_REQUEST", field="body")
    assert details["issue"] == "is missing; send a JSON object"


def test_the_kind_of_a_key_is_told_too(days, problem):
    url, headers = f"/v1/apps/{days.app_id}/keys", days.bearer(days.org_key)
    answer = days.http.post(url, headers=headers, json={"kind": "root"})
    details = problem(answer, 400, "INVALID_REQUEST", field="kind")
    assert details["issue"] == "must be one of write, secret, admin, organisation"


def test_facts_are_text(days, problem):
    for operator, value, wrong in (("greater", 5, "operator"), ("equals", 5, "value")):
        where = json.dumps([{"property": "$event", "operator": operator, "value": value}])
        answer = days.get("/v1/events", where=where)
        problem(answer, 400, "INVALID_REQUEST", field=f"where[0].{wrong}")
