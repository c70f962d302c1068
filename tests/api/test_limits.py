"""Each limit on what may enter: the largest that passes, the smallest that does not, and the mend."""

import gzip
import json

import pytest

from domain import limits

FRAME = len(b'{"event_name":"E","user_id":"u","properties":{"a":""}}')


def event(**fields: object) -> dict:
    return {"event_name": "E", "user_id": "u", **fields}


def nested(depth: int) -> dict:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


GOOD = [
    event(event_name="x" * limits.MAX_NAME_CHARS),
    event(user_id="x" * limits.MAX_ID_CHARS),
    event(user_id="日" * limits.MAX_ID_CHARS),
    event(anonymous_id="x" * limits.MAX_ID_CHARS),
    event(message_id="x" * limits.MAX_ID_CHARS),
    event(properties=nested(limits.MAX_DEPTH)),
    event(properties={f"k{i}": i for i in range(limits.MAX_KEYS)}),
    event(properties={"k" * limits.MAX_KEY_CHARS: 1}),
    event(properties={"n": limits.MAX_NUMBER, "m": -limits.MAX_NUMBER}),
    event(timestamp="2000-01-01T00:00:00Z"),
    event(properties={"a": "x" * (limits.MAX_EVENT_BYTES - FRAME)}),
]
BAD = [
    (event(event_name="x" * (limits.MAX_NAME_CHARS + 1)), "event_name", "100 characters"),
    (event(user_id="x" * (limits.MAX_ID_CHARS + 1)), "user_id", "200 characters"),
    (event(anonymous_id="x" * (limits.MAX_ID_CHARS + 1)), "anonymous_id", "200 characters"),
    (event(message_id="x" * (limits.MAX_ID_CHARS + 1)), "message_id", "200 characters"),
    (event(properties=nested(limits.MAX_DEPTH + 1)), "properties", "20 levels; flatten"),
    (event(context=nested(limits.MAX_DEPTH + 1)), "context", "20 levels; flatten"),
    (event(properties={f"k{i}": i for i in range(201)}), "properties", "200 keys"),
    (event(properties={"a": {f"k{i}": i for i in range(200)}}), "properties", "200 keys"),
    (event(properties={"k" * 256: 1}), "properties", "255 characters"),
    (event(properties={"n": limits.MAX_NUMBER + 1}), "properties.n", "as a string"),
    (event(properties={"a": [{"n": -limits.MAX_NUMBER - 1}]}), "properties.a[0].n", "as a string"),
    (event(timestamp="1999-12-31T23:59:59Z"), "timestamp", "2000"),
    (event(timestamp="2099-01-01T00:00:00Z"), "timestamp", "24 hours"),
    (event(timestamp="2100-01-01T00:00:00Z"), "timestamp", "2100"),
    (event(properties={"a": "x" * (limits.MAX_EVENT_BYTES - FRAME + 1)}), "message", "32768"),
]


def compact(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("body", GOOD, ids=",".join)
def test_what_reaches_a_limit_is_kept_whole(tenant, body):
    assert tenant.send(compact(body)).status_code == 202
    (found,) = tenant.events()
    for name in ("event_name", "user_id", "anonymous_id", "properties"):
        assert found[name] == body.get(name, {} if name == "properties" else None)


@pytest.mark.parametrize(("body", "field", "mend"), BAD, ids=[f"{b[1]} {b[2]}" for b in BAD])
def test_what_is_beyond_a_limit_is_refused_with_field_and_mend(
    tenant_of_all, problem, body, field, mend
):
    details = problem(tenant_of_all.send(compact(body)), 400, "INVALID_REQUEST", field=field)
    assert mend in details["issue"]


def test_in_a_batch_only_the_event_beyond_the_limit_is_refused(tenant):
    bad = [body for body, _, _ in BAD]
    answer = tenant.send(compact({"events": [*bad, *GOOD]}), "/v1/events/batch")
    assert answer.status_code == 202
    results = answer.json()["results"]
    assert [r["status"] for r in results] == ["rejected"] * len(BAD) + ["accepted"] * len(GOOD)
    assert [r["field"] for r in results[: len(BAD)]] == [field for _, field, _ in BAD]
    assert len(tenant.events()) == len(GOOD)


@pytest.mark.parametrize(("path", "name"), [("/v1/events/batch", "events"), ("/v1/batch", "batch")])
def test_a_request_has_at_most_500_events(tenant_of_all, problem, path, name):
    events = [{"type": "track", "event": "E", "userId": "u"}] * 501
    if name == "events":
        events = [event()] * 501
    problem(tenant_of_all.send({name: events}, path), 413, "REQUEST_TOO_LARGE", limit_events=500)
    assert tenant_of_all.send({name: events[:500]}, path).is_success


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch", "/v1/batch", "/v1/track"])
def test_a_request_has_at_most_4_mb(tenant_of_all, problem, path):
    body = b" " * (limits.MAX_REQUEST_BYTES + 1)
    problem(tenant_of_all.send(body, path), 413, "REQUEST_TOO_LARGE", limit_bytes=4 * 1024 * 1024)
    packed = gzip.compress(body)
    problem(tenant_of_all.send(packed, path), 413, "REQUEST_TOO_LARGE", limit_bytes=4 * 1024 * 1024)


def test_a_request_of_just_4_mb_is_taken(tenant_of_all):
    events = compact({"events": [event(properties={"a": "x" * 8000})] * 499})
    body = events + b" " * (limits.MAX_REQUEST_BYTES - len(events))
    assert tenant_of_all.send(body, "/v1/events/batch").json()["processed_count"] == 499


def test_the_readable_applications_have_the_same_limit(tenant_of_all, problem):
    headers = tenant_of_all.bearer(tenant_of_all.secret_key)
    body = b" " * (limits.MAX_REQUEST_BYTES + 1)
    answer = tenant_of_all.http.post("/v1/analytics/trends", content=body, headers=headers)
    problem(answer, 413, "REQUEST_TOO_LARGE", limit_bytes=limits.MAX_REQUEST_BYTES)
    headers = tenant_of_all.bearer(tenant_of_all.org_key)
    answer = tenant_of_all.http.post("/v1/apps", content=body, headers=headers)
    problem(answer, 413, "REQUEST_TOO_LARGE", limit_bytes=limits.MAX_REQUEST_BYTES)
