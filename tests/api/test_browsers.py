"""What a page on another origin may do, and what an app lets it."""

import pytest

WRITES = ("/v1/events", "/v1/events/batch", "/v1/batch", "/v1/t", "/v1/import", "/beacon/v1/batch")
DOCUMENTS = ("/sourceConfig", "/sourceConfig/", "/v1/projects/any/settings")
EVENT = {"event_name": "E", "user_id": "u"}
ORIGIN = {"Origin": "https://shop.example.com"}


@pytest.mark.parametrize("path", [*WRITES, *DOCUMENTS])
def test_a_preflight_allows_what_sdks_send_without_a_key(http, path):
    asked = {
        **ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-retry-count",
    }
    answer = http.options(path, headers=asked)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].split(", ")
    assert {"*", "authorization", "content-type", "anonymousid", "sentat"} <= set(allowed)
    assert int(answer.headers["access-control-max-age"]) > 3600
    assert "access-control-allow-credentials" not in answer.headers


def test_a_page_may_read_every_answer_to_its_events(tenant_of_all):
    answers = [
        tenant_of_all.send(EVENT, **ORIGIN),
        tenant_of_all.send({}, **ORIGIN),
        tenant_of_all.send(EVENT, **ORIGIN, Authorization="Bearer x"),
        tenant_of_all.send(EVENT, **ORIGIN, **{"Content-Encoding": "br"}),
        tenant_of_all.http.put("/v1/events", headers=ORIGIN),
    ]
    assert [answer.status_code for answer in answers] == [202, 400, 401, 400, 405]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-expose-headers"] == "Retry-After"


def test_a_page_may_not_read_queries(tenant_of_all):
    """A secret key has no business in a browser."""
    answer = tenant_of_all.http.get(
        "/v1/events", headers={**tenant_of_all.bearer(tenant_of_all.secret_key), **ORIGIN}
    )
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


# --- authorized domains --------------------------------------------------------------------


@pytest.fixture(scope="module")
def fenced(new_tenant):
    return new_tenant(authorized_domains=["Example.com", "localhost"])


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "http://example.com:3000",
        "https://www.example.com",
        "https://a.b.example.com",
        "https://EXAMPLE.com",
        "http://localhost:5173",
    ],
)
def test_an_authorized_domain_and_its_subdomains_may_send(fenced, origin):
    assert fenced.send(EVENT, Origin=origin).status_code == 202


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.org",
        "https://notexample.com",
        "https://example.com.evil.org",
        "https://evil.org/example.com",
        "https://example.com@evil.org",
        "https://evil.org#example.com",
        "https://evil.org?example.com",
        "null",
        "",
        "example.com",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("path", ["/v1/events", "/v1/batch"])
def test_any_other_origin_may_not(fenced, problem, path, origin):
    body = EVENT if path == "/v1/events" else {"batch": []}
    answer = fenced.send(body, path, Origin=origin)
    problem(answer, 403, "INSUFFICIENT_PERMISSIONS", origin=origin)


def test_without_an_origin_the_fence_is_open(fenced):
    """Servers send none, and could make one up."""
    assert fenced.send(EVENT).status_code == 202


def test_without_authorized_domains_every_origin_may_send(tenant_of_all):
    assert tenant_of_all.send(EVENT, Origin="https://anything.example").status_code == 202


@pytest.mark.parametrize(
    "domain",
    [
        "https://example.com",
        "example.com/path",
        "example.com:8080",
        "*.example.com",
        "exa mple.com",
        "",
        ".",
        "a\0b",
        "bücher.example",
        "x" * 64 + ".com",
        ".".join(["x" * 60] * 5),
    ],
)
def test_a_domain_that_no_origin_could_match_is_refused(tenant_of_all, problem, domain):
    answer = tenant_of_all.http.post(
        "/v1/apps",
        headers=tenant_of_all.bearer(tenant_of_all.org_key),
        json={"name": "D", "authorized_domains": ["good.example", domain]},
    )
    problem(answer, 400, "INVALID_REQUEST", field="authorized_domains[1]")


# --- the documents that browser SDKs fetch first -----------------------------------------------


def test_segments_settings_send_the_browser_to_us(tenant_of_all):
    key = tenant_of_all.write_key
    answer = tenant_of_all.http.get(f"/v1/projects/{key}/settings", headers=ORIGIN)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    told = answer.json()["integrations"]["Segment.io"]
    assert told["apiKey"] == key
    assert f"{told['protocol']}://{told['apiHost']}" == f"{tenant_of_all.http.base_url}/v1"


@pytest.mark.parametrize("path", ["/sourceConfig", "/sourceConfig/"])
def test_rudderstacks_source_sends_the_browser_to_us(tenant_of_all, path):
    key = tenant_of_all.write_key
    answer = tenant_of_all.http.get(path, params={"writeKey": key}, headers=ORIGIN)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    source = answer.json()["source"]
    assert source["enabled"] is True
    assert source["dataPlaneUrl"] == str(tenant_of_all.http.base_url).rstrip("/")


def test_rudderstack_may_send_the_key_as_basic(tenant_of_all):
    answer = tenant_of_all.http.get("/sourceConfig/", auth=(tenant_of_all.write_key, ""))
    assert answer.json()["source"]["writeKey"] == tenant_of_all.write_key


def test_a_public_url_goes_before_the_requests_own_host(tenant_of_all, start_api):
    beside = start_api(public_url="https://events.example.com/in")
    key = tenant_of_all.write_key
    told = beside.get(f"/v1/projects/{key}/settings").json()["integrations"]["Segment.io"]
    assert (told["protocol"], told["apiHost"]) == ("https", "events.example.com/in/v1")
    source = beside.get("/sourceConfig/", params={"writeKey": key}).json()["source"]
    assert source["dataPlaneUrl"] == "https://events.example.com/in"


def test_documents_for_a_key_that_is_none_are_refused(http, problem):
    problem(http.get("/v1/projects/nonsense/settings"), 401, "INVALID_API_KEY")
    problem(http.get("/sourceConfig/"), 401, "MISSING_AUTH")
    answer = http.get("/sourceConfig/", params={"writeKey": "nonsense"})
    problem(answer, 401, "INVALID_API_KEY")
