"""What senders and watchers see when the store is away or too slow, and that it mends itself."""

import concurrent.futures
import time
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

EVENT = {"event_name": "E", "user_id": "u"}
APPEND_LOCK = 4711  # infrastructure/migrations/0001_log.sql, log.lock_head


@pytest.fixture
def held_up(settings_in_force):
    """While it is entered nothing can be appended to the log."""
    with psycopg.connect(settings_in_force["APPIZER_DATABASE_URL"]) as connection:

        class Held:
            def __enter__(self):
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (APPEND_LOCK,))

            def __exit__(self, *_):
                connection.rollback()

        yield Held()


@pytest.fixture
def over_a_wire(settings_in_force, wire, start_api):
    """(an API whose database can be cut off, the wire to it)."""
    address = urlsplit(settings_in_force["APPIZER_DATABASE_URL"])
    laid = wire(address.hostname, address.port)
    place = f"{address.username}:{address.password}@127.0.0.1:{laid.port}"
    return start_api(database_url=f"postgresql://{place}{address.path}"), laid


def overloaded(problem, answer: httpx.Response) -> None:
    problem(answer, 503, "UNAVAILABLE")
    assert int(answer.headers["retry-after"]) >= 1


def queue(api: httpx.Client) -> int:
    name = "appizer_append_queue_events "
    lines = api.get("/metrics").text.splitlines()
    return int(float(next(line for line in lines if line.startswith(name)).removeprefix(name)))


def test_a_full_queue_is_answered_at_once_and_what_waits_is_stored(
    tenant, start_api, held_up, problem
):
    api = start_api(queue_events="20")
    headers = tenant.bearer(tenant.write_key)

    def send(number: int) -> httpx.Response:
        return api.post(
            "/v1/events", headers=headers, json={**EVENT, "message_id": f"m{number}"}, timeout=60
        )

    assert send(0).status_code == 202
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        with held_up:
            waiting = [pool.submit(send, number) for number in range(1, 61)]
            while queue(api) < 20:
                time.sleep(0.02)
            refused = [send(number) for number in range(100, 105)]
            batch = {"events": [EVENT] * 3}
            refused.append(api.post("/v1/events/batch", headers=headers, json=batch))
            track = {"event": "E", "userId": "u"}
            refused.append(api.post("/v1/track", headers=headers, json=track))
        answers = [one.result() for one in waiting]
    for answer in refused:
        overloaded(problem, answer)
    taken = {number for number, one in enumerate(answers, 1) if one.status_code == 202}
    assert len(taken) > 20
    for number, answer in enumerate(answers, 1):
        if number not in taken:
            overloaded(problem, answer)
    stored = {event["message_id"] for event in tenant.events()}
    assert stored == {"m0"} | {f"m{number}" for number in taken}
    assert send(200).status_code == 202


def test_a_store_that_is_away_is_told_and_mends_without_a_restart(tenant, over_a_wire, problem):
    api, laid = over_a_wire
    write, read = tenant.bearer(tenant.write_key), tenant.bearer(tenant.secret_key)
    assert api.get("/readyz").status_code == 200
    first = api.post("/v1/events", headers=write, json={**EVENT, "message_id": "before"})
    assert first.status_code == 202
    assert api.get("/v1/events", headers=read).status_code == 200

    laid.cut()
    for path, body in (
        ("/v1/events", {**EVENT, "message_id": "during"}),
        ("/v1/events/batch", {"events": [EVENT]}),
        ("/v1/batch", {"batch": [{"type": "track", "event": "E", "userId": "u"}]}),
    ):
        overloaded(problem, api.post(path, headers=write, json=body))
    overloaded(problem, api.get("/v1/events", headers=read))
    while (answer := api.get("/readyz")).status_code != 503:
        time.sleep(0.2)
    assert answer.json()["ready"] is False
    assert answer.json()["checks"]["store"]["ok"] is False
    assert answer.json()["checks"]["analytics"]["ok"] is True
    assert api.get("/healthz").status_code == 200
    assert api.get("/metrics").status_code == 200

    laid.mend()
    while (
        answer := api.post("/v1/events", headers=write, json={**EVENT, "message_id": "during"})
    ).status_code == 503:
        time.sleep(0.1)
    assert answer.status_code == 202
    while api.get("/readyz").status_code != 200:
        time.sleep(0.2)
    while (answer := api.get("/v1/events", headers=read)).status_code == 503:
        time.sleep(0.1)  # each of its connections finds out for itself
    assert answer.status_code == 200
    sent = [event["message_id"] for event in tenant.events()]
    assert sorted(sent) == ["before", "during"]


def test_without_a_database_a_key_never_seen_is_not_called_wrong(tenant, over_a_wire, problem):
    api, laid = over_a_wire
    laid.cut()
    overloaded(problem, api.post("/v1/events", headers=tenant.bearer(tenant.write_key), json=EVENT))
    overloaded(problem, api.get("/v1/apps", headers=tenant.bearer(tenant.org_key)))
    mistyped = api.post("/v1/events", headers=tenant.bearer("ak_mistyped"), json=EVENT)
    problem(mistyped, 401, "INVALID_API_KEY")


def test_without_the_analytics_engine_events_are_taken_and_people_known(tenant, start_api, problem):
    api = start_api(analytics_url="http://default:none@127.0.0.1:1/default")
    position = api.post("/v1/events", headers=tenant.bearer(tenant.write_key), json=EVENT).json()[
        "position"
    ]
    read = tenant.bearer(tenant.secret_key)
    user = api.get("/v1/users/u", headers=read, params={"min_position": position})
    assert user.json()["user"]["messages"] == 1
    for path in ("/v1/events", "/v1/events/names", "/v1/users/u/events"):
        overloaded(problem, api.get(path, headers=read))
    question = {"from": "2026-01-01", "to": "2026-01-02"}
    overloaded(problem, api.post("/v1/analytics/trends", headers=read, json=question))
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert {name: check["ok"] for name, check in answer.json()["checks"].items()} == {
        "store": True,
        "feed": True,
        "analytics": False,
    }
