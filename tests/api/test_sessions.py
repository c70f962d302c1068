"""POST /v1/analytics/sessions: the shape that was promised, and figures that can be counted by
hand. tests/analytics checks the computation; here it is the whole way from an event to the answer.
"""

import pytest

from tests.fixtures.patience import asked_again

SENT = (
    ("ada", "22:30", "ad"),
    ("ada", "22:40", None),
    ("ada", "23:10", None),  # half an hour later
    ("ada", "23:41", "mail"),
    ("grace", "09:00", "ad"),
)


@pytest.fixture(scope="module")
def filled(new_tenant):
    tenant = new_tenant()
    events = [
        {
            "event_name": "open",
            "user_id": user,
            "timestamp": f"2026-03-28T{at}:00Z",
            "properties": {"from": source} if source else {},
        }
        for user, at, source in SENT
    ]
    assert tenant.send({"events": events}, "/v1/events/batch").status_code == 202
    tenant.events()
    return tenant


def asked(tenant, **question: object) -> dict:
    body = {"from": "2026-03-28", "to": "2026-03-29", **question}
    headers = tenant.bearer(tenant.secret_key)
    answer = asked_again(
        lambda: tenant.http.post("/v1/analytics/sessions", headers=headers, json=body)
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_answer_has_the_promised_shape(filled):
    answer = asked(filled, breakdown={"property": "from", "limit": 1}, timezone="Europe/Berlin")
    assert set(answer) == {
        *("success", "data", "position", "lag_ms", "query_time_ms", "exact", "previous")
    }
    days = ("2026-03-28T00:00:00+01:00", "2026-03-29T00:00:00+01:00")
    two = {
        "sessions": 2,
        "persons": 2,
        "average_seconds": 1200.0,
        "median_seconds": 1200.0,
        "events_per_session": 2.0,
        "bounce_rate": 0.5,
    }
    one = {
        "sessions": 1,
        "persons": 1,
        "average_seconds": 0.0,
        "median_seconds": 0.0,
        "events_per_session": 1.0,
        "bounce_rate": 1.0,
    }
    none = {**dict.fromkeys(two), "sessions": 0, "persons": 0}
    assert answer["data"] == {
        "series": [
            {
                "label": "ad",
                "kind": "value",
                "value": "ad",
                "values": [
                    {**two, "start": days[0], "complete": True},
                    {**none, "start": days[1], "complete": True},
                ],
                "total": two,
            },
            {
                "label": "$other",
                "kind": "other",
                "value": None,
                "values": [
                    {**none, "start": days[0], "complete": True},
                    {**one, "start": days[1], "complete": True},
                ],
                "total": one,
            },
        ]
    }


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({}, [3, 0]),
        ({"gap_minutes": 31}, [2, 0]),
        ({"gap_minutes": 9}, [5, 0]),
        ({"event": "close"}, [0, 0]),
        ({"where": [{"property": "from", "operator": "is_set"}]}, [3, 0]),
        ({"from": "2026-03-28T22:35", "to": "2026-03-29T00:00"}, [1]),  # Ada's first began before
        ({"interval": "week"}, [3]),
        ({"as_of": "2026-03-28T22:00Z"}, [1, 0]),
    ],
)
def test_figures_are_those_of_the_events(filled, question, expected):
    (series,) = asked(filled, **question)["data"]["series"]
    assert [value["sessions"] for value in series["values"]] == expected


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({"gap_minutes": 0}, "gap_minutes"),
        ({"gap_minutes": "30"}, "gap_minutes"),
        ({"interval": "minute"}, "interval"),
        ({"breakdown": {}}, "breakdown.property"),
    ],
)
def test_a_question_that_is_none_is_refused_with_the_field(tenant_of_all, problem, question, field):
    headers = tenant_of_all.bearer(tenant_of_all.secret_key)
    body = {"from": "2026-01-01", "to": "2026-01-31", **question}
    answer = tenant_of_all.http.post("/v1/analytics/sessions", headers=headers, json=body)
    problem(answer, 400, "INVALID_REQUEST", field=field)
