"""Metrics over HTTP: their life, and their values beside a plain evaluation of what was sent."""

import csv
import io
from collections import defaultdict
from uuid import uuid4

import pytest

RANGE = {"from": "2026-03-28", "to": "2026-03-30", "timezone": "Europe/Berlin"}
SENT = [  # (user, event, day, amount, plan)
    ("ada", "visit", "03-28", None, "pro"),
    ("ada", "order", "03-28", 10.5, "pro"),
    ("grace", "visit", "03-28", None, "free"),
    ("grace", "visit", "03-29", None, "free"),
    ("ada", "visit", "03-29", None, "pro"),
    ("ada", "order", "03-29", 4, "pro"),
    ("ada", "order", "03-29", 6, "pro"),
    ("joan", "order", "03-30", 1, None),
]
DAYS = ("03-28", "03-29", "03-30")


@pytest.fixture(scope="module")
def shop(new_tenant):
    tenant = new_tenant()
    events = [
        {
            "user_id": user,
            "event_name": name,
            "timestamp": f"2026-{day}T12:00:00Z",
            "properties": {
                **({} if amount is None else {"amount": amount}),
                **({} if plan is None else {"plan": plan}),
            },
        }
        for user, name, day, amount, plan in SENT
    ]
    sent = tenant.send({"events": events}, "/v1/events/batch")
    assert sent.status_code == 207 or sent.is_success
    tenant.ask("/v1/events", min_position=tenant.head())
    return tenant


@pytest.fixture(scope="module")
def metrics(shop):
    """Name -> id."""

    def made(name, **definition):
        return made_of(shop, name, definition)["metric_id"]

    visits = made("visits", event="visit")
    orders = made("orders", event="order")
    revenue = made("revenue", event="order", measure="sum", property="amount")
    buyers = made("buyers", event="order", measure="unique")
    found = {"visits": visits, "orders": orders, "revenue": revenue, "buyers": buyers}
    found["rate"] = made(
        "rate", formula="orders / visits * 100", metrics={"orders": orders, "visits": visits}
    )
    found["each"] = made("each", formula="r / b", metrics={"r": revenue, "b": buyers})
    found["nested"] = made(
        "nested", formula="rate + 2 * each", metrics={"rate": found["rate"], "each": found["each"]}
    )
    return found


def write(tenant, method, path, body=None):
    headers = tenant.bearer(tenant.secret_key)
    return tenant.http.request(method, f"/v1/metrics{path}", headers=headers, json=body)


def made_of(tenant, name, definition, **more):
    answer = write(tenant, "POST", "", {"name": name, "definition": definition, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["metric"]


def values(tenant, metric_id, **asked):
    asked = {**RANGE, "min_position": tenant.head(), **asked}
    return tenant.ask(f"/v1/metrics/{metric_id}/values", **asked)


def shown(answer):
    return {
        one["label"]: [value["value"] for value in one["values"]]
        for one in answer["data"]["series"]
    }


def plain(select):
    """By day: what `select` makes of that day's rows."""
    by_day = defaultdict(list)
    for row in SENT:
        by_day[row[2]].append(row)
    return [select(by_day[day]) for day in DAYS]


def count(rows, name):
    return sum(row[1] == name for row in rows)


def test_what_is_measured_is_what_trends_measure(shop, metrics):
    assert shown(values(shop, metrics["visits"])) == {"visit": plain(lambda r: count(r, "visit"))}
    total = plain(lambda rows: sum(row[3] or 0 for row in rows if row[1] == "order"))
    assert shown(values(shop, metrics["revenue"])) == {"order": total}


def test_a_formula_is_reckoned_day_by_day(shop, metrics):
    def rate(rows):
        visits = count(rows, "visit")
        return count(rows, "order") / visits * 100 if visits else None

    def each(rows):
        buyers = {row[0] for row in rows if row[1] == "order"}
        return sum(row[3] for row in rows if row[1] == "order") / len(buyers) if buyers else None

    assert (
        shown(values(shop, metrics["rate"])) == {"rate": plain(rate)} == {"rate": [50, 100, None]}
    )
    assert shown(values(shop, metrics["each"])) == {"each": plain(each)}
    answer = values(shop, metrics["nested"])
    assert shown(answer) == {"nested": [50 + 2 * 10.5, 100 + 2 * 10, None]}
    assert answer["metric"]["name"] == "nested"
    assert {one["name"] for one in answer["metrics"]} == set(metrics) - {"nested"}
    (series,) = answer["data"]["series"]
    assert series["total"] == pytest.approx(4 / 4 * 100 + 2 * 21.5 / 2)


def test_a_formula_is_broken_down_value_by_value(shop, metrics):
    answer = values(shop, metrics["rate"], breakdown="plan")
    assert shown(answer) == {
        "pro": [100, 200, None],
        "free": [0, 0, None],
        "$none": [None, None, None],
    }
    kinds = {one["label"]: (one["kind"], one["value"]) for one in answer["data"]["series"]}
    assert kinds == {"pro": ("value", "pro"), "free": ("value", "free"), "$none": ("none", None)}
    first = values(shop, metrics["rate"], breakdown="plan", breakdown_limit=1)
    assert list(shown(first)) == ["pro"]


def test_values_are_compared_and_told_as_a_table(shop, metrics):
    week = values(shop, metrics["orders"], **{"from": "2026-03-29", "to": "2026-03-30"})
    answer = values(shop, metrics["orders"], compare="previous", **{"from": "2026-03-30"})
    assert shown({"data": answer["previous"]}) == {"order": [2]}
    assert shown(answer) == {"order": [1]}
    assert shown(week) == {"order": [2, 1]}
    asked = {**RANGE, "format": "csv"}
    table = shop.get(f"/v1/metrics/{metrics['orders']}/values", **asked)
    assert table.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["value"] for row in rows] == ["1", "2", "1"]


def test_a_definition_that_changes_has_versions(shop):
    metric = made_of(shop, "changing", {"event": "visit"}, description="as it was")
    made_at = shop.head()
    change = {"definition": {"event": "order"}, "version": 1}
    changed = write(shop, "PATCH", f"/{metric['metric_id']}", change)
    assert changed.status_code == 200, changed.text
    found = changed.json()["metric"]
    assert (found["version"], found["name"], found["description"]) == (2, "changing", "as it was")
    assert found["created_at"] == metric["created_at"] < found["updated_at"]
    now = values(shop, metric["metric_id"])
    before = values(shop, metric["metric_id"], version=1)
    then = values(shop, metric["metric_id"], known_at=made_at)
    assert shown(now) == {"order": [1, 2, 1]}
    assert shown(before) == shown(then) == {"visit": [2, 2, 0]}
    assert [one["metric"]["version"] for one in (now, before, then)] == [2, 1, 1]
    old = shop.ask(f"/v1/metrics/{metric['metric_id']}", known_at=made_at)["metric"]
    assert (old["version"], old["definition"]) == (1, {"event": "visit"})


def test_a_change_of_another_version_is_a_conflict(shop, problem):
    metric = made_of(shop, "twice", {})
    path = f"/{metric['metric_id']}"
    assert write(shop, "PATCH", path, {"name": "once", "version": 1}).status_code == 200
    problem(write(shop, "PATCH", path, {"name": "late", "version": 1}), 409, "CONFLICT", version=2)


def test_a_deleted_metric_stays_in_the_past(shop, problem):
    metric = made_of(shop, "passing", {"event": "visit"})
    made_at = shop.head()
    path = f"/{metric['metric_id']}"
    gone = write(shop, "DELETE", path)
    assert gone.status_code == 200, gone.text
    asked = {"min_position": gone.json()["position"]}
    problem(shop.get(f"/v1/metrics{path}", **asked), 404, "NOT_FOUND")
    problem(shop.get(f"/v1/metrics{path}/values", **RANGE, **asked), 404, "NOT_FOUND")
    problem(write(shop, "DELETE", path), 404, "NOT_FOUND")
    problem(write(shop, "PATCH", path, {"name": "back"}), 404, "NOT_FOUND")
    then = values(shop, metric["metric_id"], known_at=made_at)
    assert shown(then) == {"visit": [2, 2, 0]}


def test_what_a_formula_names_is_not_deleted(shop, metrics, problem):
    shop.ask("/v1/metrics", min_position=shop.head())
    details = problem(write(shop, "DELETE", f"/{metrics['rate']}"), 409, "CONFLICT")
    assert details["metrics"] == [metrics["nested"]]


def test_a_formula_that_would_name_itself_is_refused(shop, metrics, problem):
    change = {"definition": {"formula": "n + 1", "metrics": {"n": metrics["nested"]}}}
    answer = write(shop, "PATCH", f"/{metrics['rate']}", change)
    field = "definition.metrics.n.metrics.rate"
    problem(answer, 400, "INVALID_REQUEST", field=field)


def test_metrics_are_listed_by_name_page_by_page(new_tenant):
    tenant = new_tenant()
    for name in ("Beta", "alpha", "Gamma rate", "delta RATE"):
        made_of(tenant, name, {})
    asked = {"limit": 3, "min_position": tenant.head()}
    first = tenant.ask("/v1/metrics", **asked)
    assert [one["name"] for one in first["metrics"]] == ["Beta", "Gamma rate", "alpha"]
    second = tenant.ask("/v1/metrics", **asked, cursor=first["cursor"])
    assert [one["name"] for one in second["metrics"]] == ["delta RATE"]
    assert (first["count"], second["cursor"]) == (4, None)
    found = tenant.ask("/v1/metrics", search="rate")
    assert [one["name"] for one in found["metrics"]] == ["Gamma rate", "delta RATE"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"definition": {}}, "name"),
        ({"name": " ", "definition": {}}, "name"),
        ({"name": "m"}, "definition"),
        ({"name": "m", "definition": {"measure": "mode"}}, "definition.measure"),
        ({"name": "m", "definition": {"measure": "sum"}}, "definition.property"),
        ({"name": "m", "definition": {"property": "p"}}, "definition.property"),
        ({"name": "m", "definition": {"event": ""}}, "definition.event"),
        ({"name": "m", "definition": {"metrics": {"a": str(uuid4())}}}, "definition.metrics"),
        ({"name": "m", "definition": {"formula": "1 +"}}, "definition.formula"),
        ({"name": "m", "definition": {"formula": "1"}}, "definition.formula"),
        ({"name": "m", "definition": {"formula": "a"}}, "definition.metrics.a"),
        ({"name": "m", "definition": {"formula": "a", "event": "e"}}, "definition.event"),
        (
            {"name": "m", "definition": {"formula": "a", "metrics": {"a": str(uuid4())}}},
            "definition.metrics.a",
        ),
        ({"name": "m", "definition": {}, "description": "x" * 2001}, "description"),
    ],
)
def test_a_metric_that_is_none_is_refused_with_the_field(tenant_of_all, problem, body, field):
    problem(write(tenant_of_all, "POST", "", body), 400, "INVALID_REQUEST", field=field)


def test_a_change_of_nothing_is_refused(shop, metrics, problem):
    answer = write(shop, "PATCH", f"/{metrics['visits']}", {})
    problem(answer, 400, "INVALID_REQUEST", field="body")


def test_another_apps_metric_is_none(shop, metrics, tenant_of_all, problem):
    definition = {"formula": "a", "metrics": {"a": metrics["visits"]}}
    answer = write(tenant_of_all, "POST", "", {"name": "theirs", "definition": definition})
    problem(answer, 400, "INVALID_REQUEST", field="definition.metrics.a")
    problem(write(tenant_of_all, "PATCH", f"/{metrics['visits']}", {"name": "x"}), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"to": "2026-01-31"}, "from"),
        ({**RANGE, "interval": "minute"}, "interval"),
        ({**RANGE, "breakdown": "plan", "breakdown_limit": 0}, "breakdown.limit"),
        ({**RANGE, "breakdown_limit": 5}, "breakdown_limit"),
        ({**RANGE, "timezone": "Mars"}, "timezone"),
    ],
)
def test_values_of_a_wrong_question_are_refused(shop, metrics, problem, asked, field):
    answer = shop.get(f"/v1/metrics/{metrics['visits']}/values", **asked)
    problem(answer, 400, "INVALID_REQUEST", field=field)
