"""What three unmodified SDKs sent, replayed byte for byte against a running instance."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

EVENTS = ("track", "page", "screen")


def name_of(message: dict[str, Any]) -> str:
    if message["type"] == "track":
        return message["event"]
    return " ".join(filter(None, (message.get("category"), message.get("name")))) or message["type"]


def properties_of(message: dict[str, Any]) -> dict[str, Any]:
    """A page's name and category are among its properties, where browsers put them anyway."""
    properties = dict(message.get("properties") or {})
    if message["type"] != "track":
        for key in ("category", "name"):
            if message.get(key):
                properties.setdefault(key, message[key])
    return properties


def time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def type_of(message: dict[str, Any], path: str) -> str:
    short = {kind[0]: kind for kind in ("track", "identify", "page", "screen", "group", "alias")}
    return message.get("type") or short[path.rpartition("/")[2]]


def test_every_request_is_answered_as_the_sdk_likes_it(scenario, tenant):
    for request in scenario.requests:
        answer = request.replayed(tenant.http, tenant.write_key)
        if request.method == "OPTIONS":
            assert answer.status_code == 204
        elif request.method == "GET":
            assert tenant.write_key in answer.text
            assert answer.status_code == 200
        else:
            assert (answer.status_code, answer.json()) == (200, {"success": True})
        if "origin" in request.headers:
            assert answer.headers["access-control-allow-origin"] == "*"


def test_what_was_sent_is_found(scenario, tenant):
    expected: dict[str, tuple[dict[str, Any], timedelta | None]] = {}
    identified: dict[str, dict[str, Any]] = {}
    for request in scenario.requests:
        request.replayed(tenant.http, tenant.write_key)
        for message in request.messages:
            message["type"] = type_of(message, request.path)
            if message["type"] in EVENTS:
                sent_at = request.sent_at or message.get("sentAt")
                ago = time(sent_at) - time(message["timestamp"]) if sent_at else None
                expected.setdefault(message["messageId"], (message, ago))
            if message["type"] == "identify":
                traits = message.get("traits") or message["context"].get("traits")
                identified.setdefault(message["userId"], {}).update(traits)
    found = {event["message_id"]: event for event in tenant.events()}
    assert set(found) == set(expected)
    for message_id, (message, ago) in expected.items():
        event = found[message_id]
        assert event["kind"] == message["type"]
        assert event["event_name"] == name_of(message)
        assert event["user_id"] == (message.get("userId") or None)
        assert event["anonymous_id"] == (message.get("anonymousId") or None)
        assert event["properties"] == properties_of(message)
        assert event["context"] == message["context"]
        assert event["source"] == "segment"
        assert ago is not None
        assert abs(time(event["received_at"]) - time(event["timestamp"]) - ago) < timedelta(
            microseconds=2
        )
    assert tenant.ask("/v1/failed-events", min_position=tenant.head())["total"] == 0
    for user_id, traits in identified.items():
        assert tenant.ask(f"/v1/users/{user_id}")["user"]["traits"] == traits


def test_what_is_sent_again_is_kept_once(scenario, tenant):
    for _ in range(2):
        for request in scenario.requests:
            assert request.replayed(tenant.http, tenant.write_key).is_success
    counted = Counter(event["message_id"] for event in tenant.events())
    assert set(counted.values()) <= {1}
