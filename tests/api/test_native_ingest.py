"""POST /v1/events, /v1/events/track, /v1/events/batch, and what is found afterwards."""

import concurrent.futures

import pytest

ONE = ("/v1/events", "/v1/events/track")
EVENT = {"event_name": "Order completed", "user_id": "ada"}


@pytest.mark.parametrize("path", ONE)
def test_an_event_is_answered_with_its_id_and_its_position(tenant, path):
    answer = tenant.send(EVENT, path)
    assert answer.status_code == 202
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert set(said) == {"success", "event_id", "position", "duplicate", "message"}
    assert said["success"] is True
    assert said["duplicate"] is False
    assert said["event_id"].startswith("evt_")
    (found,) = tenant.events()
    assert (found["event_id"], found["position"]) == (said["event_id"], said["position"])


@pytest.mark.parametrize(
    "body",
    [
        {"event_name": "E", "user_id": "u", "anonymous_id": "a", "message_id": "m"},
        {"event": "E", "userId": "u", "anonymousId": "a", "messageId": "m"},
        {"event_name": "E", "userId": "u", "anonymous_id": "a", "messageId": "m"},
    ],
)
def test_both_spellings_say_the_same(tenant, body):
    tenant.sent(body)
    (found,) = tenant.events()
    said = [found[name] for name in ("event_name", "user_id", "anonymous_id", "message_id")]
    assert said == ["E", "u", "a", "m"]
    assert found["distinct_id"] == "u"


def test_two_spellings_that_disagree_are_refused(tenant_of_all, problem):
    answer = tenant_of_all.send({"event_name": "A", "event": "B", "user_id": "u"})
    problem(answer, 400, "INVALID_REQUEST", field="event_name")


def test_everything_that_was_sent_is_found_again(tenant):
    properties = {
        "price": 19.9,
        "items": [{"sku": "A1", "n": 2}],
        "ok": True,
        "none": None,
        "ü": "日",
    }
    context = {"page": {"url": "https://example.com/"}, "locale": "de-DE"}
    tenant.sent(
        {
            "event_name": "Order completed",
            "user_id": "ada",
            "anonymous_id": "a-1",
            "message_id": "m-1",
            "timestamp": "2026-03-04T05:06:07.123456+02:00",
            "properties": properties,
            "context": context,
            "ip": "203.0.113.7",
            "ua": "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0",
        }
    )
    (found,) = tenant.events()
    assert found["timestamp"] == "2026-03-04T03:06:07.123456Z"
    assert found["properties"] == properties
    assert found["context"] == context
    assert (found["kind"], found["source"]) == ("track", "native")
    assert (found["browser"], found["os"]) == ("Firefox", "Linux")


def test_an_anonymous_person_is_enough(tenant):
    tenant.sent({"event_name": "E", "anonymous_id": "a"})
    (found,) = tenant.events()
    assert (found["user_id"], found["anonymous_id"], found["distinct_id"]) == (None, "a", "a")


def test_a_message_without_id_gets_one_of_its_own(tenant):
    first, second = tenant.send(EVENT).json(), tenant.send(EVENT).json()
    assert first["event_id"] != second["event_id"]
    assert len({event["message_id"] for event in tenant.events()}) == 2


def test_the_same_message_twice_is_stored_once_and_says_where(tenant):
    message = {**EVENT, "message_id": "m-1", "properties": {"a": 1, "b": [2]}}
    first = tenant.send(message).json()
    again = tenant.send({**message, "properties": {"b": [2], "a": 1.0}})
    assert again.status_code == 202
    assert again.json() == {
        **first,
        "duplicate": True,
        "message": "known already, nothing was written",
    }
    assert len(tenant.events()) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"event_name": "Another"},
        {"user_id": "eve"},
        {"properties": {"a": 2}},
        {"timestamp": "2026-01-01T00:00:00Z"},
    ],
)
def test_another_message_under_the_same_id_is_a_conflict_and_the_first_stays(
    tenant, problem, other
):
    message = {**EVENT, "message_id": "m-1", "properties": {"a": 1}}
    first = tenant.send(message).json()
    details = {"event_id": first["event_id"], "position": first["position"]}
    problem(tenant.send({**message, **other}), 409, "CONFLICT", **details)
    (found,) = tenant.events()
    assert (found["event_name"], found["user_id"]) == ("Order completed", "ada")
    assert found["properties"] == {"a": 1}


def test_a_message_id_belongs_to_its_app(new_tenant):
    one, other = new_tenant(), new_tenant()
    message = {**EVENT, "message_id": "m-1"}
    first, second = one.send(message).json(), other.send({**message, "user_id": "eve"}).json()
    assert second["duplicate"] is False
    assert first["event_id"] != second["event_id"]


def test_one_message_sent_from_many_sides_at_once_is_stored_once(tenant):
    message = {**EVENT, "message_id": "m-1"}
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = [a.json() for a in pool.map(tenant.send, [message] * 64)]
    assert len({answer["position"] for answer in answers}) == 1
    assert [answer["duplicate"] for answer in answers].count(False) == 1
    assert len(tenant.events()) == 1


# --- batches -------------------------------------------------------------------------------


def test_a_batch_is_answered_item_by_item(tenant):
    known = tenant.send({**EVENT, "message_id": "known"}).json()
    answer = tenant.send(
        {
            "events": [
                {**EVENT, "message_id": "new"},
                {**EVENT, "message_id": "known"},
                {**EVENT, "message_id": "known", "user_id": "eve"},
                {"event_name": "E", "user_id": 5},
                {"user_id": "ada"},
                {**EVENT, "properties": {"price": {"amount": "a\0b"}}},
                {**EVENT, "message_id": "new"},
                "no object",
                {**EVENT, "message_id": "last"},
            ]
        },
        "/v1/events/batch",
    )
    assert answer.status_code == 202
    said = answer.json()
    assert set(said) == {"success", "processed_count", "rejected_count", "results", "message"}
    assert (said["processed_count"], said["rejected_count"]) == (4, 5)
    results = said["results"]
    assert [r["index"] for r in results] == list(range(9))
    assert [r["status"] for r in results] == [
        "accepted",
        "duplicate",
        "conflict",
        "rejected",
        "rejected",
        "rejected",
        "duplicate",
        "rejected",
        "accepted",
    ]
    assert results[1]["position"] == results[2]["position"] == known["position"]
    assert results[6]["position"] == results[0]["position"]
    assert [r.get("field") for r in results] == [
        *(None, None, "message_id", "user_id", "event_name", "properties.price.amount"),
        *(None, "message", None),
    ]
    assert all(r["reason"] for r in results if r["status"] in ("rejected", "conflict"))
    found = {event["message_id"]: event["position"] for event in tenant.events()}
    assert found == {
        "new": results[0]["position"],
        "known": known["position"],
        "last": results[8]["position"],
    }


def test_positions_of_a_batch_follow_its_order(tenant):
    events = [{**EVENT, "message_id": f"m{i}"} for i in range(500)]
    results = tenant.send({"events": events}, "/v1/events/batch").json()["results"]
    first = results[0]["position"]
    assert [r["position"] for r in results] == list(range(first, first + 500))
    assert [e["message_id"] for e in tenant.events()] == [f"m{i}" for i in reversed(range(500))]


def test_an_empty_batch_is_no_fault(tenant_of_all):
    answer = tenant_of_all.send({"events": []}, "/v1/events/batch")
    assert answer.status_code == 202
    assert answer.json()["results"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "events"),
        (b'{"events":5}', "events"),
        (b'{"events":null}', "events"),
        (b'{"events":[],"sent_at":"yesterday"}', "sent_at"),
        (b'{"events":[],"evnets":[]}', "evnets"),
        (b"[]", "message"),
        (b"", "body"),
        (b"{", "body"),
        (b"null", "message"),
    ],
)
def test_a_batch_that_is_none_is_refused_as_a_whole(tenant_of_all, problem, body, field):
    problem(tenant_of_all.send(body, "/v1/events/batch"), 400, "INVALID_REQUEST", field=field)


@pytest.mark.parametrize(
    ("path", "body", "field", "mend"),
    [
        ("/v1/events/batch", {"batch": []}, "events", 'send {"events": [...]}'),
        ("/v1/events/batch", {"event_name": "E", "user_id": "u"}, "events", "is missing"),
        ("/v1/events/batch", {"events": [], "batch": []}, "batch", "not a field of a batch"),
        ("/v1/events/batch", {"events": [], "writeKey": "ak_x"}, "writeKey", "not a field of a"),
        ("/v1/batch", {"events": []}, "batch", 'send {"batch": [...]}'),
        ("/v1/events", {"event_name": "E", "user_id": "u", "writeKey": "k"}, "writeKey", "header"),
    ],
)
def test_the_fields_around_the_events_are_named(tenant_of_all, problem, path, body, field, mend):
    details = problem(tenant_of_all.send(body, path), 400, "INVALID_REQUEST", field=field)
    assert mend in details["issue"]


def test_of_a_field_that_comes_twice_the_last_counts(tenant):
    """As docs/api.md says; in properties it is refused."""
    tenant.sent(b'{"event_name":"First","event_name":"Last","user_id":"u"}')
    (event,) = tenant.events()
    assert event["event_name"] == "Last"


# --- single events that break a rule ---------------------------------------------------------


@pytest.mark.parametrize("path", ONE)
@pytest.mark.parametrize(
    ("body", "field", "mend"),
    [
        ({"user_id": "u"}, "event_name", "name what happened"),
        ({"event_name": "E"}, "user_id", "anonymous_id"),
        ({"event_name": 5, "user_id": "u"}, "event_name", "string"),
        ({"event_name": "E", "user_id": 5}, "user_id", "string"),
        ({"event_name": "E", "user_id": ""}, "user_id", "leave it out"),
        ({"event_name": "E", "user_id": "u", "propertys": {}}, "propertys", "into properties"),
        ({"event_name": "E", "user_id": "u", "properties": []}, "properties", "object"),
        ({"event_name": "E", "user_id": "u", "ip": "here"}, "ip", "IP address"),
        ({"event_name": "E", "user_id": "u", "timestamp": "now"}, "timestamp", "ISO 8601"),
        ([], "message", "object"),
    ],
)
def test_a_broken_rule_is_named_with_its_field_and_the_mend(
    tenant_of_all, problem, path, body, field, mend
):
    details = problem(tenant_of_all.send(body, path), 400, "INVALID_REQUEST", field=field)
    assert mend in details["issue"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/batch", "/v1/t"])
def test_events_are_sent_with_post(tenant_of_all, problem, method, path):
    answer = tenant_of_all.http.request(
        method, path, headers=tenant_of_all.bearer(tenant_of_all.write_key)
    )
    problem(answer, 405, "METHOD_NOT_ALLOWED")
    reads = "GET, HEAD, " if path == "/v1/events" else ""
    assert answer.headers["allow"] == f"{reads}OPTIONS, POST"


def test_a_slash_at_the_end_does_not_matter(tenant_of_all):
    assert tenant_of_all.send(EVENT, "/v1/events/").status_code == 202
    assert tenant_of_all.send({"batch": []}, "/v1/batch/").status_code == 200
