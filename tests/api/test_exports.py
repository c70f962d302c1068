"""Everything that is kept of a person, as JSON lines."""

import json

import pytest


@pytest.fixture
def exported(tenant):
    def ask(user_id: str, **given: object) -> list[dict]:
        given = {"min_position": tenant.head(), **given}
        answer = tenant.get(f"/v1/users/{user_id}/export", **given)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in answer.text.splitlines()]

    return ask


def test_an_export_has_profile_ids_links_traits_and_all_events(tenant, exported):
    for n in range(1200):
        if n % 400 == 0:
            batch = [
                {"event_name": "bought", "user_id": "ada", "properties": {"n": n + i}}
                for i in range(400)
            ]
            tenant.send({"events": batch}, "/v1/events/batch")
    tenant.send({"user_id": "bob", "event_name": "mine", "anonymous_id": "browser"})
    said = {"userId": "ada", "anonymousId": "browser", "traits": {"name": "Ada", "plan": "pro"}}
    tenant.send(said, "/v1/identify", **{"User-Agent": "curl/8"})
    tenant.send({"userId": "ada", "groupId": "acme", "traits": {"size": 3}}, "/v1/group")
    tenant.send({"event_name": 5, "user_id": "ada"})
    lines = exported("browser")
    kinds = [line["type"] for line in lines]
    assert kinds == sorted(kinds, key=["profile", "id", "link", "trait", "event"].index)
    assert lines[0]["traits"] == {"name": "Ada", "plan": "pro"}
    assert {line["distinct_id"] for line in lines if line["type"] == "id"} == {"ada", "browser"}
    assert [line["ids"] for line in lines if line["type"] == "link"] == [["ada", "browser"]]
    assert {line["trait"] for line in lines if line["type"] == "trait"} == {"name", "plan"}
    events = [line for line in lines if line["type"] == "event"]
    bought = [line["data"]["properties"]["n"] for line in events if line["topic"] == "tracked.v1"]
    assert bought == list(range(1200))
    others = [line["topic"] for line in events if line["topic"] != "tracked.v1"]
    assert others == ["identified.v1", "grouped.v1", "refused.v1"]
    assert events[1200]["data"]["client"]["user_agent"] == "curl/8"
    positions = [line["position"] for line in events]
    assert positions == sorted(positions)


def test_nobody_has_no_export(tenant, problem):
    problem(tenant.get("/v1/users/nobody/export"), 404, "NOT_FOUND")


def test_a_write_key_may_not(tenant, problem):
    headers = tenant.bearer(tenant.write_key)
    answer = tenant.http.get("/v1/users/x/export", headers=headers)
    problem(answer, 403, "INSUFFICIENT_PERMISSIONS")
