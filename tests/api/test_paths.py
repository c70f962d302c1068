"""POST /v1/analytics/paths: the shape that was promised, and figures that can be counted by hand.

tests/analytics checks the computation; here it is the whole way from an event to the answer.
"""

import pytest

from tests.fixtures.patience import asked_again

SENT = {"ada": ("open", "search", "search", "buy"), "grace": ("open", "buy"), "linus": ("open",)}


@pytest.fixture(scope="module")
def filled(new_tenant):
    """An event every minute."""
    tenant = new_tenant()
    events = [
        {"event_name": name, "user_id": user, "timestamp": f"2026-03-28T12:0{minute}:00Z"}
        for user, names in SENT.items()
        for minute, name in enumerate(names)
    ]
    assert tenant.send({"events": events}, "/v1/events/batch").status_code == 202
    tenant.events()
    return tenant


def asked(tenant, **question: object) -> dict:
    body = {"from": "2026-03-28", "to": "2026-03-28", **question}
    headers = tenant.bearer(tenant.secret_key)
    answer = asked_again(
        lambda: tenant.http.post("/v1/analytics/paths", headers=headers, json=body)
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def node(step: int, label: str, sessions: int, entries: int, drop_offs: int) -> dict:
    return {
        "step": step,
        "label": label,
        "kind": "other" if label == "$other" else "value",
        "sessions": sessions,
        "entries": entries,
        "drop_offs": drop_offs,
    }


def link(step: int, places: tuple[int, int], names: tuple[str, str], seconds: float) -> dict:
    return {
        "step": step,
        "source": places[0],
        "target": places[1],
        "from": names[0],
        "to": names[1],
        "count": 1,
        "average_seconds": seconds,
    }


def test_an_answer_has_the_promised_shape(filled):
    answer = asked(filled, steps=3)
    assert set(answer) == {
        *("success", "data", "position", "lag_ms", "query_time_ms", "exact", "previous")
    }
    assert answer["data"] == {
        "sessions": 3,
        "nodes": [
            node(1, "open", 3, 3, 1),
            node(2, "buy", 1, 0, 1),
            node(2, "search", 1, 0, 0),
            node(3, "buy", 1, 0, 1),
        ],
        "links": [
            link(1, (0, 1), ("open", "buy"), 60.0),
            link(1, (0, 2), ("open", "search"), 60.0),
            link(2, (2, 3), ("search", "buy"), 120.0),
        ],
    }


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"start_event": "search"}, [(1, "search", "buy", 1)]),
        ({"end_event": "buy", "steps": 2}, [(1, "open", "buy", 1), (1, "search", "buy", 1)]),
        ({"limit": 1}, [(1, "open", "$other", 1), (1, "open", "buy", 1), (2, "$other", "buy", 1)]),
        ({"exclude": ["search"]}, [(1, "open", "buy", 2)]),
        ({"as_of": "2026-03-28T12:00Z"}, []),
    ],
)
def test_links_are_those_of_the_events(filled, question, expected):
    links = asked(filled, **question)["data"]["links"]
    told = [(link["step"], link["from"], link["to"], link["count"]) for link in links]
    assert sorted(told) == expected


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({"start_event": "a", "end_event": "b"}, "end_event"),
        ({"steps": 9}, "steps"),
        ({"exclude": "a"}, "exclude"),
        ({"collapse_repeats": 1}, "collapse_repeats"),
    ],
)
def test_a_question_that_is_none_is_refused_with_the_field(tenant_of_all, problem, question, field):
    headers = tenant_of_all.bearer(tenant_of_all.secret_key)
    body = {"from": "2026-01-01", "to": "2026-01-31", **question}
    answer = tenant_of_all.http.post("/v1/analytics/paths", headers=headers, json=body)
    problem(answer, 400, "INVALID_REQUEST", field=field)
