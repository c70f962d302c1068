"""No key opens another tenant's door: every route of the OpenAPI document, every foreign key.

A new route fails `test_every_route_has_an_expectation` until its kind stands in KINDS.
"""

import itertools
import json
import re
from typing import NamedTuple
from uuid import uuid4

import pytest

from tests.api.tenancy import (
    ADDRESS,
    ASKED,
    BODIES,
    CHANGES,
    ERASE,
    INGEST,
    ITEM,
    KINDS,
    MARKED,
    MARKER,
    NAMING,
    NOBODY,
    OWNER,
    READ,
)


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
