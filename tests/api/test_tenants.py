"""No key opens another tenant's door: every route of the OpenAPI document, every foreign key.

A new route fails `test_every_route_has_an_expectation` until its kind stands in KINDS.
"""

import itertools
import json
import re
from typing import NamedTuple
from uuid import uuid4

import pytest

NOBODY = "00000000-0000-4000-8000-000000000000"
READ = "read"  # a secret key, about its own app
ERASE = "erase"  # an admin's key, about its own app
INGEST = "ingest"  # any key of an app, into that app
OWNER = "owner"  # an organisation's key, about its own apps
OPEN = "open"  # no key, and nothing of anybody
ADDRESS = "address"  # the key stands in the address

KINDS = {
    **{
        ("post", f"/v1/{call}"): INGEST
        for call in (
            *("events", "events/track", "events/batch", "batch", "import", "b"),
            *("users", "users/batch"),
            *("track", "identify", "page", "screen", "group", "alias"),
            *("t", "i", "p", "s", "g", "a"),
        )
    },
    ("post", "/beacon/v1/batch"): INGEST,
    ("get", "/v1/events"): READ,
    ("get", "/v1/events/names"): READ,
    ("get", "/v1/users/{user_id}"): READ,
    ("get", "/v1/users/{user_id}/events"): READ,
    ("get", "/v1/users"): READ,
    ("get", "/v1/users/{user_id}/aliases"): READ,
    ("get", "/v1/users/{user_id}/history"): READ,
    ("get", "/v1/groups"): READ,
    ("get", "/v1/groups/{group_type}/{group_id}"): READ,
    ("get", "/v1/groups/{group_type}/{group_id}/members"): READ,
    ("get", "/v1/users/{user_id}/export"): READ,
    ("delete", "/v1/users/{user_id}"): ERASE,
    ("get", "/v1/erasures"): READ,
    ("get", "/v1/erasures/{erasure_id}"): READ,
    ("post", "/v1/users/aliases"): READ,
    ("post", "/v1/users/merge-preview"): READ,
    ("post", "/v1/users/unmerge-preview"): READ,
    ("post", "/v1/users/{user_id}/unmerge"): READ,
    ("post", "/v1/analytics/trends"): READ,
    ("post", "/v1/analytics/query"): READ,
    ("post", "/v1/analytics/funnels"): READ,
    ("post", "/v1/analytics/retention"): READ,
    ("post", "/v1/analytics/sessions"): READ,
    ("post", "/v1/analytics/paths"): READ,
    ("post", "/v1/metrics"): READ,
    ("get", "/v1/metrics"): READ,
    ("get", "/v1/metrics/{metric_id}"): READ,
    ("patch", "/v1/metrics/{metric_id}"): READ,
    ("delete", "/v1/metrics/{metric_id}"): READ,
    ("get", "/v1/metrics/{metric_id}/values"): READ,
    ("post", "/v1/versions"): READ,
    ("get", "/v1/versions"): READ,
    ("get", "/v1/versions/{version_id}"): READ,
    ("patch", "/v1/versions/{version_id}"): READ,
    ("delete", "/v1/versions/{version_id}"): READ,
    ("get", "/v1/versions/{version_id}/impact"): READ,
    ("get", "/v1/users/{user_id}/segments"): READ,
    **{
        (method, f"/v1/{name}{path}"): READ
        for name in ("segments", "audiences")
        for method, path in (
            *(("get", ""), ("post", ""), ("post", "/preview")),
            *((method, "/{segment_id}") for method in ("get", "patch", "delete")),
            *(("get", "/{segment_id}/members"), ("post", "/{segment_id}/members")),
            ("get", "/{segment_id}/members/{user_id}"),
            *(("get", f"/{{segment_id}}/{what}") for what in ("changes", "explain", "export")),
        )
    },
    ("get", "/v1/failed-events"): READ,
    ("post", "/v1/failed-events/{failed_id}/replay"): READ,
    ("post", "/v1/apps"): OWNER,
    ("get", "/v1/apps"): OWNER,
    ("get", "/v1/apps/{app_id}"): OWNER,
    ("get", "/v1/apps/{app_id}/keys"): OWNER,
    ("post", "/v1/apps/{app_id}/keys"): OWNER,
    ("delete", "/v1/apps/{app_id}/keys/{key_id}"): OWNER,
    ("get", "/v1/projects/{write_key}/settings"): ADDRESS,
    ("get", "/analytics.js/v1/{write_key}/analytics.min.js"): ADDRESS,
    ("get", "/sourceConfig"): ADDRESS,
    ("get", "/healthz"): OPEN,
    ("get", "/readyz"): OPEN,
    ("get", "/metrics"): OPEN,
}
BODIES = {
    "/v1/analytics/trends": {
        "from": "2026-01-01",
        "to": "2099-01-01",
        "interval": "month",
        "breakdown": {"property": "$event", "limit": 100},
    },
    "/v1/analytics/query": {"query": "SELECT * FROM events"},
    "/v1/analytics/funnels": {
        "from": "2026-01-01",
        "to": "2099-01-01",
        "steps": [{}, {}],
        "breakdown": {"property": "$event", "limit": 100},
    },
    "/v1/analytics/retention": {
        "from": "2026-01-01",
        "to": "2099-01-01",
        "interval": "month",
        "periods": 1,
        "breakdown": {"property": "$event", "limit": 100},
    },
    "/v1/analytics/sessions": {
        "from": "2026-01-01",
        "to": "2099-01-01",
        "interval": "month",
        "breakdown": {"property": "$event", "limit": 100},
    },
    "/v1/analytics/paths": {"from": "2026-01-01", "to": "2099-01-01"},
    **{
        f"/v1/{name}{path}": body
        for name in ("segments", "audiences")
        for path, body in (
            ("", {"name": "Somebody's", "criteria": "did any event"}),
            ("/preview", {"criteria": "did any event"}),
            ("/{segment_id}", {"name": "Mine"}),
            ("/{segment_id}/members", {"add": ["u"]}),
        )
    },
    "/v1/apps": {"name": "Somebody's"},
    "/v1/apps/{app_id}/keys": {"kind": "secret"},
    "/v1/events/batch": {"events": [{"event_name": "E", "user_id": "u"}]},
    "/v1/users": {"user_id": "u", "traits": {"plan": "pro"}},
    "/v1/users/batch": {"users": [{"user_id": "u", "set_once": {"plan": "free"}}]},
}
BODIES["/v1/metrics"] = {"name": "Events", "definition": {}}
BODIES["/v1/versions"] = {"version": "1.0", "released_at": "2026-03-01"}
MARKER = "zebra-7f3a"  # in everything that belongs to the victim
CHANGES = {
    "/v1/metrics/{metric_id}": {"description": "changed"},
    "/v1/versions/{version_id}": {"release_notes": "changed"},
}
ASKED = {  # what these addresses must say besides
    "/v1/metrics/{metric_id}/values": {"from": "2026-01-01", "to": "2026-01-02"},
    "/v1/versions/{version_id}/impact": {"metric": NOBODY},
}
MARKED = {
    "/v1/metrics": {"name": MARKER, "definition": {"event": f"{MARKER} event"}},
    "/v1/versions": {"version": MARKER, "release_notes": MARKER},
}
NAMING = {  # these name the victim in their body
    path: {"user_id": f"{MARKER}-user", "alias_id": "v"}
    for path in (
        *("/v1/users/aliases", "/v1/users/merge-preview", "/v1/users/unmerge-preview"),
        "/v1/users/{user_id}/unmerge",
    )
}
NAMING["/v1/users/{user_id}/unmerge"] = {"alias_id": "v"}
ITEM = {"type": "track", "event": "E", "userId": "u", "previousId": "v", "groupId": "g"}


class Victim(NamedTuple):
    tenant: object
    objects: dict[str, str]  # parameter of a path -> the victim's own


@pytest.fixture(scope="module")
def victim(new_tenant) -> Victim:
    tenant = new_tenant(name=MARKER, authorized_domains=[f"{MARKER}.example"])
    for number in range(30):
        tenant.sent(
            {
                "event_name": f"{MARKER} event",
                "user_id": f"{MARKER}-user",
                "message_id": f"{MARKER}-{number}",
                "properties": {"secret": MARKER, MARKER: 1},
            }
        )
    traits = {"userId": f"{MARKER}-user", "traits": {"email": f"{MARKER}@example.com"}}
    assert tenant.send(traits, "/v1/identify").status_code == 200
    tenant.send({"event_name": MARKER, "user_id": [MARKER]})
    key_id = tenant.issue("write", label=MARKER)["key_id"]
    failed = tenant.ask("/v1/failed-events", min_position=tenant.head())["failed_events"]
    tenant.events()
    headers, list_of = tenant.bearer(tenant.secret_key), {"name": MARKER}
    made = tenant.http.post("/v1/segments", headers=headers, json=list_of).json()
    added = {"add": [f"{MARKER}-user"]}
    path = f"/v1/segments/{made['audience_id']}/members"
    tenant.http.post(path, headers=headers, json=added)
    objects = {
        "segment_id": made["audience_id"],
        "app_id": tenant.app_id,
        "key_id": key_id,
        "failed_id": failed[0]["id"],
    }
    objects["erasure_id"] = _erased(tenant, f"{MARKER}-gone")
    for path, name in (("/v1/metrics", "metric"), ("/v1/versions", "version")):
        objects[f"{name}_id"] = _made(tenant, path)[name][f"{name}_id"]
    return Victim(tenant, {**objects, "user_id": f"{MARKER}-user"})


def _made(tenant, path: str) -> dict:
    """Called MARKER."""
    headers = tenant.bearer(tenant.secret_key)
    answer = tenant.http.post(path, headers=headers, json=BODIES[path] | MARKED[path])
    assert answer.status_code == 201, answer.text
    return answer.json()


def _erased(tenant, user_id: str) -> str:
    """Somebody of whom there are no events, which all stay as they are."""
    assert tenant.send({"userId": user_id}, "/v1/identify").status_code == 200
    admin = tenant.bearer(tenant.issue("admin", label=MARKER)["key"])
    address = f"/v1/users/{user_id}?min_position={tenant.head()}&reason={MARKER}"
    answer = tenant.http.delete(address, headers=admin)
    assert answer.status_code == 202, answer.text
    return answer.json()["erasure"]["erasure_id"]


@pytest.fixture(scope="module")
def operations(http) -> list[tuple[str, str]]:
    paths = http.get("/schema/openapi.json").json()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


@pytest.fixture
def foreigners(new_tenant, other_organisation) -> dict[str, str]:
    """Kind of key -> a key that has no right to anything of the victim's."""
    tenant = new_tenant()
    return {
        "write": tenant.write_key,
        "secret": tenant.secret_key,
        "admin": tenant.issue("admin")["key"],
        "organisation": other_organisation,
    }


def ask(http, method: str, path: str, objects: dict[str, str], key: str | None):
    url = re.sub(r"{(\w+)}", lambda found: objects.get(found[1], key or "none"), path)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    if path.endswith("/explain"):
        url += "?user=u"
    if method not in {"post", "patch"}:
        return http.request(method, url, headers=headers, params=ASKED.get(path))
    body = CHANGES.get(path) or BODIES.get(path) or NAMING.get(path)
    if body is None:
        body = {"batch": [ITEM]} if path.endswith(("/batch", "/import", "/b")) else ITEM
    if path == "/v1/versions":
        body = {**body, "version": uuid4().hex}  # each is released once
    if path in ("/v1/events", "/v1/events/track"):
        body = BODIES["/v1/events/batch"]["events"][0]
    return http.request(method, url, headers=headers, json=body)


def nobodys(objects: dict[str, str]) -> dict[str, str]:
    return {name: "nobody" if name == "user_id" else NOBODY for name in objects}


def test_every_route_has_an_expectation(operations):
    assert set(operations) == set(KINDS)


def test_a_foreign_key_gets_no_further_than_its_kind(http, operations, victim, foreigners, problem):
    allowed = {
        INGEST: {"write", "secret", "admin"},
        READ: {"secret", "admin"},
        ERASE: {"admin"},
        OWNER: {"organisation"},
    }
    for (method, path), (kind, key) in itertools.product(operations, foreigners.items()):
        wanted = KINDS[method, path]
        answer = ask(http, method, path, victim.objects, key)
        assert MARKER not in answer.text, (method, path, kind)
        if wanted in allowed and kind not in allowed[wanted]:
            problem(answer, 403, "INSUFFICIENT_PERMISSIONS")
        elif wanted in (READ, ERASE, OWNER) and ("{" in path or path in NAMING):
            problem(answer, 404, "NOT_FOUND")
        elif wanted is ADDRESS and kind == "organisation":
            assert answer.status_code in (403, 200 if path.startswith("/analytics.js") else 403)
        else:
            assert answer.is_success, (method, path, kind, answer.text)


def test_without_a_key_nothing_is_told(http, operations, victim, problem):
    for method, path in operations:
        answer = ask(http, method, path, victim.objects, None)
        assert MARKER not in answer.text, (method, path)
        if KINDS[method, path] in (READ, ERASE, OWNER, INGEST):
            problem(answer, 401, "MISSING_AUTH")


def test_anothers_object_looks_like_one_that_does_not_exist(
    http, operations, victim, foreigners, tenant_of_all
):
    keys = {
        READ: foreigners["secret"],
        ERASE: foreigners["admin"],
        OWNER: foreigners["organisation"],
    }
    compared = 0
    for method, path in operations:
        key = keys.get(KINDS[method, path])
        if key is None or "{" not in path:
            continue
        theirs = ask(http, method, path, victim.objects, key)
        nothing = ask(http, method, path, nobodys(victim.objects), key)
        assert theirs.status_code == nothing.status_code == 404, (method, path)
        assert theirs.content == nothing.content, (method, path)
        differ = {name for name in theirs.headers if theirs.headers[name] != nothing.headers[name]}
        assert differ <= {"date"}
        compared += 1
    assert compared >= 7
    # Also within one organisation: another app's key under the address of one's own app.
    org = tenant_of_all.bearer(tenant_of_all.org_key)
    url = f"/v1/apps/{tenant_of_all.app_id}/keys"
    theirs = http.delete(f"{url}/{victim.objects['key_id']}", headers=org)
    nothing = http.delete(f"{url}/{NOBODY}", headers=org)
    assert (theirs.status_code, theirs.content) == (404, nothing.content)


def test_whatever_a_foreigner_asks_the_victim_keeps_everything(
    http, operations, victim, foreigners
):
    """Runs the walk, then looks from the inside."""
    tenant = victim.tenant
    events = tenant.events()
    for (method, path), key in itertools.product(operations, foreigners.values()):
        ask(http, method, path, victim.objects, key)
    assert tenant.events() == events
    org = tenant.bearer(tenant.org_key)
    keys = http.get(f"/v1/apps/{tenant.app_id}/keys", headers=org).json()["keys"]
    assert [(key["label"], key["revoked"]) for key in keys] == [
        ("", False),
        ("", False),
        (MARKER, False),
        (MARKER, False),
    ]
    assert tenant.ask("/v1/failed-events", min_position=tenant.head())["total"] == 1


def test_lists_and_figures_never_hold_anothers_marker(new_tenant, victim, other_organisation):
    tenant = new_tenant()
    position = tenant.sent({"event_name": "Mine", "user_id": f"{MARKER}-user"[:5]})
    where = json.dumps([{"property": "secret", "operator": "contains", "value": MARKER}])
    for path, given in (
        ("/v1/events", {"limit": 1000}),
        ("/v1/events", {"where": where}),
        ("/v1/events", {"user_id": f"{MARKER}-user"}),
        ("/v1/events", {"event_name": f"{MARKER} event"}),
        ("/v1/events/names", {}),
        ("/v1/events/names", {"prefix": MARKER}),
        ("/v1/failed-events", {"limit": 1000}),
    ):
        answer = tenant.ask(path, min_position=position, **given)
        assert MARKER not in json.dumps(answer), (path, given)
    for name in ("$event", "$user_id", "$distinct_id", "$message_id", "secret", MARKER):
        answer = tenant.trends(
            **{"from": "2026-01-01", "to": "2099-01-01", "interval": "month"},
            breakdown={"property": name, "limit": 100},
        )
        assert MARKER not in json.dumps(answer)
        assert sum(series["total"] for series in answer["data"]["series"]) == 1
    answer = tenant.http.get("/v1/apps", headers=tenant.bearer(other_organisation))
    assert answer.json()["apps"] == []
    assert answer.json()["pagination"]["total"] == 0


def test_the_same_ids_in_two_apps_are_two_people(new_tenant, victim):
    tenant = new_tenant()
    user = victim.objects["user_id"]
    position = tenant.sent({"event_name": "Mine", "user_id": user, "message_id": f"{MARKER}-0"})
    shown = tenant.ask(f"/v1/users/{user}", min_position=position)["user"]
    assert (shown["messages"], shown["traits"]) == (1, {})
    (event,) = tenant.ask(f"/v1/users/{user}/events", min_position=position)["events"]
    assert event["event_name"] == "Mine"
    theirs = victim.tenant.ask(f"/v1/users/{user}", min_position=position)["user"]
    assert theirs["messages"] == 31


def test_traits_of_the_same_id_are_set_in_ones_own_app_only(new_tenant, victim):
    tenant = new_tenant()
    user = victim.objects["user_id"]
    position = tenant.send({"user_id": user, "email": None, "traits": {"plan": "pro"}}, "/v1/users")
    position = position.json()["position"]
    assert tenant.ask(f"/v1/users/{user}", min_position=position)["user"]["traits"] == {
        "plan": "pro"
    }
    theirs = victim.tenant.ask(f"/v1/users/{user}", min_position=position)["user"]
    assert theirs["traits"] == {"email": f"{MARKER}@example.com"}


def test_a_cursor_is_of_use_to_its_app_only(new_tenant, victim, problem):
    tenant = new_tenant()
    for path in ("/v1/events", f"/v1/users/{victim.objects['user_id']}/events"):
        cursor = victim.tenant.ask(path, limit=10)["cursor"]
        assert cursor
        assert len(victim.tenant.ask(path, limit=10, cursor=cursor)["events"]) == 10
        problem(tenant.get("/v1/events", cursor=cursor), 400, "INVALID_REQUEST", field="cursor")
        answer = tenant.get(path, cursor=cursor)
        problem(answer, 400, "INVALID_REQUEST", field="cursor")


def test_a_message_may_not_name_another_app(new_tenant, victim, problem):
    """Unknown fields are refused; in Segment's dialect they are left out."""
    tenant = new_tenant()
    for name in ("app_id", "appId", "app", "position", "app_number"):
        body = {"event_name": "Mine", "user_id": "u", name: victim.tenant.app_id}
        problem(tenant.send(body), 400, "INVALID_REQUEST", field=name)
        body = {"event": "Mine", "userId": "u", name: victim.tenant.app_id}
        assert tenant.send(body, "/v1/track").status_code == 200
    assert len(tenant.events()) == 5
    assert not [e for e in victim.tenant.events() if e["event_name"] == "Mine"]
