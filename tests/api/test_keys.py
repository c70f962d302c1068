"""Which key opens what, and where it may be written."""

import base64
import time

import pytest

from domain.keys import RANDOM_BYTES, make_key

WRITES = (
    *("/v1/events", "/v1/events/track", "/v1/events/batch", "/v1/batch", "/v1/track", "/v1/i"),
    *("/v1/users", "/v1/users/batch"),
)
READS = ("/v1/events", "/v1/events/names", "/v1/users/u", "/v1/users/u/events", "/v1/failed-events")
EVENT = {"event_name": "E", "user_id": "u"}
BODIES = {
    "/v1/events/batch": {"events": [EVENT]},
    "/v1/batch": {"batch": []},
    "/v1/users/batch": {"users": []},
}


def well_formed_but_unknown(key: str) -> str:
    """The same prefix, other digits, and a checksum that is right."""
    kind = {"ak": "write", "as": "secret", "apps": "organisation"}[key.partition("_")[0]]
    return make_key(kind, bytes(RANDOM_BYTES))


@pytest.mark.parametrize("path", WRITES)
def test_a_write_without_a_key_is_refused(http, problem, path):
    answer = http.post(path, json=BODIES.get(path, EVENT))
    problem(answer, 401, "MISSING_AUTH")


@pytest.mark.parametrize("path", READS)
def test_a_query_without_a_key_is_refused(http, problem, path):
    problem(http.get(path), 401, "MISSING_AUTH")


@pytest.mark.parametrize("path", ["/v1/apps", f"/v1/apps/{'0' * 8}-0000-0000-0000-{'0' * 12}"])
def test_apps_without_a_key_are_refused(http, problem, path):
    problem(http.get(path), 401, "MISSING_AUTH")


@pytest.mark.parametrize("cut", ["{}x", "x{}", "{}{}", "ak_", "null", "Bearer {}", "é"])
def test_a_cut_or_mangled_key_is_told_from_a_missing_one(tenant_of_all, problem, cut):
    key = cut.format(tenant_of_all.write_key, tenant_of_all.write_key)
    answer = tenant_of_all.send(EVENT, Authorization=f"Bearer {key}".encode("latin-1"))
    problem(answer, 401, "INVALID_API_KEY")


def test_one_wrong_character_is_found_by_the_checksum_alone(tenant_of_all, problem):
    wrong = "0" if tenant_of_all.write_key[10] != "0" else "1"
    answer = tenant_of_all.send(
        EVENT,
        Authorization=f"Bearer {tenant_of_all.write_key[:10]}{wrong}{tenant_of_all.write_key[11:]}",
    )
    problem(answer, 401, "INVALID_API_KEY")
    assert "mistyped" in answer.json()["message"]


def test_a_key_that_nobody_has_is_refused(tenant_of_all, problem):
    for key in (tenant_of_all.write_key, tenant_of_all.secret_key, tenant_of_all.org_key):
        headers = tenant_of_all.bearer(well_formed_but_unknown(key))
        problem(tenant_of_all.send(EVENT, **headers), 401, "INVALID_API_KEY")
        problem(tenant_of_all.http.get("/v1/events", headers=headers), 401, "INVALID_API_KEY")
        problem(tenant_of_all.http.get("/v1/apps", headers=headers), 401, "INVALID_API_KEY")


def test_a_write_key_reads_nothing(tenant_of_all, problem):
    for path in READS:
        answer = tenant_of_all.http.get(path, headers=tenant_of_all.bearer(tenant_of_all.write_key))
        problem(
            answer,
            403,
            "INSUFFICIENT_PERMISSIONS",
            required_permission="read",
            current_permissions=["ingest"],
        )


def test_an_apps_keys_manage_no_apps(tenant_of_all, problem):
    for key, has in (
        (tenant_of_all.write_key, ["ingest"]),
        (tenant_of_all.secret_key, ["ingest", "read", "write"]),
    ):
        wants = {"required_permission": "apps", "current_permissions": has}
        headers = tenant_of_all.bearer(key)
        for path in (
            "/v1/apps",
            f"/v1/apps/{tenant_of_all.app_id}",
            f"/v1/apps/{tenant_of_all.app_id}/keys",
        ):
            answer = tenant_of_all.http.get(path, headers=headers)
            problem(answer, 403, "INSUFFICIENT_PERMISSIONS", **wants)
        answer = tenant_of_all.http.post("/v1/apps", headers=headers, json={"name": "Mine"})
        problem(answer, 403, "INSUFFICIENT_PERMISSIONS", **wants)


@pytest.mark.parametrize("path", WRITES)
def test_an_organisations_key_sends_no_events(tenant_of_all, problem, path):
    answer = tenant_of_all.send(
        BODIES.get(path, EVENT), path, **tenant_of_all.bearer(tenant_of_all.org_key)
    )
    problem(
        answer,
        403,
        "INSUFFICIENT_PERMISSIONS",
        required_permission="ingest",
        current_permissions=["apps"],
    )


def test_an_organisations_key_reads_no_events(tenant_of_all, problem):
    for path in READS:
        answer = tenant_of_all.http.get(path, headers=tenant_of_all.bearer(tenant_of_all.org_key))
        problem(answer, 403, "INSUFFICIENT_PERMISSIONS", required_permission="read")


def test_an_admin_key_also_sends_and_reads_and_manages_no_apps(tenant_of_all, problem):
    key = tenant_of_all.issue("admin")["key"]
    assert key.startswith("ad_")
    headers = tenant_of_all.bearer(key)
    assert tenant_of_all.send(EVENT, **headers).status_code == 202
    assert tenant_of_all.http.get("/v1/events", headers=headers).status_code == 200
    problem(
        tenant_of_all.http.get("/v1/apps", headers=headers),
        403,
        "INSUFFICIENT_PERMISSIONS",
        required_permission="apps",
        current_permissions=["ingest", "read", "write", "merge", "erase"],
    )


def test_a_secret_key_also_sends(tenant_of_all):
    assert (
        tenant_of_all.send(EVENT, **tenant_of_all.bearer(tenant_of_all.secret_key)).status_code
        == 202
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {key}"},
        {"Authorization": "bearer {key}"},
        {"Authorization": "Bearer   {key}"},
        {"Authorization": "Basic {basic}"},
        {"Authorization": "Basic {basic_without_colon}"},
        {"Authorization": "Basic {basic_with_password}"},
        {"X-API-Key": "{key}"},
    ],
)
def test_a_key_goes_into_any_of_the_usual_headers(tenant_of_all, headers):
    key = tenant_of_all.write_key
    said = {
        "key": key,
        "basic": base64.b64encode(f"{key}:".encode()).decode(),
        "basic_without_colon": base64.b64encode(key.encode()).decode(),
        "basic_with_password": base64.b64encode(f"{key}:secret".encode()).decode(),
    }
    given = {name: value.format(**said) for name, value in headers.items()}
    answer = tenant_of_all.http.post("/v1/events", json=EVENT, headers=given)
    assert answer.status_code == 202, answer.text


def test_reads_and_apps_take_the_same_headers(tenant_of_all):
    basic = base64.b64encode(f"{tenant_of_all.secret_key}:".encode()).decode()
    for headers in ({"X-API-Key": tenant_of_all.secret_key}, {"Authorization": f"Basic {basic}"}):
        assert tenant_of_all.http.get("/v1/events", headers=headers).status_code == 200
    assert (
        tenant_of_all.http.get("/v1/apps", headers={"X-API-Key": tenant_of_all.org_key}).status_code
        == 200
    )


@pytest.mark.parametrize("scheme", ["Token x", "Basic %%%", "Basic", "Bearer", "Digest a=b", "x"])
def test_an_authorization_that_holds_no_key_counts_as_none(http, problem, scheme):
    answer = http.post("/v1/events", json=EVENT, headers={"Authorization": scheme})
    problem(answer, 401, "MISSING_AUTH")


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/track", "/v1/p"])
def test_browsers_put_the_key_into_the_body(tenant_of_all, path):
    body = {"event": "E", "userId": "u", "writeKey": tenant_of_all.write_key, "batch": []}
    assert tenant_of_all.http.post(path, json=body).status_code == 200


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/batch"])
def test_ours_do_not(tenant_of_all, problem, path):
    body = {**EVENT, "writeKey": tenant_of_all.write_key}
    sent = {"events": [EVENT], "writeKey": body["writeKey"]} if "batch" in path else body
    answer = tenant_of_all.http.post(path, json=sent, params={"writeKey": tenant_of_all.write_key})
    problem(answer, 400, "INVALID_REQUEST", field="writeKey")


@pytest.mark.parametrize(
    "path", ["/v1/batch", "/beacon/v1/batch", "/v1/track", "/v1/events", "/v1/events/batch"]
)
def test_beacons_put_the_key_into_the_query(tenant_of_all, path):
    body = {"event": "E", "userId": "u", "batch": []}
    if path.startswith("/v1/events"):
        body = BODIES.get(path, EVENT)
    answer = tenant_of_all.http.post(path, json=body, params={"writeKey": tenant_of_all.write_key})
    assert answer.status_code in (200, 202)


def test_a_wrong_key_in_the_body_is_refused(tenant_of_all, problem):
    wrong = {
        "event": "E",
        "userId": "u",
        "writeKey": well_formed_but_unknown(tenant_of_all.write_key),
    }
    problem(tenant_of_all.http.post("/v1/track", json=wrong), 401, "INVALID_API_KEY")
    for nonsense in (5, None, [], {}):
        answer = tenant_of_all.http.post("/v1/track", json={**wrong, "writeKey": nonsense})
        problem(answer, 401, "MISSING_AUTH")


def test_a_header_goes_before_the_body(tenant_of_all, problem):
    body = {"event": "E", "userId": "u", "writeKey": tenant_of_all.write_key}
    headers = tenant_of_all.bearer(well_formed_but_unknown(tenant_of_all.write_key))
    problem(
        tenant_of_all.http.post("/v1/track", json=body, headers=headers), 401, "INVALID_API_KEY"
    )


def test_queries_take_no_key_from_the_address(tenant_of_all, problem):
    """It would stand in every access log on the way."""
    answer = tenant_of_all.http.get("/v1/events", params={"writeKey": tenant_of_all.secret_key})
    problem(answer, 401, "MISSING_AUTH")


def test_a_new_key_works_at_once(tenant_of_all):
    key = tenant_of_all.issue("write", "a second one")["key"]
    assert tenant_of_all.send(EVENT, **tenant_of_all.bearer(key)).status_code == 202


def test_a_revoked_key_is_refused_and_says_so(tenant, problem):
    issued = tenant.issue("write")
    used = tenant.issue("secret")
    assert tenant.send(EVENT, **tenant.bearer(used["key"])).status_code == 202
    for one in (issued, used):
        url = f"/v1/apps/{tenant.app_id}/keys/{one['key_id']}"
        revoked = tenant.http.delete(url, headers=tenant.bearer(tenant.org_key))
        assert revoked.status_code == 200
        assert "within 5 seconds" in revoked.json()["message"]
    while tenant.send(EVENT, **tenant.bearer(used["key"])).status_code == 202:
        time.sleep(0.2)
    for one in (issued, used):
        problem(tenant.send(EVENT, **tenant.bearer(one["key"])), 401, "REVOKED_API_KEY")
    reading = tenant.http.get("/v1/events", headers=tenant.bearer(used["key"]))
    problem(reading, 401, "REVOKED_API_KEY")
    assert tenant.send(EVENT).status_code == 202
