"""min_position: reading one's own write."""

import concurrent.futures

import pytest

from domain.limits import MAX_WAIT_SECONDS

QUESTION = {"from": "2026-01-01", "to": "2026-01-02"}


def test_writes_are_each_read_back_at_once(tenant):
    for number in range(20):
        name = f"m{number}"
        position = tenant.sent({"event_name": "E", "user_id": "u", "message_id": name})
        answer = tenant.ask("/v1/events", limit=1, min_position=position)
        assert answer["position"] >= position
        assert answer["events"][0]["message_id"] == name


def test_every_query_waits_for_the_position(tenant):
    for number in range(1, 11):
        position = tenant.sent(
            {"event_name": "E", "user_id": "u", "timestamp": "2026-01-01T12:00:00Z"}
        )
        wait = {"min_position": position}
        assert tenant.ask("/v1/users/u", **wait)["user"]["messages"] == number
        position = tenant.sent(
            {"event_name": "F", "user_id": "v", "timestamp": "2026-01-01T12:00:00Z"}
        )
        wait = {"min_position": position}
        assert len(tenant.ask("/v1/users/v/events", **wait)["events"]) == number
        names = tenant.ask("/v1/events/names", **wait)["names"]
        assert [name["count"] for name in names] == [number, number]
        found = tenant.trends(**QUESTION, min_position=position)
        assert found["data"]["series"][0]["total"] == 2 * number
        assert found["position"] >= position


def test_a_position_of_the_past_waits_for_nothing(tenant):
    position = tenant.sent({"event_name": "E", "user_id": "u"})
    tenant.ask("/v1/events", min_position=position)
    for past in (0, 1, position):
        assert len(tenant.ask("/v1/events", min_position=past)["events"]) == 1


def test_a_position_beyond_the_log_is_answered_after_a_while_with_the_lag(tenant, problem):
    """The one slow test here: all ways of asking wait at the same time."""
    beyond = tenant.head() + 1_000_000
    headers = tenant.bearer(tenant.secret_key)
    tenant.sent({"event_name": "E", "user_id": "u"})

    def ask(path: str):
        if path == "/v1/analytics/trends":
            body = {**QUESTION, "min_position": beyond}
            return tenant.http.post(path, headers=headers, json=body)
        return tenant.get(path, min_position=beyond)

    paths = ["/v1/events", "/v1/events/names", "/v1/users/u", "/v1/users/u/events"]
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(ask, [*paths, "/v1/analytics/trends"]))
    for answer in answers:
        details = problem(answer, 504, "NOT_CAUGHT_UP", min_position=beyond)
        assert details["lag"] == beyond - details["position"]
        assert f"{details['lag']} behind" in answer.json()["message"]
        assert answer.elapsed.total_seconds() >= MAX_WAIT_SECONDS


@pytest.mark.parametrize("position", [-1, 2**53 + 1, "x", 1.5])
def test_a_trend_refuses_a_position_that_is_none(tenant_of_all, problem, position):
    answer = tenant_of_all.http.post(
        "/v1/analytics/trends",
        headers=tenant_of_all.bearer(tenant_of_all.secret_key),
        json={**QUESTION, "min_position": position},
    )
    problem(answer, 400, "INVALID_REQUEST", field="min_position")
