"""POST /v1/analytics/funnels, from events to the answer; tests/analytics checks the computation."""

import pytest

DAY = "2026-03-28"
QUESTION = {
    "from": DAY,
    "to": DAY,
    "steps": [{"event": "view"}, {"event": "cart"}, {"event": "buy"}],
    "window": "2 hours",
}


@pytest.fixture(scope="module")
def shop(new_tenant):
    """Ada buys on her phone after an hour, Grace puts something in the cart, Joan only looks."""
    tenant = new_tenant()
    events = [
        ("ada", "view", "09:00"), ("ada", "cart", "09:30"), ("phone", "buy", "10:00"),
        ("grace", "view", "09:00"), ("grace", "cart", "10:59"), ("grace", "buy", "11:01"),
        ("joan", "view", "09:00"),
    ]  # fmt: skip
    batch = [
        {"user_id": who, "event_name": name, "timestamp": f"{DAY}T{at}:00Z",
         "properties": {"plan": "pro" if who == "ada" else "free"}}
        for who, name, at in events
    ]  # fmt: skip
    tenant.before = tenant.send({"events": batch}, "/v1/events/batch").json()["results"][-1]
    body = {"user_id": "ada", "alias_id": "phone", "force": True, "reason": "hers"}
    admin = tenant.bearer(tenant.issue("admin")["key"])
    linked = tenant.http.post("/v1/users/aliases", json=body, headers=admin)
    assert linked.status_code == 200, linked.text
    tenant.linked = linked.json()["position"]
    return tenant


@pytest.fixture(scope="module")
def ask(shop):
    def asked(**more):
        headers = shop.bearer(shop.secret_key)
        body = {**QUESTION, "min_position": shop.linked, **more}
        return shop.http.post("/v1/analytics/funnels", headers=headers, json=body)

    return asked


def persons(answer):
    assert answer.status_code == 200, answer.text
    return {
        one["label"]: [step["persons"] for step in one["steps"]]
        for one in answer.json()["data"]["series"]
    }


def test_an_answer_has_the_promised_shape(ask, shop):
    answer = ask(times=True).json()
    assert set(answer) == {
        *(
            "success",
            "data",
            "position",
            "lag_ms",
            "query_time_ms",
            "exact",
            "complete",
            "previous",
        ),
    }
    assert answer["position"] >= shop.linked
    assert answer["complete"] is True
    (series,) = answer["data"]["series"]
    assert (series["label"], series["kind"], series["value"]) == ("$all", "all", None)
    assert series["steps"][0] == {
        "step": 1, "event": "view", "persons": 3, "rate": 1.0, "rate_of_previous": 1.0,
        "times": None,
    }  # fmt: skip
    assert series["steps"][1]["persons"] == 2
    assert series["steps"][2] == {
        "step": 3, "event": "buy", "persons": 1, "rate": 0.333333, "rate_of_previous": 0.5,
        "times": {"median": 3600.0, "average": 3600.0, "p90": 3600.0},
    }  # fmt: skip


def test_ids_of_one_person_are_one_and_were_two(ask, shop):
    assert persons(ask()) == {"$all": [3, 2, 1]}
    then = shop.before["position"]
    assert persons(ask(known_at=then, min_position=None)) == {"$all": [3, 2, 0]}
    assert persons(ask(as_of=f"{DAY}T09:45:00Z")) == {"$all": [3, 1, 0]}


def test_it_is_broken_down_and_filtered(ask):
    broken_down = {"free": [2, 1, 0], "pro": [1, 1, 1]}
    assert persons(ask(breakdown={"property": "plan"})) == broken_down
    where = [{"property": "plan", "operator": "equals", "value": "pro"}]
    assert persons(ask(where=where)) == {"$all": [1, 1, 0]}


def test_nobody_is_an_answer_too(ask):
    answer = ask(steps=[{"event": "none"}, {"event": "buy"}]).json()
    (series,) = answer["data"]["series"]
    assert [(step["persons"], step["rate"]) for step in series["steps"]] == [(0, None), (0, None)]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"steps": [{"event": "view"}]}, "steps"),
        ({"steps": [{"evnt": "view"}, {"event": "buy"}]}, "steps[0].evnt"),
        ({"order": "some"}, "order"),
        ({"window": "2 fortnights"}, "window"),
        ({"exclusion": []}, "exclusion"),
    ],
)
def test_what_is_wrong_is_named(ask, problem, more, field):
    problem(ask(**more), 400, "INVALID_REQUEST", field=field)


def test_another_tenant_sees_nothing_of_it(tenant):
    headers = tenant.bearer(tenant.secret_key)
    answer = tenant.http.post("/v1/analytics/funnels", headers=headers, json=QUESTION)
    assert persons(answer) == {"$all": [0, 0, 0]}
