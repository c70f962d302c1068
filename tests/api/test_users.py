"""GET /v1/users/{id}: who is this person, as far as their ids have said."""

from urllib.parse import quote

import pytest


def test_a_profile_holds_the_latest_of_each_trait(tenant):
    calls = [
        ("2026-01-02T00:00:00Z", {"plan": "pro", "email": "ada@example.com"}),
        ("2026-01-01T00:00:00Z", {"plan": "free", "name": "Ada"}),
        ("2026-01-03T00:00:00Z", {"seats": 5, "tags": ["a"], "gone": None}),
    ]
    for timestamp, traits in calls:
        body = {"userId": "ada", "traits": traits, "timestamp": timestamp}
        assert tenant.send(body, "/v1/identify").status_code == 200
    position = tenant.sent(
        {"event_name": "E", "user_id": "ada", "timestamp": "2026-01-04T00:00:00Z"}
    )
    answer = tenant.ask("/v1/users/ada", min_position=position)
    assert set(answer) == {"success", "user", "position", "lag_ms"}
    user = answer["user"]
    assert set(user) == {
        *("user_id", "traits", "trait_sources", "messages", "first_seen", "last_seen"),
        *("ids", "ids_total", "groups"),
    }
    assert user["user_id"] == "ada"
    assert user["traits"] == {
        "plan": "pro",
        "email": "ada@example.com",
        "name": "Ada",
        "seats": 5,
        "tags": ["a"],
        "gone": None,
    }
    assert user["trait_sources"]["plan"]["timestamp"].startswith("2026-01-02T00:00:00")
    assert user["messages"] == 4
    assert user["first_seen"].startswith("2026-01-01T00:00:00")
    assert user["last_seen"].startswith("2026-01-04T00:00:00")
    assert answer["position"] >= position


@pytest.mark.parametrize(
    "user_id",
    [
        *("ada@example.com", "日本", "a b", "0", "null", "%41", "a?b#c", "..", "x" * 200, "😀"),
        *("a/b", "/", "a//b/", "/events", "a/events", "%2F", "日/本 %", "../a"),
    ],
)
def test_an_id_of_any_characters_is_found(tenant, user_id):
    position = tenant.sent({"event_name": "E", "user_id": user_id})
    path = f"/v1/users/{quote(user_id, safe='')}".replace("..", "%2E%2E")
    found = tenant.ask(path, min_position=position)["user"]
    assert (found["user_id"], found["messages"]) == (user_id, 1)
    (event,) = tenant.ask(f"{path}/events", min_position=position)["events"]
    assert event["user_id"] == user_id
    (event,) = tenant.events(user_id=user_id)
    assert event["user_id"] == user_id


def test_an_anonymous_person_has_a_profile_too(tenant):
    position = tenant.sent({"event_name": "E", "anonymous_id": "anon"})
    assert tenant.ask("/v1/users/anon", min_position=position)["user"]["messages"] == 1


def test_a_slash_is_the_ids_own_only_where_it_is_encoded(tenant):
    position = tenant.sent({"event_name": "E", "user_id": "a/events"})
    found = tenant.ask("/v1/users/a%2fevents", min_position=position)["user"]
    assert found["user_id"] == "a/events"
    assert tenant.get("/v1/users/a/events").status_code == 404
    assert tenant.get("/v1/users/a%2Fevents%2Fevents").status_code == 404
    assert tenant.get("/v1/events%2Fnames").status_code == 404
