"""Apps and their keys, for the organisation that owns them."""

from uuid import UUID

import pytest

APP = {"id", "organisation_id", "name", "timezone", "authorized_domains", "created_at"}
APP |= {"data_retention_days"}
NOBODY = "00000000-0000-0000-0000-000000000000"
DEEP = b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.fixture
def org(tenant_of_all):
    return tenant_of_all.bearer(tenant_of_all.org_key)


def test_an_app_is_made_shown_and_listed(http, org):
    wanted = {
        "name": " Shop ",
        "timezone": "Europe/Berlin",
        "authorized_domains": ["Shop.example"],
        "data_retention_days": 30,
    }
    answer = http.post("/v1/apps", headers=org, json=wanted)
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {"success", "app", "position"}
    app = made["app"]
    assert set(app) == APP
    assert (app["name"], app["timezone"]) == ("Shop", "Europe/Berlin")
    assert (app["authorized_domains"], app["data_retention_days"]) == (["shop.example"], 30)
    shown = http.get(f"/v1/apps/{app['id']}", headers=org).json()
    assert shown["app"] == app
    assert shown["position"] >= made["position"]
    total = http.get("/v1/apps", headers=org).json()["pagination"]["total"]
    last = http.get("/v1/apps", headers=org, params={"offset": total - 1}).json()
    assert last["apps"] == [app]


def test_defaults_are_utc_a_year_and_any_origin(http, org):
    app = http.post("/v1/apps", headers=org, json={"name": "Plain"}).json()["app"]
    assert (app["timezone"], app["data_retention_days"]) == ("UTC", 365)
    assert app["authorized_domains"] == []


def test_pages_of_apps_hold_each_once(http, org, new_tenant):
    for _ in range(3):
        new_tenant()
    walked, offset = [], 0
    while True:
        answer = http.get("/v1/apps", headers=org, params={"limit": 2, "offset": offset}).json()
        assert set(answer) == {"success", "apps", "pagination", "position", "lag_ms"}
        assert set(answer["pagination"]) == {"limit", "offset", "total", "has_more"}
        walked += [app["id"] for app in answer["apps"]]
        offset += 2
        if not answer["pagination"]["has_more"]:
            break
    assert len(walked) == len(set(walked)) == answer["pagination"]["total"]


def test_a_key_is_shown_once_and_recognised_later(tenant):
    issued = tenant.issue("write", label=" web site ")
    assert set(issued) == {"success", "key_id", "key", "kind", "position", "usable"}
    assert issued["key"].startswith("ak_")
    assert tenant.secret_key.startswith("as_")
    answer = tenant.http.get(
        f"/v1/apps/{tenant.app_id}/keys", headers=tenant.bearer(tenant.org_key)
    )
    assert answer.status_code == 200
    keys = answer.json()["keys"]
    assert [key["kind"] for key in keys] == ["write", "secret", "write"]
    assert set(keys[2]) == {
        *("key_id", "app_id", "kind", "last_four", "label", "issued_at", "revoked"),
    }
    assert keys[2]["key_id"] == issued["key_id"]
    assert keys[2]["last_four"] == issued["key"][-4:]
    assert (keys[2]["label"], keys[2]["revoked"]) == ("web site", False)
    for key in (issued["key"], tenant.write_key, tenant.secret_key):
        assert key not in answer.text


def test_a_key_is_revoked_once(tenant, problem):
    issued = tenant.issue("write")
    url = f"/v1/apps/{tenant.app_id}/keys/{issued['key_id']}"
    headers = tenant.bearer(tenant.org_key)
    answer = tenant.http.delete(url, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["position"] > issued["position"]
    problem(tenant.http.delete(url, headers=headers), 409, "CONFLICT")
    tenant.issue("write")  # answered once the read model has what came before
    keys = tenant.http.get(f"/v1/apps/{tenant.app_id}/keys", headers=headers).json()["keys"]
    assert {key["key_id"]: key["revoked"] for key in keys}[issued["key_id"]] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": ["x"]}, "name"),
        ({"name": "x", "timezone": "Mars/Olympus"}, "timezone"),
        ({"name": "x", "timezone": "../../etc/passwd"}, "timezone"),
        ({"name": "x", "timezone": ""}, "timezone"),
        ({"name": "x", "data_retention_days": 29}, "data_retention_days"),
        ({"name": "x", "data_retention_days": 2556}, "data_retention_days"),
        ({"name": "x", "data_retention_days": 1e300}, "data_retention_days"),
        ({"name": "x", "data_retention_days": "30"}, "data_retention_days"),
        (b'{"name": "x", "name": "y"}', "name"),
        ({"name": "x", "authorized_domains": "example.com"}, "authorized_domains"),
        ({"name": "x", "authorized_domains": ["a.example"] * 101}, "authorized_domains"),
        ({"name": "x", "app_id": NOBODY}, "app_id"),
        ({"name": "x", "organisation_id": NOBODY}, "organisation_id"),
        (b"", "body"),
        (b"{", "body"),
        (b"null", "body"),
        (b'{"name":"\xff"}', "body"),
        (b'{"name":"\\ud800"}', "body"),
        (DEEP, "body"),
    ],
)
def test_an_app_that_breaks_a_rule_is_refused_with_the_field(http, org, problem, body, field):
    given = {"content": body} if isinstance(body, bytes) else {"json": body}
    problem(http.post("/v1/apps", headers=org, **given), 400, "INVALID_REQUEST", field=field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "kind"),
        ({"kind": "organisation"}, "kind"),
        ({"kind": "master"}, "kind"),
        ({"kind": "write", "label": "x" * 101}, "label"),
        ({"kind": "write", "label": "a\0b"}, "label"),
        ({"kind": "write", "key": "ak_mine"}, "key"),
        (b'{"kind": "write", "kind": "secret"}', "kind"),
        (DEEP, "body"),
    ],
)
def test_a_key_that_breaks_a_rule_is_refused_with_the_field(tenant_of_all, problem, body, field):
    given = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = tenant_of_all.http.post(
        f"/v1/apps/{tenant_of_all.app_id}/keys",
        headers=tenant_of_all.bearer(tenant_of_all.org_key),
        **given,
    )
    problem(answer, 400, "INVALID_REQUEST", field=field)


@pytest.mark.parametrize("app_id", [NOBODY, "x", "%00", str(UUID(int=2**128 - 1))])
def test_an_app_that_is_none_is_not_found(tenant_of_all, problem, app_id):
    http, org = tenant_of_all.http, tenant_of_all.bearer(tenant_of_all.org_key)
    for answer in (
        http.get(f"/v1/apps/{app_id}", headers=org),
        http.get(f"/v1/apps/{app_id}/keys", headers=org),
        http.post(f"/v1/apps/{app_id}/keys", headers=org, json={"kind": "write"}),
        http.delete(f"/v1/apps/{app_id}/keys/{NOBODY}", headers=org),
        http.delete(f"/v1/apps/{tenant_of_all.app_id}/keys/{app_id}", headers=org),
    ):
        problem(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("name", "value"),
    [("limit", 0), ("limit", 101), ("offset", -1), ("offset", 10**30), ("offset", "x")],
)
def test_a_bad_parameter_of_the_list_is_named(http, org, problem, name, value):
    answer = http.get("/v1/apps", headers=org, params={name: value})
    problem(answer, 400, "INVALID_REQUEST", field=name)
