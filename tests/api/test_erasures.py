"""Asking for a person to be erased, and what becomes of their ids. What is erased: tests/erasure and
test_erased_people.py.
"""

import itertools
import time

import pytest

NOBODY = "00000000-0000-4000-8000-000000000000"
_names = itertools.count(1)


@pytest.fixture
def erase(tenant):
    """DELETE with an admin's key; the person's events are in the read models."""
    admin = tenant.issue("admin")["key"]

    def ask(user_id: str, key: str = admin, **given: object):
        parameters = {"min_position": tenant.head(), **given}
        address = f"/v1/users/{user_id}"
        return tenant.http.delete(address, headers=tenant.bearer(key), params=parameters)

    return ask


@pytest.fixture
def ada(tenant) -> str:
    """An id of a person with two."""
    name = f"ada-{next(_names)}"
    tenant.sent({"event_name": "bought", "user_id": name})
    body = {"userId": name, "anonymousId": f"browser-of-{name}", "traits": {"a": 1}}
    assert tenant.send(body, "/v1/identify").status_code == 200
    return name


def refused_soon(tenant, body: dict) -> dict:
    """The refusal, which comes within seconds where the machine is not slow."""
    deadline = time.monotonic() + 90
    while (answer := tenant.send(body)).status_code != 400:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer.json()["details"]


def test_a_request_says_what_will_be_done(tenant, erase, ada):
    answer = erase(ada, reason="asked for by letter")
    assert answer.status_code == 202, answer.text
    shown = answer.json()["erasure"]
    assert [step["step"] for step in shown["steps"]] == [
        *("freeze", "log", "analytics", "feed", "clean", "files")
    ]
    assert (shown["status"], shown["reason"]) == ("running", "asked for by letter")
    again = tenant.ask(f"/v1/erasures/{shown['erasure_id']}")["erasure"]
    assert again["requested_at"] == shown["requested_at"]
    listed = tenant.ask("/v1/erasures")
    assert [one["erasure_id"] for one in listed["erasures"]] == [shown["erasure_id"]]
    assert listed["pagination"]["total"] == 1


def test_asking_again_by_any_id_is_the_same_erasure(erase, ada):
    first = erase(ada).json()["erasure"]["erasure_id"]
    assert erase(f"browser-of-{ada}").json()["erasure"]["erasure_id"] == first


def test_only_an_admin_may(tenant, erase, ada, problem):
    for key in (tenant.secret_key, tenant.write_key):
        problem(erase(ada, key), 403, "INSUFFICIENT_PERMISSIONS")


def test_nobody_can_not_be_erased(erase, tenant, problem):
    problem(erase("nobody"), 404, "NOT_FOUND")
    tenant.send({"event_name": "E", "user_id": "undefined"})
    problem(erase("undefined"), 400, "INVALID_REQUEST", field="user_id")
    problem(tenant.get(f"/v1/erasures/{NOBODY}"), 404, "NOT_FOUND")


def test_a_reason_in_the_body_is_not_lost_in_silence(tenant, ada, problem):
    headers = tenant.bearer(tenant.issue("admin")["key"])
    body = b'{"reason": "by letter"}'
    answer = tenant.http.request("DELETE", f"/v1/users/{ada}", headers=headers, content=body)
    assert "?reason=" in problem(answer, 400, "INVALID_REQUEST", field="body")["issue"]


def test_a_reason_does_not_name_the_person(erase, ada, problem):
    problem(erase(ada, reason=f"{ada} wrote"), 400, "INVALID_REQUEST", field="reason")
    problem(erase(ada, reason="x" * 301), 400, "INVALID_REQUEST")


def test_events_of_erased_ids_are_refused_and_not_kept(tenant, erase, ada):
    erase(ada)
    details = refused_soon(tenant, {"event_name": "late", "user_id": ada})
    assert details["field"] == "user_id"
    assert "was erased" in details["issue"]
    taken = tenant.events()
    by_browser = {"event_name": "late", "user_id": "bob", "anonymous_id": f"browser-of-{ada}"}
    assert tenant.send(by_browser).json()["details"]["field"] == "anonymous_id"
    assert tenant.send({"user_id": ada, "no": "name"}).status_code == 400
    alias = {"userId": "bob", "previousId": ada}
    tenant.send(alias, "/v1/alias")
    assert tenant.ask("/v1/failed-events", min_position=tenant.head())["total"] == 0
    assert len(tenant.events()) == len(taken)


def test_others_of_a_batch_are_taken(tenant, erase, ada):
    erase(ada)
    refused_soon(tenant, {"event_name": "late", "user_id": ada})
    batch = [{"event_name": "n", "user_id": name} for name in ("bob", ada, "eve")]
    answer = tenant.send({"events": batch}, "/v1/events/batch").json()
    found = [(one["status"], one.get("position") is None) for one in answer["results"]]
    assert found == [("accepted", False), ("rejected", True), ("accepted", False)]
    assert [one["index"] for one in answer["results"]] == [0, 1, 2]


def test_the_same_id_in_another_app_goes_on(tenant, erase, ada, new_tenant):
    erase(ada)
    refused_soon(tenant, {"event_name": "late", "user_id": ada})
    new_tenant().sent({"event_name": "mine", "user_id": ada})
