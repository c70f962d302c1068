"""/healthz, /readyz and /metrics."""

import re
from pathlib import Path

import pytest

from tests.fixtures.read_models import ALL


def metrics(http) -> dict[str, float]:
    """Sample -> value, labels and all."""
    text = http.get("/metrics").text
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }


def test_it_is_alive(http):
    answer = http.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_it_is_ready_when_it_can_write_publish_and_query(http):
    answer = http.get("/readyz")
    assert answer.status_code == 200
    said = answer.json()
    assert said["ready"] is True
    assert said["degraded"] == []
    assert set(said["checks"]) == {"store", "feed", "analytics"}
    for check in said["checks"].values():
        assert (check["ok"], check["reason"]) == (True, "")
        assert check["ms"] > 0
    followers = {standing["name"] for standing in said["projections"]}
    assert followers == {*ALL, "relay"}
    for standing in said["projections"]:
        assert set(standing) == {"name", "position", "head", "lag_ms"}
        assert 0 <= standing["position"] <= standing["head"]


def test_metrics_are_prometheus_text(http):
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in answer.text.splitlines():
        assert line.startswith("# ") or re.fullmatch(r"[a-z_]+(\{[^}]*\})? \S+", line), line


def test_metrics_count_what_became_of_events(tenant):
    before = metrics(tenant.http)
    good = {"event_name": "E", "user_id": "u", "message_id": "m"}
    tenant.send({"events": [good, good, {**good, "user_id": "v"}, {}]}, "/v1/events/batch")
    after = metrics(tenant.http)
    for status in ("accepted", "duplicate", "conflict", "rejected"):
        name = f'appizer_ingest_messages_total{{status="{status}"}}'
        assert after[name] - before.get(name, 0) == 1
    assert after["appizer_append_events_sum"] > before["appizer_append_events_sum"]
    assert after["appizer_append_seconds_count"] > before["appizer_append_seconds_count"]
    assert after["appizer_append_queue_events"] == 0


@pytest.mark.parametrize("follower", [*ALL, "relay"])
@pytest.mark.parametrize("figure", ["positions", "seconds"])
def test_metrics_tell_the_lag_of_each_follower(tenant_of_all, follower, figure):
    name = f'appizer_projection_lag_{figure}{{projection="{follower}"}}'
    assert metrics(tenant_of_all.http)[name] >= 0


def test_one_page_has_the_metrics_of_all_roles(http):
    operations = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    listed = set(re.findall(r"^\| `(appizer_\w+)`", operations, re.MULTILINE))
    told = set(re.findall(r"^# HELP (appizer_\w+)", http.get("/metrics").text, re.MULTILINE))
    assert listed <= told
    assert metrics(http)['appizer_projector_position{role="projector"}'] > 0


def test_metrics_and_health_tell_nothing_of_anybody(tenant):
    """They need no key."""
    tenant.sent({"event_name": "Marker-event", "user_id": "marker-user"})
    tenant.send({"event_name": "Marker-event", "user_id": ["marker-user"]})
    tenant.events()
    for path in ("/metrics", "/readyz", "/healthz"):
        text = tenant.http.get(path).text
        for secret in ("arker", tenant.app_id, tenant.write_key, tenant.secret_key):
            assert secret not in text
