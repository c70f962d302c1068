"""GET /v1/events and /v1/users/{id}/events: newest first, page by page, filtered."""

import base64
import itertools
import json
from collections import Counter

import msgspec
import pytest

SHOWN = {
    "event_id",
    "event_name",
    "kind",
    "user_id",
    "anonymous_id",
    "distinct_id",
    "message_id",
    "timestamp",
    "received_at",
    "position",
    "properties",
    "context",
    "source",
    "country",
    "browser",
    "os",
    "device",
}
NAMES = ("signed_up", "paid", "left")
USERS = ("ada", "grace", "linus")


@pytest.fixture(scope="module")
def filled(new_tenant):
    """360 events: 3 names x 3 users x 40 times, of which each is that of many events."""
    tenant = new_tenant()
    events = [
        {
            "event_name": name,
            "user_id": user,
            "message_id": f"{name}-{user}-{n}",
            "timestamp": f"2026-01-{1 + n // 4:02}T00:00:{n % 4:02}Z",
            "properties": {
                "n": n,
                "even": n % 2 == 0,
                "plan": {"name": "pro" if n % 3 else "free"},
            },
        }
        for n, name, user in itertools.product(range(40), NAMES, USERS)
    ]
    answer = tenant.send({"events": events}, "/v1/events/batch")
    assert answer.json()["processed_count"] == 360
    tenant.expected = events
    tenant.last = answer.json()["results"][-1]["position"]
    tenant.ask("/v1/events", min_position=tenant.last)
    return tenant


def pages(tenant, path: str = "/v1/events", **asked: object):
    cursor = None
    while True:
        given = {} if cursor is None else {"cursor": cursor}
        page = tenant.ask(path, **asked, **given)
        yield page["events"]
        cursor = page["cursor"]
        if cursor is None:
            return


def ids(events) -> list[str]:
    return [event["message_id"] for event in events]


def test_an_answer_says_where_it_stands(filled):
    answer = filled.ask("/v1/events", limit=1)
    assert set(answer) == {"success", "events", "cursor", "position", "lag_ms"}
    assert answer["success"] is True
    assert answer["position"] >= filled.last
    assert answer["lag_ms"] >= 0
    assert set(answer["events"][0]) == SHOWN


@pytest.mark.parametrize("limit", [37, 90, 359, 360, 361])
def test_all_pages_together_hold_each_event_once_and_newest_first(filled, limit):
    walked = [event for page in pages(filled, limit=limit) for event in page]
    assert Counter(ids(walked)) == Counter(ids(filled.expected))
    order = [(event["timestamp"], event["position"]) for event in walked]
    assert order == sorted(order, reverse=True)


def test_pages_of_one_event_are_in_the_same_order(filled):
    """Nine events have one and the same time: the position decides."""
    walked = itertools.chain(*itertools.islice(pages(filled, limit=1), 10))
    assert list(walked) == filled.ask("/v1/events", limit=10)["events"]


def test_pages_stay_where_they_are_while_newer_events_arrive(new_tenant):
    tenant = new_tenant()
    events = [{"event_name": "E", "user_id": "u", "message_id": f"m{n}"} for n in range(20)]
    tenant.send({"events": events}, "/v1/events/batch")
    walked = []
    tenant.events()
    for number, page in enumerate(pages(tenant, limit=5)):
        walked += ids(page)
        tenant.sent({"event_name": "E", "user_id": "u", "message_id": f"later{number}"})
        tenant.events()
    assert walked == [f"m{n}" for n in reversed(range(20))]


@pytest.mark.parametrize("user", USERS)
def test_a_persons_events_are_walked_the_same_way(filled, user):
    expected = [event for event in filled.expected if event["user_id"] == user]
    for path, asked in (
        (f"/v1/users/{user}/events", {}),
        ("/v1/events", {"user_id": user}),
    ):
        walked = [e for page in pages(filled, path, limit=50, **asked) for e in page]
        assert {event["user_id"] for event in walked} == {user}
        assert Counter(ids(walked)) == Counter(ids(expected))
        order = [(event["timestamp"], event["position"]) for event in walked]
        assert order == sorted(order, reverse=True)


@pytest.mark.parametrize(
    ("asked", "holds"),
    [
        ({"event_name": "paid"}, lambda e: e["event_name"] == "paid"),
        ({"event_name": "unheard of"}, lambda _: False),
        ({"user_id": "nobody"}, lambda _: False),
        ({"from": "2026-01-05T00:00:00Z"}, lambda e: e["timestamp"] >= "2026-01-05"),
        ({"to": "2026-01-05T00:00:00Z"}, lambda e: e["timestamp"] < "2026-01-05"),
        (
            {"from": "2026-01-02T01:00:01+01:00", "to": "2026-01-02T01:00:03+01:00"},
            lambda e: "2026-01-02T00:00:01" <= e["timestamp"] < "2026-01-02T00:00:03",
        ),
        (
            {"event_name": "left", "user_id": "ada", "from": "2026-01-09T00:00:00Z"},
            lambda e: (
                e["event_name"] == "left"
                and e["user_id"] == "ada"
                and e["timestamp"] >= "2026-01-09"
            ),
        ),
    ],
)
def test_filters_leave_exactly_what_they_say(filled, asked, holds):
    walked = [e for page in pages(filled, limit=100, **asked) for e in page]
    expected = [event for event in filled.expected if holds(event)]
    assert sorted(ids(walked)) == sorted(ids(expected))


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ([("even", "equals", True)], lambda p: p["even"]),
        ([("n", "greater_or_equal", 38)], lambda p: p["n"] >= 38),
        ([("n", "greater", 5), ("n", "less", 8)], lambda p: 5 < p["n"] < 8),
        ([("n", "in", [3, 4, "5"])], lambda p: p["n"] in (3, 4)),
        ([("plan.name", "equals", "free")], lambda p: p["plan"]["name"] == "free"),
        ([("plan.name", "starts_with", "pr")], lambda p: p["plan"]["name"] == "pro"),
        ([("plan.name", "not_equals", "pro")], lambda p: p["plan"]["name"] == "free"),
        ([("absent", "is_set", None)], lambda _: False),
        ([("absent", "is_not_set", None), ("n", "equals", 1)], lambda p: p["n"] == 1),
        ([("n", "equals", "1")], lambda _: False),
    ],
)
def test_conditions_on_properties_leave_exactly_what_they_say(filled, where, holds):
    said = [
        {"property": name, "operator": operator, **({} if value is None else {"value": value})}
        for name, operator, value in where
    ]
    walked = [e for page in pages(filled, limit=100, where=json.dumps(said)) for e in page]
    expected = [event for event in filled.expected if holds(event["properties"])]
    assert sorted(ids(walked)) == sorted(ids(expected))


def test_a_condition_on_a_fact_of_the_event_itself(filled):
    where = json.dumps([{"property": "$event", "operator": "ends_with", "value": "up"}])
    walked = [e for page in pages(filled, limit=1000, where=where) for e in page]
    assert {event["event_name"] for event in walked} == {"signed_up"}


# --- names ---------------------------------------------------------------------------------


def test_names_are_counted_the_most_frequent_first(filled, new_tenant):
    answer = filled.ask("/v1/events/names")
    assert set(answer) == {"success", "names", "position", "lag_ms"}
    assert answer["names"] == [
        {
            "event_name": name,
            "count": 120,
            "first_day": "2026-01-01",
            "last_day": "2026-01-10",
        }
        for name in sorted(NAMES)
    ]
    tenant = new_tenant()
    for name in ("a", "b", "b", "B%_"):
        position = tenant.sent({"event_name": name, "user_id": "u"})
    found = tenant.ask("/v1/events/names", min_position=position)["names"]
    assert [(n["event_name"], n["count"]) for n in found] == [("b", 2), ("B%_", 1), ("a", 1)]
    for prefix, expected in (("b", ["b"]), ("B%", ["B%_"]), ("%", []), ("x", [])):
        found = tenant.ask("/v1/events/names", prefix=prefix)["names"]
        assert [n["event_name"] for n in found] == expected
    assert len(tenant.ask("/v1/events/names", limit=1)["names"]) == 1


def test_an_app_without_events_has_empty_answers(tenant):
    for path, name in (("/v1/events", "events"), ("/v1/events/names", "names")):
        assert tenant.ask(path)[name] == []


# --- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", "1.5"),
        ("limit", ""),
        ("from", "yesterday"),
        ("from", "2026-02-30T00:00:00Z"),
        ("from", "0001-01-01T00:00:00Z"),
        ("from", "0001-01-01T00:00:00+14:00"),
        ("to", "9999-12-31T23:59:59-12:00"),
        ("to", "infinity"),
        ("cursor", "nonsense"),
        ("cursor", ""),
        ("cursor", "A" * 5000),
        ("cursor", "é"),
        ("cursor", "kwEBAQ=="),
        ("user_id", ""),
        ("user_id", "a\0b"),
        ("user_id", "x" * 201),
        ("user_id", "e\u0301"),
        ("event_name", "x" * 101),
        ("min_position", "-1"),
        ("min_position", str(2**63)),
        ("min_position", "x"),
        ("where", "plan=pro"),
        ("where", "{}"),
        ("where", "[" * 3000),
        ("where", '[{"property":"a","operator":"in","value":' + "[" * 3000 + "]" * 3000 + "}]"),
        ("where", '[{"property":"a"}]'),
        ("where", '[{"property":"a","operator":"roughly","value":1}]'),
        ("where", '[{"property":"a","operator":"equals","value":1e400}]'),
    ],
)
def test_a_bad_parameter_is_named(tenant_of_all, problem, name, value):
    details = problem(tenant_of_all.get("/v1/events", **{name: value}), 400, "INVALID_REQUEST")
    assert details["field"].partition("[")[0] == name
    assert details["issue"]


@pytest.mark.parametrize(
    ("time", "position"), [(2**63, 1), (2**64 - 1, 1), (-1, 1), (1, -1), (1, 2**64 - 1)]
)
def test_a_cursor_that_names_no_time_or_position_is_refused(filled, problem, time, position):
    given = filled.ask("/v1/events", limit=1)["cursor"]
    query, *_ = msgspec.msgpack.decode(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    packed = msgspec.msgpack.encode([query, time, position])
    forged = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    problem(filled.get("/v1/events", cursor=forged), 400, "INVALID_REQUEST", field="cursor")


OF_ADA = "/v1/users/ada/events"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/events", {}),
        ("/v1/users/grace/events", {}),
        ("/v1/events", {"user_id": "ada", "event_name": "paid"}),
        ("/v1/events", {"user_id": "ada", "from": "2026-01-02"}),
        ("/v1/events", {"user_id": "ada", "where": '[{"property":"n","operator":"is_set"}]'}),
    ],
)
def test_a_cursor_is_for_the_query_that_gave_it(filled, problem, path, asked):
    cursor = filled.ask(OF_ADA, limit=1)["cursor"]
    answer = filled.get(path, **asked, cursor=cursor)
    details = problem(answer, 400, "INVALID_REQUEST", field="cursor")
    assert "not one that this query gave" in details["issue"]
    assert len(filled.ask(OF_ADA, limit=3, cursor=cursor)["events"]) == 3


@pytest.mark.parametrize(
    ("condition", "field"),
    [
        ({"property": "", "operator": "is_set"}, "where[1].property"),
        ({"property": "a", "operator": "contains", "value": 5}, "where[1].value"),
        ({"property": "a", "operator": "greater", "value": "5"}, "where[1].value"),
        ({"property": "a", "operator": "in", "value": []}, "where[1].value"),
        ({"property": "a", "operator": "in", "value": [1, {}]}, "where[1].value[1]"),
        ({"property": "a", "operator": "equals"}, "where[1].value"),
    ],
)
def test_a_bad_condition_is_named_with_its_place(tenant_of_all, problem, condition, field):
    where = json.dumps([{"property": "a", "operator": "is_set"}, condition])
    answer = tenant_of_all.get("/v1/events", where=where)
    problem(answer, 400, "INVALID_REQUEST", field=field)


@pytest.mark.parametrize("path", ["/v1/users/{}", "/v1/users/{}/events"])
@pytest.mark.parametrize("user_id", ["a%00b", "%0A", "x" * 201, "e%CC%81", "%20"])
def test_an_id_that_nobody_can_have_is_named(tenant_of_all, problem, path, user_id):
    answer = tenant_of_all.get(path.format(user_id))
    problem(answer, 400, "INVALID_REQUEST", field="user_id")


@pytest.mark.parametrize("path", ["/v1/users/nobody", "/v1/users/nobody/events"])
def test_nobody_is_not_found(tenant_of_all, problem, path):
    problem(tenant_of_all.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v2/events", "/v1/events/x", "//"])
def test_an_address_that_is_none_is_not_found(tenant_of_all, problem, path):
    problem(tenant_of_all.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/analytics/trends"),
        ("PUT", "/v1/apps"),
        ("POST", "/healthz"),
        ("DELETE", "/v1/events"),
        ("PATCH", "/v1/events/batch"),
        ("HEAD", "/v1/events/batch"),
    ],
)
def test_a_wrong_method_is_refused(tenant_of_all, method, path):
    answer = tenant_of_all.http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"]
