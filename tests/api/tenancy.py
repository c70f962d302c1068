"""What kind of key each route takes, and what is asked of it."""

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
