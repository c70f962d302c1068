"""Versions of a product over HTTP, and what came of one."""

from datetime import date, timedelta

import pytest

RELEASED = date(2026, 3, 11)


@pytest.fixture(scope="module")
def shop(new_tenant):
    """Two orders on each day of two weeks before, and three on each day after the release, whose
    own day has none.
    """
    tenant = new_tenant()
    events = [
        {"user_id": f"user-{n}", "event_name": "order", "timestamp": f"{day}T12:00:00Z"}
        for offset in range(-14, 15)
        for day in [RELEASED + timedelta(days=offset)]
        for n in range(0 if offset == 0 else 2 if offset < 0 else 3)
    ]
    assert tenant.send({"events": events}, "/v1/events/batch").is_success
    tenant.ask("/v1/events", min_position=tenant.head())
    return tenant


def write(tenant, method, path, body=None):
    headers = tenant.bearer(tenant.secret_key)
    return tenant.http.request(method, path, headers=headers, json=body)


def made(tenant, path, body):
    answer = write(tenant, "POST", path, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def orders(shop):
    body = {"name": "orders", "definition": {"event": "order"}}
    return made(shop, "/v1/metrics", body)["metric"]["metric_id"]


@pytest.fixture(scope="module")
def release(shop):
    body = {"version": "2.4.0", "released_at": f"{RELEASED}T09:30:00Z", "release_notes": "Faster"}
    return made(shop, "/v1/versions", body)["version"]


def test_the_days_after_are_told_beside_the_days_before(shop, orders, release):
    path = f"/v1/versions/{release['version_id']}/impact"
    answer = shop.ask(path, metric=orders, days=14, min_position=shop.head())
    assert [one["value"] for one in answer["before"]] == [2] * 14
    assert [one["value"] for one in answer["after"]] == [3] * 14
    assert answer["before"][0]["day"] == "2026-02-25"
    assert answer["after"][0]["day"] == "2026-03-12"
    impact = answer["impact"]
    assert (impact["pairs"], impact["mean_before"], impact["mean_after"]) == (14, 2, 3)
    assert impact["difference"] == {"value": 1, "low": 1, "high": 1}
    assert impact["relative"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert (impact["verdict"], answer["complete"]) == ("higher", True)


def test_as_of_a_day_after_it_there_is_not_enough_yet(shop, orders, release):
    path = f"/v1/versions/{release['version_id']}/impact"
    answer = shop.ask(path, metric=orders, days=7, as_of="2026-03-13", min_position=shop.head())
    assert [one["value"] for one in answer["after"]] == [3, 3, *[None] * 5]
    assert (answer["impact"]["pairs"], answer["complete"]) == (2, False)
    assert answer["impact"]["verdict"] == "not_enough_data"
    assert answer["before"][-1] == {"day": "2026-03-10", "value": 2}


def test_a_day_that_is_not_over_is_left_out(shop, orders):
    today = date.today()  # noqa: DTZ011  a day or two from it makes no difference here
    body = {"version": "next", "released_at": str(today - timedelta(days=3))}
    new = made(shop, "/v1/versions", body)["version"]
    path = f"/v1/versions/{new['version_id']}/impact"
    answer = shop.ask(path, metric=orders, days=7, min_position=shop.head())
    assert answer["complete"] is False
    assert answer["after"][-1]["value"] is None
    assert answer["impact"]["verdict"] == "not_enough_data"
    assert answer["impact"]["difference"] is None


def test_a_version_is_released_once(shop, release, problem):
    body = {"version": "2.4.0", "released_at": "2026-03-12"}
    problem(write(shop, "POST", "/v1/versions", body), 409, "CONFLICT")


def test_a_version_is_changed_deleted_and_comes_again(shop, problem):
    body = {"version": "3.0", "released_at": "2026-04-01"}
    new = made(shop, "/v1/versions", body)["version"]
    assert new["released_at"] == "2026-04-01T00:00:00Z"
    path = f"/v1/versions/{new['version_id']}"
    changed = write(shop, "PATCH", path, {"release_notes": "Round"}).json()["version"]
    assert changed == {**new, "release_notes": "Round"}
    gone = write(shop, "DELETE", path)
    assert gone.status_code == 200, gone.text
    problem(shop.get(path, min_position=gone.json()["position"]), 404, "NOT_FOUND")
    problem(write(shop, "PATCH", path, {"release_notes": "x"}), 404, "NOT_FOUND")
    again = made(shop, "/v1/versions", body)
    assert again["version"] == new
    found = shop.ask(path, min_position=again["position"])["version"]
    assert found == new


def test_versions_are_listed_the_last_first(new_tenant):
    tenant = new_tenant()
    for day in (3, 1, 2):
        made(tenant, "/v1/versions", {"version": f"v{day}", "released_at": f"2026-01-0{day}"})
    asked = {"limit": 2, "min_position": tenant.head()}
    first = tenant.ask("/v1/versions", **asked)
    assert [one["version"] for one in first["versions"]] == ["v3", "v2"]
    second = tenant.ask("/v1/versions", **asked, cursor=first["cursor"])
    assert [one["version"] for one in second["versions"]] == ["v1"]
    assert (first["count"], second["cursor"]) == (3, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"released_at": "2026-01-01"}, "version"),
        ({"version": "", "released_at": "2026-01-01"}, "version"),
        ({"version": "1"}, "released_at"),
        ({"version": "1", "released_at": "soon"}, "released_at"),
        (
            {"version": "1", "released_at": "2026-01-01", "release_notes": "x" * 2001},
            "release_notes",
        ),
    ],
)
def test_a_version_that_is_none_is_refused_with_the_field(tenant_of_all, problem, body, field):
    problem(write(tenant_of_all, "POST", "/v1/versions", body), 400, "INVALID_REQUEST", field=field)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"days": 10}, "days"),
        ({"days": 7, "timezone": "Mars"}, "timezone"),
        ({"metric": "x"}, "metric"),
    ],
)
def test_an_impact_of_a_wrong_question_is_refused(shop, orders, release, problem, asked, field):
    path = f"/v1/versions/{release['version_id']}/impact"
    problem(shop.get(path, **{"metric": orders, **asked}), 400, "INVALID_REQUEST", field=field)
