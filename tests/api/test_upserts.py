"""POST /v1/users, /v1/users/batch, and who is found afterwards."""

import pytest

ADA = {"user_id": "ada", "email": "ada@example.com", "traits": {"plan": "pro"}}


@pytest.fixture
def shown(tenant):
    """The traits of a person, once the read model has `position`."""

    def traits(user_id: str, position: int) -> dict:
        return tenant.ask(f"/v1/users/{user_id}", min_position=position)["user"]["traits"]

    return traits


def test_a_user_is_answered_with_our_name_the_callers_and_a_position(tenant, shown):
    answer = tenant.send(ADA, "/v1/users")
    assert answer.status_code == 202
    told = answer.json()
    assert set(told) == {
        *("success", "user_id", "external_id", "event_id", "position", "duplicate", "message"),
    }
    assert (told["user_id"], told["external_id"]) == ("usr_YWRh", "ada")
    assert told["event_id"].startswith("evt_")
    assert shown("ada", told["position"]) == {"email": "ada@example.com", "plan": "pro"}


def test_what_an_upsert_does_not_name_stays(tenant, shown):
    tenant.sent(ADA, "/v1/users")
    position = tenant.sent({"user_id": "ada", "traits": {"plan": "free"}}, "/v1/users")
    assert shown("ada", position) == {"email": "ada@example.com", "plan": "free"}


def test_operations_change_what_is_there(tenant, shown):
    first = {
        "traits": {"plan": "pro", "visits": 1, "tags": ["a"], "old": True},
        "set_once": {"plan": "never", "first_plan": "pro"},
        "append": {"seen": "docs"},
    }
    then = {
        "traits": {"plan": "team"},
        "set_once": {"first_plan": "team"},
        "increment": {"visits": 2, "credit": -0.5},
        "append": {"seen": "pricing"},
        "union": {"tags": ["a", "b"]},
        "unset": ["old", "never there"],
    }
    tenant.sent({"user_id": "ada", **first}, "/v1/users")
    position = tenant.sent({"user_id": "ada", "email": None, **then}, "/v1/users")
    assert shown("ada", position) == {
        "plan": "team",
        "first_plan": "pro",
        "visits": 3,
        "credit": -0.5,
        "seen": ["docs", "pricing"],
        "tags": ["a", "b"],
    }


def test_numbers_end_where_they_are_exact_and_a_union_has_one_kind_of_number(tenant, shown):
    first = {"traits": {"low": -(2**53), "scores": [1, "1", True]}, "increment": {"high": 2**53}}
    then = {
        "increment": {"low": -1, "high": 1.5},
        "union": {"scores": [1.0, "1", True, 2.0, 2, 0.5]},
    }
    tenant.sent({"user_id": "ada", **first}, "/v1/users")
    position = tenant.sent({"user_id": "ada", **then}, "/v1/users")
    assert shown("ada", position) == {
        "low": -(2**53),
        "high": 2**53,
        "scores": [1, "1", True, 2.0, 0.5],
    }


def test_what_was_said_earlier_by_its_timestamp_does_not_win(tenant, shown):
    new = {"timestamp": "2026-02-01T00:00:00Z", "traits": {"plan": "new"}}
    old = {"timestamp": "2026-01-01T00:00:00Z", "traits": {"plan": "old", "n": 1}}
    tenant.sent({"user_id": "ada", **new}, "/v1/users")
    position = tenant.sent({"user_id": "ada", **old}, "/v1/users")
    assert shown("ada", position) == {"plan": "new", "n": 1}


def test_sent_again_it_is_a_duplicate_and_with_other_content_a_conflict(tenant, problem):
    said = {**ADA, "message_id": "m", "increment": {"visits": 1}}
    first = tenant.send(said, "/v1/users").json()
    again = tenant.send({**said, "increment": {"visits": 1.0}}, "/v1/users")
    assert again.status_code == 202
    assert again.json() == {
        **first,
        "duplicate": True,
        "message": "known already, nothing was written",
    }
    details = {"event_id": first["event_id"], "position": first["position"]}
    for other in ({"increment": {"visits": 2}}, {"email": None}, {"user_id": "eve"}):
        problem(tenant.send({**said, **other}, "/v1/users"), 409, "CONFLICT", **details)


def test_a_user_that_is_refused_is_kept_and_can_be_replayed(tenant, problem):
    answer = tenant.send({**ADA, "phone": "030 901820"}, "/v1/users")
    details = problem(answer, 400, "INVALID_REQUEST", field="phone")
    (kept,) = tenant.ask("/v1/failed-events", min_position=tenant.head())["failed_events"]
    assert (kept["dialect"], kept["field"]) == ("users", "phone")
    headers = tenant.bearer(tenant.secret_key)
    again = tenant.http.post(f"/v1/failed-events/{kept['id']}/replay", headers=headers)
    assert problem(again, 400, "INVALID_REQUEST", field="phone") == details


def test_an_id_of_nobody_is_refused(tenant_of_all, problem):
    answer = tenant_of_all.send({**ADA, "user_id": "undefined"}, "/v1/users")
    details = problem(answer, 400, "INVALID_REQUEST", field="user_id")
    assert "nobody in particular" in details["issue"]


def test_a_batch_is_answered_user_by_user(tenant, shown):
    known = tenant.sent({**ADA, "message_id": "known"}, "/v1/users")
    users = [
        {**ADA, "message_id": "known"},
        {**ADA, "message_id": "known", "user_id": "eve"},
        {"user_id": "null"},
        {"user_id": "bob", "traits": {"n": 1}},
        "no object",
        {"user_id": "bob", "traits": {"n": 2}},
    ]
    answer = tenant.send({"users": users}, "/v1/users/batch")
    assert answer.status_code == 202
    told = answer.json()
    assert (told["processed_count"], told["rejected_count"]) == (3, 3)
    assert told["message"] == "3 of 6 users stored"
    results = told["results"]
    assert [r["status"] for r in results] == [
        *("duplicate", "conflict", "rejected", "accepted", "rejected", "accepted")
    ]
    assert results[0]["position"] == results[1]["position"] == known
    assert [r.get("field") for r in results] == [
        *(None, "message_id", "user_id", None, "message", None)
    ]
    assert shown("bob", results[-1]["position"]) == {"n": 2}


def test_of_many_without_times_in_one_batch_the_last_counts(tenant, shown):
    users = [{"user_id": "bob", "traits": {"n": n}} for n in range(500)]
    results = tenant.send({"users": users}, "/v1/users/batch").json()["results"]
    assert shown("bob", results[-1]["position"]) == {"n": 499}


def test_a_person_may_be_called_batch(tenant, shown):
    position = tenant.sent({"user_id": "batch", "traits": {"n": 1}}, "/v1/users")
    assert shown("batch", position) == {"n": 1}


def test_a_number_that_is_smaller_than_any_is_nothing_and_parks_nobody(tenant, shown):
    zeros = "0." + "0" * 20_000 + "1"
    body = '{"user_id": "ada", "traits": {"a": 1e-200000, "b": 1e-17000, "c": %s, "d": 1.5}}'
    position = tenant.sent((body % zeros).encode(), "/v1/users")
    assert shown("ada", position) == {"a": 0.0, "b": 0.0, "c": 0.0, "d": 1.5}
