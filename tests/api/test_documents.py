"""/schema, /schema/openapi.json and /asyncapi.json say what is really served."""

import json
import re
from datetime import UTC, datetime

import jsonschema
import pytest
from litestar.routes import HTTPRoute

from api.applications import commands_app, queries_app
from api.dialects.calls import CALLS
from infrastructure.bootstrap import Adapters
from infrastructure.settings import load

UNDESCRIBED = {"/schema", "/schema/openapi.json", "/schema/{name}", "/asyncapi.json"}
BATCHES = {
    "/v1/events/batch": {"events": []},
    "/v1/users/batch": {"users": []},
    **{path: {"batch": []} for path in ("/v1/batch", "/v1/b", "/v1/import", "/beacon/v1/batch")},
}
METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def described(http) -> dict:
    answer = http.get("/schema/openapi.json")
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def served(settings_in_force) -> set[tuple[str, str]]:
    """(method, path) of every route of both applications."""
    adapters = Adapters(load(settings_in_force))
    try:
        routes = [*commands_app(adapters).routes, *queries_app(adapters).routes]
    finally:
        adapters.streams.close()
        adapters.analytics.close()
        adapters.engine.dispose()
    found = {
        (method.lower(), re.sub(r":\w+}", "}", route.path_format))
        for route in routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }
    raw = {route.path for route in routes if not isinstance(route, HTTPRoute)}
    assert raw == set(CALLS)
    return found | {("post", path) for path in raw}


def test_every_served_route_is_described_and_nothing_else(described, served):
    told = {
        (method, path)
        for path, operations in described["paths"].items()
        for method in operations
        if method in METHODS
    }
    assert told == {(method, path) for method, path in served if path not in UNDESCRIBED}


def test_every_described_path_is_served(described, http):
    for path, operations in described["paths"].items():
        for method in operations:
            answer = http.request(method, re.sub(r"{\w+}", "x", path))
            assert answer.status_code != 405, (method, path)
            if answer.status_code == 404:  # an id that is none: the route's own 404
                assert re.search(r"{(?!user_id|group_|write_key)\w+_id}|^/analytics.js/", path), (
                    path
                )


def test_every_reference_leads_somewhere(described):
    schemas = described["components"]["schemas"]
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(described)):
        assert name in schemas


def test_no_two_operations_have_the_same_id(described):
    ids = [one["operationId"] for path in described["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))


def test_routes_that_need_no_key_are_marked(described, http):
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            marked = operation.get("security", described["security"]) == []
            named = re.search(r"{write_key}|^/sourceConfig$", path)  # the key is in the address
            body = {"json": BATCHES.get(path, {})} if method == "post" else {}
            asked = http.request(method, re.sub(r"{\w+_id}", "0" * 32, path), **body)
            assert marked is (named is not None or asked.status_code != 401), (method, path)


def checked(described: dict, method: str, path: str, answer) -> None:
    """The answer is of the schema that is described for its status."""
    responses = described["paths"][path][method]["responses"]
    assert str(answer.status_code) in responses, (method, path, answer.status_code)
    schema = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
    whole = {**schema, "components": described["components"]}
    jsonschema.Draft202012Validator(whole).validate(answer.json())


def test_answers_are_as_described(described, tenant):
    event = {"event_name": "E", "user_id": "u", "message_id": "m", "properties": {"a": [1]}}
    sends = [
        ("/v1/events", event),
        ("/v1/events", event),
        ("/v1/events", {**event, "user_id": "v"}),
        ("/v1/events", {}),
        ("/v1/events/track", event),
        ("/v1/events/batch", {"events": [event, {}]}),
        ("/v1/events/batch", {"events": [event] * 501}),
        ("/v1/batch", {"batch": [{"type": "track", "event": "E", "userId": "u"}, {}]}),
        ("/v1/identify", {"userId": "u", "traits": {"plan": "pro"}}),
        ("/v1/users", {"user_id": "u", "message_id": "p", "email": "u@example.com"}),
        ("/v1/users", {"user_id": "u", "message_id": "p", "email": None}),
        ("/v1/users", {"user_id": "null"}),
        ("/v1/users/batch", {"users": [{"user_id": "u", "increment": {"n": 1}}, {}]}),
    ]
    for path, body in sends:
        checked(described, "post", path, tenant.send(body, path))
    checked(described, "post", "/v1/events", tenant.http.post("/v1/events", json=event))
    denied = tenant.send(event, **tenant.bearer(tenant.org_key))
    checked(described, "post", "/v1/events", denied)
    tenant.events()
    for path, given in (
        ("/v1/events", {}),
        ("/v1/events", {"limit": 0}),
        ("/v1/events/names", {}),
        ("/v1/failed-events", {}),
    ):
        checked(described, "get", path, tenant.get(path, **given))
    for path in ("/v1/users/{user_id}", "/v1/users/{user_id}/events"):
        checked(described, "get", path, tenant.get(path.format(user_id="u")))
        checked(described, "get", path, tenant.get(path.format(user_id="nobody")))
    keys = tenant.bearer(tenant.secret_key)
    for question in ({"from": "2026-01-01", "to": "2026-01-02"}, {}):
        answer = tenant.http.post("/v1/analytics/trends", headers=keys, json=question)
        checked(described, "post", "/v1/analytics/trends", answer)
    org = tenant.bearer(tenant.org_key)
    for path in ("/v1/apps", "/v1/apps/{app_id}", "/v1/apps/{app_id}/keys"):
        answer = tenant.http.get(path.format(app_id=tenant.app_id), headers=org)
        checked(described, "get", path, answer)
    answer = tenant.http.post("/v1/apps", headers=org, json={"name": "Described"})
    checked(described, "post", "/v1/apps", answer)
    path = f"/v1/apps/{tenant.app_id}/keys"
    issued = tenant.http.post(path, headers=org, json={"kind": "write"})
    checked(described, "post", "/v1/apps/{app_id}/keys", issued)
    gone = tenant.http.delete(f"{path}/{issued.json()['key_id']}", headers=org)
    checked(described, "delete", "/v1/apps/{app_id}/keys/{key_id}", gone)
    for path in ("/healthz", "/readyz"):
        checked(described, "get", path, tenant.http.get(path))
    settings = "/v1/projects/{write_key}/settings"
    checked(
        described, "get", settings, tenant.http.get(settings.format(write_key=tenant.write_key))
    )


@pytest.mark.parametrize("kind", ["retention", "sessions", "paths"])
def test_answers_about_persons_are_as_described(described, tenant, kind):
    for name in ("open", "read"):
        tenant.sent({"event_name": name, "user_id": "u"})
    tenant.events()
    day = datetime.now(UTC).date().isoformat()
    for question in ({"from": day, "to": day}, {}):
        headers = tenant.bearer(tenant.secret_key)
        answer = tenant.http.post(f"/v1/analytics/{kind}", headers=headers, json=question)
        checked(described, "post", f"/v1/analytics/{kind}", answer)


def test_the_page_needs_nothing_from_elsewhere(http):
    assert http.get("/schema").headers["location"] == "/schema/"
    page = http.get("/schema/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    files = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    files = [file for file in files if not file.startswith("data:")]
    assert len(files) >= 3
    for file in files:
        assert re.fullmatch(r"[\w.-]+", file)
        answer = http.get(f"/schema/{file}")
        assert answer.status_code == 200
        assert len(answer.content) > 0
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


@pytest.mark.parametrize("name", ["../auth.py", "..%2fauth.py", "x", "%2e%2e/auth.py", "%00"])
def test_no_other_file_is_handed_out(http, name):
    assert http.get(f"/schema/{name}").status_code in (200, 404)
    assert "def " not in http.get(f"/schema/{name}").text


def test_the_feed_is_described(http):
    answer = http.get("/asyncapi.json")
    assert answer.status_code == 200
    assert answer.json()["asyncapi"].startswith("3.")
    assert answer.json()["channels"]
