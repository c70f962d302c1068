"""Each address takes the same methods, whichever application is asked, and says which."""

import asyncio
import json

import pytest

from api.applications import interface
from api.routing import by_method

KEY_ID = "01234567-89ab-cdef-0123-456789abcdef"
TAKEN = {
    "/healthz": "GET, HEAD, OPTIONS",
    "/readyz": "GET, HEAD, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
    "/v1/events": "GET, HEAD, OPTIONS, POST",
    "/v1/events/": "GET, HEAD, OPTIONS, POST",
    "/v1/events/names": "GET, HEAD, OPTIONS",
    "/v1/events/batch": "OPTIONS, POST",
    "/v1/events/track": "OPTIONS, POST",
    "/v1/batch": "OPTIONS, POST",
    "/v1/t": "OPTIONS, POST",
    "/v1/users": "GET, HEAD, OPTIONS, POST",
    "/v1/users/x/aliases": "GET, HEAD, OPTIONS",
    "/v1/users/x/history": "GET, HEAD, OPTIONS",
    "/v1/groups": "GET, HEAD, OPTIONS",
    "/v1/groups/x/a%2Fb": "GET, HEAD, OPTIONS",
    "/v1/groups/x/y/members": "GET, HEAD, OPTIONS",
    "/v1/users/batch": "DELETE, GET, HEAD, OPTIONS, POST",  # also the person whose id is `batch`
    "/v1/users/x": "DELETE, GET, HEAD, OPTIONS",
    "/v1/users/a%2Fb": "DELETE, GET, HEAD, OPTIONS",
    "/v1/users/x/events": "GET, HEAD, OPTIONS",
    "/v1/users/x/export": "GET, HEAD, OPTIONS",
    "/v1/erasures": "GET, HEAD, OPTIONS",
    f"/v1/erasures/{KEY_ID}": "GET, HEAD, OPTIONS",
    "/v1/analytics/trends": "OPTIONS, POST",
    "/v1/analytics/retention": "OPTIONS, POST",
    "/v1/analytics/sessions": "OPTIONS, POST",
    "/v1/analytics/paths": "OPTIONS, POST",
    "/v1/failed-events": "GET, HEAD, OPTIONS",
    f"/v1/failed-events/{KEY_ID}/replay": "OPTIONS, POST",
    "/v1/apps": "GET, HEAD, OPTIONS, POST",
    f"/v1/apps/{KEY_ID}": "GET, HEAD, OPTIONS",
    f"/v1/apps/{KEY_ID}/keys": "GET, HEAD, OPTIONS, POST",
    f"/v1/apps/{KEY_ID}/keys/{KEY_ID}": "DELETE, OPTIONS",
    "/sourceConfig": "GET, HEAD, OPTIONS",
    "/sourceConfig/": "GET, HEAD, OPTIONS",
    "/v1/projects/x/settings": "GET, HEAD, OPTIONS",
    "/analytics.js/v1/x/analytics.min.js": "GET, HEAD, OPTIONS",
    "/schema": "GET, HEAD, OPTIONS",
    "/schema/": "GET, HEAD, OPTIONS",
    "/schema/openapi.json": "GET, HEAD, OPTIONS",
    "/asyncapi.json": "GET, HEAD, OPTIONS",
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
UNKNOWN = ("/", "/v1", "/v1/nothing", "/v1/apps/x", "/v1/users/x/events/y")


@pytest.mark.parametrize(("path", "allow"), TAKEN.items(), ids=TAKEN)
def test_a_wrong_method_is_told_the_right_ones(http, problem, path, allow):
    for method in METHODS:
        answer = http.request(method, path)
        if method in allow.split(", "):
            assert answer.status_code not in (404, 405) or path.startswith("/analytics.js/")
            continue
        assert answer.status_code == 405
        assert answer.headers["allow"] == allow
        if method != "HEAD":
            problem(answer, 405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(("path", "allow"), TAKEN.items(), ids=TAKEN)
def test_options_says_them_too(http, path, allow):
    answer = http.options(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", UNKNOWN)
def test_an_address_that_nobody_has_takes_no_method(http, problem, path):
    for method in (*METHODS, "OPTIONS"):
        answer = http.request(method, path)
        assert answer.status_code == 404, method
        if method != "HEAD":
            problem(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/v1/events", "/v1/users/nobody", "/schema/"]
)
def test_head_is_get_without_the_body(tenant_of_all, path):
    asked = tenant_of_all.get(path)
    told = tenant_of_all.http.head(path, headers=tenant_of_all.bearer(tenant_of_all.secret_key))
    assert told.content == b""
    assert told.status_code == asked.status_code
    assert told.headers["content-type"] == asked.headers["content-type"]
    assert "content-length" in told.headers


def test_a_connection_goes_on_after_head(http):
    for method in ("HEAD", "GET", "HEAD", "GET"):
        assert http.request(method, "/healthz").status_code == 200


# --- applications that run apart -----------------------------------------------------------


async def nothing_here(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(("path", "allow"), TAKEN.items(), ids=TAKEN)
def test_an_application_knows_the_addresses_of_the_other(path, allow):
    """The proxy brings a wrong method to one that has not the address at all."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "PUT", "path": path, "raw_path": path.encode()}
    asyncio.run(by_method(nothing_here, interface())(scope, None, send))
    start, body = sent
    assert start["status"] == 405
    assert dict(start["headers"])[b"allow"].decode() == allow
    assert json.loads(body["body"])["code"] == "METHOD_NOT_ALLOWED"
