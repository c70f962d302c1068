"""Metrics of chosen persons: the values are those of the trend with the same criteria."""

import pytest

RANGE = {"from": "2026-03-28", "to": "2026-03-30"}
PRO = {"type": "trait", "trait": "plan", "operator": "equals", "value": "pro"}
SENT = (("ada", "open", 28), ("grace", "open", 28), ("ada", "open", 30), ("joan", "buy", 29))


@pytest.fixture(scope="module")
def shop(new_tenant):
    """Ada and Joan are pro; Ada and Grace open it, Joan buys."""
    tenant = new_tenant()
    events = [
        {"user_id": user, "event_name": name, "timestamp": f"2026-03-{day}T12:00:00Z"}
        for user, name, day in SENT
    ]
    assert tenant.send({"events": events}, "/v1/events/batch").is_success
    for user in ("ada", "joan"):
        tenant.send({"userId": user, "traits": {"plan": "pro"}}, "/v1/identify")
    tenant.ask("/v1/users", min_position=tenant.head())
    return tenant


def write(tenant, method, path, body=None):
    headers = tenant.bearer(tenant.secret_key)
    return tenant.http.request(method, f"/v1{path}", headers=headers, json=body)


def made(tenant, **definition):
    answer = write(tenant, "POST", "/metrics", {"name": "m", "definition": definition})
    assert answer.status_code == 201, answer.text
    return answer.json()["metric"]


def segment(tenant, **body):
    answer = write(tenant, "POST", "/segments", {"name": "s", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()["segment"]["segment_id"]


def values(tenant, metric, **asked):
    asked = {**RANGE, "min_position": tenant.head(), **asked}
    answer = tenant.ask(f"/v1/metrics/{metric['metric_id']}/values", **asked)
    return [one["value"] for one in answer["data"]["series"][0]["values"]]


def test_weekly_active_of_pro_users(shop):
    metric = made(shop, event="open", measure="weekly_active", criteria='plan = "pro"')
    assert metric["definition"]["criteria"] == PRO
    everybody = made(shop, event="open", measure="weekly_active")
    assert values(shop, everybody) == [2, 2, 2]
    assert values(shop, metric) == [1, 1, 1]
    asked = {**RANGE, "event": "open", "measure": "weekly_active", "criteria": PRO}
    trend = write(shop, "POST", "/analytics/trends", asked).json()["data"]["series"][0]
    assert [one["value"] for one in trend["values"]] == [1, 1, 1]


def test_each_metric_of_a_formula_has_its_own_persons(shop):
    openers = made(shop, event="open", measure="unique")
    pros = made(shop, event="open", measure="unique", criteria=PRO)
    named = {"pros": pros["metric_id"], "all": openers["metric_id"]}
    share = made(shop, formula="pros / all", metrics=named)
    assert values(shop, share) == [0.5, None, 1]


def test_persons_are_those_of_the_version_and_of_a_static_list(shop):
    listed = segment(shop)
    body = {"add": ["grace"]}
    assert write(shop, "POST", f"/segments/{listed}/members", body).is_success
    metric = made(shop, event="open", criteria=PRO)
    made_at = shop.head()
    changed = {"definition": {"event": "open", "segment": listed}}
    answer = write(shop, "PATCH", f"/metrics/{metric['metric_id']}", changed)
    assert answer.json()["metric"]["version"] == 2
    assert values(shop, metric) == [1, 0, 0]
    assert values(shop, metric, version=1) == [1, 0, 1]
    assert values(shop, metric, known_at=made_at) == [1, 0, 1]
    neither = {"definition": {"event": "open", "segment": listed, "criteria": PRO}}
    write(shop, "PATCH", f"/metrics/{metric['metric_id']}", neither)
    assert values(shop, metric) == [0, 0, 0]


def test_a_segment_that_a_metric_names_is_not_deleted(shop, problem):
    inner = segment(shop, criteria='plan = "pro"')
    metric = made(shop, event="open", criteria=f'in segment "{inner}"')
    refused = write(shop, "DELETE", f"/segments/{inner}")
    assert problem(refused, 409, "CONFLICT")["metrics"] == [metric["metric_id"]]
    assert values(shop, metric) == [1, 0, 1]
    path = f"/metrics/{metric['metric_id']}"
    assert write(shop, "PATCH", path, {"definition": {"event": "open"}}).is_success
    assert write(shop, "DELETE", f"/segments/{inner}").is_success
    asked = {**RANGE, "version": 1, "min_position": shop.head()}
    problem(shop.get(f"/v1{path}/values", **asked), 400, "INVALID_REQUEST", field="segment")


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"criteria": "did at"}, "definition.criteria"),
        ({"criteria": {"type": "all", "conditions": []}}, "definition.criteria"),
        ({"segment": ""}, "definition.segment"),
        ({"segment": "nobody"}, "definition.segment"),
        ({"criteria": 'in segment "nobody"'}, "definition.segment"),
        ({"formula": "a", "criteria": PRO}, "definition.criteria"),
        ({"formula": "a", "segment": "x"}, "definition.segment"),
    ],
)
def test_persons_that_can_not_be_meant_are_refused_by_the_field(shop, problem, definition, field):
    answer = write(shop, "POST", "/metrics", {"name": "m", "definition": definition})
    details = problem(answer, 400, "INVALID_REQUEST")
    assert details["field"].startswith(field)
