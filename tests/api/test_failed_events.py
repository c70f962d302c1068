"""Messages that were refused: kept with the reason, listed, and taken after all."""

import asyncio
import itertools
from datetime import UTC, datetime
from uuid import UUID

import pytest

from commands.ingest import Unjudged, refused, to_new_events
from domain.errors import Rejected
from domain.tracking import Client
from infrastructure.event_store.group_commit import GroupCommit

GOOD = {"event_name": "E", "user_id": "u"}


def failed(tenant, **asked: object) -> dict:
    """The answer that includes everything that was refused until now."""
    return tenant.ask("/v1/failed-events", min_position=tenant.head(), **asked)


@pytest.fixture
def refused_before(settings_in_force):
    """Puts a refusal on the log that an older rule made."""

    def put(tenant, body: bytes) -> None:
        async def append() -> None:
            database = settings_in_force["APPIZER_DATABASE_URL"]
            log = GroupCommit(database, queue_events=10, commit_events=10)
            log.start()
            now = datetime.now(UTC)
            message = Unjudged(body, "native", None, now, None, Client())
            refusal = refused(message, Rejected("event_name", "is not to our taste"))
            await log.append(to_new_events(UUID(tenant.app_id), [refusal]))
            await log.close()

        asyncio.run(append())

    return put


def test_what_was_refused_is_listed_with_the_reason(tenant):
    tenant.send({"event_name": "", "user_id": "u", "message_id": "m"})
    tenant.send({"events": [GOOD, {"user_id": "u"}]}, "/v1/events/batch")
    tenant.send({"batch": [{"type": "dance", "userId": "u"}]}, "/v1/batch")
    tenant.send(b'{"event":"\xff","userId":"u"}', "/v1/track")
    answer = failed(tenant)
    assert set(answer) == {
        *("success", "failed_events", "total", "before", "position", "lag_ms"),
    }
    assert (answer["total"], answer["before"]) == (4, None)
    listed = answer["failed_events"]
    assert set(listed[0]) == {
        *("id", "position", "received_at", "dialect", "kind", "field", "issue", "body"),
    }
    assert [(f["dialect"], f["kind"], f["field"]) for f in listed] == [
        ("segment", "track", "message"),
        ("segment", None, "type"),
        ("native", None, "event_name"),
        ("native", None, "event_name"),
    ]
    assert listed[0]["body"] == '{"event":"\ufffd","userId":"u"}'
    assert listed[2]["body"] == '{"user_id": "u"}'
    assert [event["event_name"] for event in tenant.events()] == ["E"]


def test_pages_of_failed_events_hold_each_once(tenant):
    events = [{"event_name": "E", "user_id": n} for n in range(25)]
    tenant.send({"events": events}, "/v1/events/batch")
    walked, before = [], {}
    for _ in itertools.count():
        answer = failed(tenant, limit=10, **before)
        walked += [one["position"] for one in answer["failed_events"]]
        if answer["before"] is None:
            break
        before = {"before": answer["before"]}
    assert len(walked) == answer["total"] == 25
    assert walked == sorted(set(walked), reverse=True)


def test_the_same_refusal_sent_again_is_kept_once(tenant):
    for _ in range(3):
        tenant.send({"event_name": "E", "user_id": 5})
    assert failed(tenant)["total"] == 1


def test_a_replay_by_the_same_rules_is_refused_again(tenant, problem):
    tenant.send({"event_name": "E", "user_id": 5})
    (one,) = failed(tenant)["failed_events"]
    for _ in range(2):
        answer = tenant.http.post(
            f"/v1/failed-events/{one['id']}/replay", headers=tenant.bearer(tenant.secret_key)
        )
        problem(answer, 400, "INVALID_REQUEST", field="user_id")
    assert failed(tenant)["total"] == 1
    assert tenant.events() == []


def test_a_replay_once_the_rule_allows_it_takes_the_message_once(tenant, refused_before):
    refused_before(tenant, b'{"event_name":"Late","user_id":"u","properties":{"a":1}}')
    (one,) = failed(tenant)["failed_events"]
    assert one["issue"] == "is not to our taste"
    url = f"/v1/failed-events/{one['id']}/replay"
    first, second = (
        tenant.http.post(url, headers=tenant.bearer(tenant.secret_key)).json() for _ in range(2)
    )
    assert first["success"] is True
    assert (first["outcome"]["status"], second["outcome"]["status"]) == ("accepted", "duplicate")
    assert first["outcome"]["position"] == second["outcome"]["position"]
    (found,) = tenant.events()
    assert found["event_id"] == first["outcome"]["event_id"]
    assert (found["event_name"], found["properties"]) == ("Late", {"a": 1})
    assert failed(tenant)["total"] == 0


def test_a_write_key_neither_lists_nor_replays(tenant, problem):
    headers = tenant.bearer(tenant.write_key)
    problem(tenant.http.get("/v1/failed-events", headers=headers), 403, "INSUFFICIENT_PERMISSIONS")
    path = "/v1/failed-events/00000000-0000-0000-0000-000000000000/replay"
    problem(tenant.http.post(path, headers=headers), 403, "INSUFFICIENT_PERMISSIONS")


@pytest.mark.parametrize("failed_id", ["00000000-0000-0000-0000-000000000000", "x", "%00"])
def test_a_failed_event_that_is_none_is_not_found(tenant_of_all, problem, failed_id):
    answer = tenant_of_all.http.post(
        f"/v1/failed-events/{failed_id}/replay",
        headers=tenant_of_all.bearer(tenant_of_all.secret_key),
    )
    problem(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 0), ("limit", 1001), ("before", -1), ("before", "x"), ("before", 10**30)],
)
def test_a_bad_parameter_of_the_list_is_named(tenant_of_all, problem, name, value):
    answer = tenant_of_all.get("/v1/failed-events", **{name: value})
    problem(answer, 400, "INVALID_REQUEST", field=name)
