"""POST /v1/analytics/retention: the shape that was promised, and figures that can be counted by
hand. tests/analytics checks the computation; here it is the whole way from an event to the answer.
"""

import pytest

from tests.fixtures.patience import asked_again

SENT = (  # weeks from March 2, 9 and 16
    ("ada", "sign up", "2026-03-02", "pro"),
    ("ada", "order", "2026-03-10", "pro"),
    ("grace", "sign up", "2026-03-03", "free"),
    ("grace", "order", "2026-03-03", "free"),
    ("phone", "sign up", "2026-03-11", None),
    ("linus", "order", "2026-03-18", None),
)


@pytest.fixture(scope="module")
def filled(new_tenant):
    """Phone turns out to be Linus."""
    tenant = new_tenant()
    events = [
        {
            "event_name": name,
            **({"anonymous_id": user} if user == "phone" else {"user_id": user}),
            "timestamp": f"{day}T12:00:00Z",
            "properties": {"plan": plan} if plan else {},
        }
        for user, name, day, plan in SENT
    ]
    answer = tenant.send({"events": events}, "/v1/events/batch").json()
    tenant.before = answer["results"][-1]["position"]
    link = {"type": "identify", "userId": "linus", "anonymousId": "phone"}
    assert tenant.send(link, "/v1/identify").status_code == 200
    tenant.events()
    return tenant


def asked(tenant, **question: object) -> dict:
    body = {"from": "2026-03-02", "to": "2026-03-15", "periods": 2, **question}
    headers = tenant.bearer(tenant.secret_key)
    answer = asked_again(
        lambda: tenant.http.post("/v1/analytics/retention", headers=headers, json=body)
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def counts(answer: dict) -> dict:
    """Label -> cohorts as (size, counts)."""
    return {
        series["label"]: [
            (cohort["size"], [value["count"] for value in cohort["values"]])
            for cohort in series["cohorts"]
        ]
        for series in answer["data"]["series"]
    }


def test_an_answer_has_the_promised_shape(filled):
    question = {"start_event": "sign up", "return_event": "order", "timezone": "Europe/Berlin"}
    answer = asked(filled, **question, periods=1)
    assert set(answer) == {
        *("success", "data", "position", "lag_ms", "query_time_ms", "exact", "source", "previous"),
    }
    assert answer["source"] == "rows"
    complete = {"complete": True}
    assert answer["data"] == {
        "series": [
            {
                "label": "$all",
                "kind": "all",
                "value": None,
                "size": 3,
                "cohorts": [
                    {
                        "start": "2026-03-02T00:00:00+01:00",
                        "size": 2,
                        "values": [
                            {"count": 1, "rate": 0.5, **complete},
                            {"count": 1, "rate": 0.5, **complete},
                        ],
                    },
                    {
                        "start": "2026-03-09T00:00:00+01:00",
                        "size": 1,
                        "values": [
                            {"count": 0, "rate": 0.0, **complete},
                            {"count": 1, "rate": 1.0, **complete},
                        ],
                    },
                ],
                "totals": [
                    {"period": 0, "size": 3, "count": 1, "rate": 0.333333},
                    {"period": 1, "size": 3, "count": 2, "rate": 0.666667},
                ],
            }
        ]
    }


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({"start_event": "sign up"}, {"$all": [(2, [1, 1, 0]), (1, [0, 1, 0])]}),
        (
            {"start_event": "sign up", "kind": "recurring", "period_zero": "cohort"},
            {"$all": [(2, [2, 1, 0]), (1, [1, 1, 0])]},
        ),
        (
            {"start_event": "sign up", "breakdown": {"property": "plan", "limit": 1}},
            {
                "free": [(1, [1, 0, 0]), (0, [0, 0, 0])],
                "$none": [(0, [0, 0, 0]), (1, [0, 1, 0])],
                "$other": [(1, [0, 1, 0]), (0, [0, 0, 0])],
            },
        ),
        (
            {
                "start_event": "sign up",
                "start_where": [{"property": "plan", "operator": "equals", "value": "pro"}],
                "unbounded": True,
            },
            {"$all": [(1, [1, 1, 0]), (0, [0, 0, 0])]},
        ),
    ],
)
def test_figures_are_those_of_the_events(filled, question, expected):
    assert counts(asked(filled, **question)) == expected


def test_a_question_of_the_past_knows_the_persons_of_then(filled):
    then = asked(filled, start_event="sign up", known_at=filled.before)
    assert counts(then) == {"$all": [(2, [1, 1, 0]), (1, [0, 0, 0])]}
    assert then["position"] == filled.before


def test_what_was_not_over_at_as_of_is_not_complete(filled):
    answer = asked(filled, as_of="2026-03-14")
    (series,) = answer["data"]["series"]
    told = [[v["complete"] for v in cohort["values"]] for cohort in series["cohorts"]]
    assert told == [[True, False, False], [False, False, False]]
    assert [total["size"] for total in series["totals"]] == [2, 0, 0]
    assert series["totals"][1]["rate"] is None


def test_a_hot_question_is_answered_from_the_rollups(filled):
    question = {"kind": "recurring", "period_zero": "cohort", "start_event": "sign up"}
    assert asked(filled, **question)["source"] == "day"
    assert asked(filled, **question, timezone="Europe/Berlin")["source"] == "hour"
    assert asked(filled, **question, timezone="Asia/Kolkata")["source"] == "rows"


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({"interval": "hour"}, "interval"),
        ({"kind": "once"}, "kind"),
        ({"periods": 1.5}, "periods"),
        ({"periods": 0}, "periods"),
        ({"return_events": "order"}, "return_events"),
        ({"start_where": [{"property": "a", "operator": "less"}]}, "start_where[0].value"),
    ],
)
def test_a_question_that_is_none_is_refused_with_the_field(tenant_of_all, problem, question, field):
    headers = tenant_of_all.bearer(tenant_of_all.secret_key)
    body = {"from": "2026-01-01", "to": "2026-01-31", **question}
    answer = tenant_of_all.http.post("/v1/analytics/retention", headers=headers, json=body)
    problem(answer, 400, "INVALID_REQUEST", field=field)
