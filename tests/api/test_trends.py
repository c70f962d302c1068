"""POST /v1/analytics/trends: the shape that was promised, and figures that can be counted by hand.

tests/analytics checks the computation; here it is the whole way from an event to the answer.
"""

import itertools
from collections import Counter

import pytest

from domain.limits import MAX_REQUEST_EVENTS
from projections.trends import CELLS

DAYS = ("2026-03-28", "2026-03-29", "2026-03-30", "2026-04-01")


@pytest.fixture(scope="module")
def filled(new_tenant):
    """On each of four days: 3 commits of Ada's (2 .py, 1 without ext), 1 of Grace's, 1 review."""
    tenant = new_tenant()
    events = []
    for day in DAYS:
        for user, name, properties in (
            ("ada", "commit", {"ext": "py", "lines": 5}),
            ("ada", "commit", {"ext": "py", "lines": 7}),
            ("ada", "commit", {"lines": 1}),
            ("grace", "commit", {"ext": "rs", "lines": 9}),
            ("grace", "review", {"ext": "py"}),
        ):
            event = {"event_name": name, "user_id": user, "timestamp": f"{day}T22:30:00Z"}
            events.append({**event, "properties": properties})
    results = tenant.send({"events": events}, "/v1/events/batch").json()["results"]
    tenant.ask("/v1/events", min_position=results[-1]["position"])
    return tenant


def asked(tenant, **question: object) -> dict[str, list[int]]:
    """Label -> values."""
    answer = tenant.trends(**{"from": "2026-03-28", "to": "2026-04-01", **question})
    return {s["label"]: [v["value"] for v in s["values"]] for s in answer["data"]["series"]}


def test_an_answer_has_the_promised_shape(filled):
    answer = filled.trends(
        **{"from": "2026-03-28", "to": "2026-03-29"},
        event="commit",
        measure="total",
        interval="day",
        timezone="Europe/Berlin",
        breakdown={"property": "ext", "limit": 1},
        where=[{"property": "lines", "operator": "greater", "value": 4}],
        min_position=1,
    )
    assert set(answer) == {
        *("success", "data", "position", "lag_ms", "query_time_ms", "exact", "source", "previous"),
    }
    assert answer["success"] is True
    assert answer["exact"] is True
    assert answer["query_time_ms"] > 0
    assert answer["data"] == {
        "series": [
            {
                "label": "py",
                "kind": "value",
                "value": "py",
                "values": [
                    {"start": "2026-03-28T00:00:00+01:00", "value": 2, "complete": True},
                    {"start": "2026-03-29T00:00:00+01:00", "value": 0, "complete": True},
                ],
                "total": 2,
            },
            {
                "label": "$other",
                "kind": "other",
                "value": None,
                "values": [
                    {"start": "2026-03-28T00:00:00+01:00", "value": 1, "complete": True},
                    {"start": "2026-03-29T00:00:00+01:00", "value": 0, "complete": True},
                ],
                "total": 1,
            },
        ]
    }


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({}, {"$all": [5, 5, 5, 0, 5]}),
        ({"event": None}, {"$all": [5, 5, 5, 0, 5]}),
        ({"event": "commit"}, {"commit": [4, 4, 4, 0, 4]}),
        ({"event": "nothing"}, {"nothing": [0, 0, 0, 0, 0]}),
        ({"measure": "unique"}, {"$all": [2, 2, 2, 0, 2]}),
        ({"event": "review", "measure": "unique"}, {"review": [1, 1, 1, 0, 1]}),
        (
            {"breakdown": {"property": "ext"}},
            {"py": [3, 3, 3, 0, 3], "rs": [1, 1, 1, 0, 1], "$none": [1, 1, 1, 0, 1]},
        ),
        (
            {"breakdown": {"property": "$event"}, "measure": "unique"},
            {"commit": [2, 2, 2, 0, 2], "review": [1, 1, 1, 0, 1]},
        ),
        (
            {"where": [{"property": "$user_id", "operator": "equals", "value": "ada"}]},
            {"$all": [3, 3, 3, 0, 3]},
        ),
        ({"interval": "week"}, {"$all": [10, 10]}),
        ({"interval": "month"}, {"$all": [15, 5]}),
        ({"timezone": "Asia/Kolkata"}, {"$all": [0, 5, 5, 5, 0]}),
        ({"from": "2026-03-29T22:00:00Z", "to": "2026-03-29T23:00:00Z"}, {"$all": [5]}),
        (
            {"from": "2026-03-29T20:00", "to": "2026-03-29T23:00", "interval": "hour"},
            {"$all": [0, 0, 5]},
        ),
    ],
)
def test_figures_are_those_of_the_events(filled, question, expected):
    assert asked(filled, **question) == expected


def test_series_are_told_apart_by_kind_and_typed_value(tenant):
    given = [
        b"5",
        b"5.0",
        b'"5"',
        b"-0",
        b"0",
        b"true",
        b'"true"',
        b'"$none"',
        b'"$other"',
        b"null",
    ]
    for value in given:
        body = b'{"event_name": "E", "user_id": "u", "properties": {"p": ' + value + b"}}"
        position = tenant.sent(body)
    day = "2026-01-01", "2099-12-31"
    asked = {"from": day[0], "to": day[1], "interval": "month", "min_position": position}
    answer = tenant.trends(**asked, breakdown={"property": "p"})["data"]["series"]
    found = [(one["label"], one["kind"], one["value"], one["total"]) for one in answer]
    assert found == [
        ("0", "value", 0, 2),
        ("5", "value", 5, 2),
        ("$none", "value", "$none", 1),
        ("$other", "value", "$other", 1),
        ("5", "value", "5", 1),
        ("true", "value", "true", 1),
        ("true", "value", True, 1),
        ("$none", "none", None, 1),
    ]
    answer = tenant.trends(**asked, breakdown={"property": "p", "limit": 6})["data"]["series"]
    assert (answer[-1]["label"], answer[-1]["kind"], answer[-1]["total"]) == ("$other", "other", 1)
    (whole,) = tenant.trends(**asked)["data"]["series"]
    assert (whole["label"], whole["kind"], whole["value"], whole["total"]) == (
        "$all",
        "all",
        None,
        10,
    )


NONE_BESIDE = [
    ("often", 1, [("a", 3), ("$none", 1), ("$other", 2)]),
    ("often", 2, [("a", 3), ("b", 2), ("$none", 1)]),
    ("seldom", 1, [("$none", 4), ("a", 2), ("$other", 1)]),
    ("seldom", 2, [("$none", 4), ("a", 2), ("b", 1)]),
    ("never", 1, [("$none", 2)]),
]


@pytest.fixture(scope="module")
def planned(new_tenant):
    """Each event is of a person of its own, and some have no plan."""
    tenant = new_tenant()
    plans = {"often": [*"aaabb", None], "seldom": [*"aab", *[None] * 4], "never": [None] * 2}
    events = [
        {"event_name": name, "user_id": f"u{n}", "properties": {"plan": plan} if plan else {}}
        for name, given in plans.items()
        for n, plan in enumerate(given)
    ]
    tenant.send({"events": events}, "/v1/events/batch")
    tenant.events()
    return tenant


@pytest.mark.parametrize("measure", ["total", "unique"])
@pytest.mark.parametrize(("event", "limit", "expected"), NONE_BESIDE)
def test_who_has_no_value_is_a_series_beside_the_first_values(
    planned, measure, event, limit, expected
):
    answer = planned.trends(
        **{"from": "2026-01-01", "to": "2099-12-31"},
        event=event,
        measure=measure,
        interval="month",
        breakdown={"property": "plan", "limit": limit},
    )
    assert [(s["label"], s["total"]) for s in answer["data"]["series"]] == expected


def test_a_total_of_people_is_not_the_sum_of_the_days(filled):
    answer = filled.trends(**{"from": "2026-03-28", "to": "2026-04-01"}, measure="unique")
    (series,) = answer["data"]["series"]
    assert (sum(v["value"] for v in series["values"]), series["total"]) == (8, 2)


def test_days_are_those_of_the_zone_also_when_the_clocks_change(filled):
    """22:30 UTC is 23:30 in Berlin before the change of March 29, 0:30 of the next day after."""
    answer = filled.trends(**{"from": "2026-03-28", "to": "2026-03-31"}, timezone="Europe/Berlin")
    (series,) = answer["data"]["series"]
    assert [(v["start"], v["value"]) for v in series["values"]] == [
        ("2026-03-28T00:00:00+01:00", 5),
        ("2026-03-29T00:00:00+01:00", 0),
        ("2026-03-30T00:00:00+02:00", 5),
        ("2026-03-31T00:00:00+02:00", 5),
    ]


def test_a_bucket_that_is_not_over_says_so(tenant):
    position = tenant.sent({"event_name": "E", "user_id": "u"})
    answer = tenant.trends(
        **{"from": "2026-11-01", "to": "2099-01-01"}, interval="month", min_position=position
    )
    (series,) = answer["data"]["series"]
    complete = [value["complete"] for value in series["values"]]
    assert complete == sorted(complete, reverse=True)
    assert complete[-1] is False
    counted = next(n for n, value in enumerate(series["values"]) if value["value"])
    assert complete[counted] is False
    assert (series["total"], sum(value["value"] for value in series["values"])) == (1, 1)


def test_the_answer_agrees_with_the_listed_events(filled):
    """Whatever the path through rollups: each total is what counting the list gives."""
    listed = filled.events()
    for event, measure in itertools.product([None, "commit", "review"], ["total", "unique"]):
        answer = filled.trends(
            **{"from": "2026-01-01", "to": "2026-12-31"},
            event=event,
            measure=measure,
            interval="month",
        )
        chosen = [e["user_id"] for e in listed if event in (None, e["event_name"])]
        expected = len(chosen) if measure == "total" else len(set(chosen))
        assert answer["data"]["series"][0]["total"] == expected
    by_name = Counter(event["event_name"] for event in listed)
    names = {n["event_name"]: n["count"] for n in filled.ask("/v1/events/names")["names"]}
    assert names == by_name


RANGE = {"from": "2026-01-01", "to": "2026-01-31"}
DEEP = b'{"from":"2026-01-01","to":"2026-01-02","where":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("question", "field"),
    [
        ({}, "from"),
        ({"from": "2026-01-01"}, "to"),
        ({**RANGE, "to": "2025-01-01"}, "to"),
        ({**RANGE, "from": "0001-01-01"}, "from"),
        ({**RANGE, "from": "9999-12-31"}, "from"),
        ({**RANGE, "from": "soon"}, "from"),
        ({**RANGE, "intervall": "day"}, "intervall"),
        ({**RANGE, "interval": "minute"}, "interval"),
        ({**RANGE, "interval": "hour", "from": "2000-01-01"}, "interval"),
        ({**RANGE, "measure": "mode"}, "measure"),
        ({**RANGE, "timezone": "Mars/Olympus"}, "timezone"),
        ({**RANGE, "timezone": "../../etc/passwd"}, "timezone"),
        ({**RANGE, "timezone": "a\0b"}, "timezone"),
        ({**RANGE, "event": "x" * 101}, "event"),
        ({**RANGE, "event": ""}, "event"),
        ({**RANGE, "breakdown": {"property": ""}}, "breakdown.property"),
        ({**RANGE, "breakdown": {"property": "a", "limit": 0}}, "breakdown.limit"),
        ({**RANGE, "breakdown": {"property": "a", "limit": 101}}, "breakdown.limit"),
        ({**RANGE, "breakdown": {}}, "breakdown.property"),
        ({**RANGE, "where": [{"property": "a", "operator": "is"}]}, "where[0].operator"),
        ({**RANGE, "where": [{"property": "a", "operator": "less"}]}, "where[0].value"),
        ({**RANGE, "where": [{"property": "a", "operator": "is_set"}] * 21}, "where"),
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"from":"\xff"}', "body"),
        (DEEP, "body"),
    ],
)
def test_a_question_that_is_none_is_refused_with_the_field(tenant_of_all, problem, question, field):
    headers = tenant_of_all.bearer(tenant_of_all.secret_key)
    given = {"content": question} if isinstance(question, bytes) else {"json": question}
    answer = tenant_of_all.http.post("/v1/analytics/trends", headers=headers, **given)
    problem(answer, 400, "INVALID_REQUEST", field=field)


def test_sums_are_exact_whatever_the_order(new_tenant):
    tenant = new_tenant()
    values = [2**53, 0.1, -(2**53), 0.2, 1]
    events = [
        {"user_id": "ada", "event_name": "paid", "timestamp": f"2026-03-0{day}T12:00:00Z",
         "properties": {"amount": value}}
        for day, value in enumerate(values, 1)
    ]  # fmt: skip
    assert tenant.send({"events": events}, "/v1/events/batch").is_success
    asked = {"from": "2026-03-01", "to": "2026-03-31", "interval": "month", "event": "paid"}
    for measure, value in (("sum", 1.3), ("average", 0.26)):
        answer = tenant.trends(
            **asked, measure=measure, property="amount", min_position=tenant.head()
        )
        (series,) = answer["data"]["series"]
        assert series["total"] == series["values"][0]["value"] == value


def test_a_breakdown_of_very_many_values_is_ranked_all_the_same(new_tenant):
    """More than the engine is asked to tell one by one."""
    tenant = new_tenant()
    names = [f"e{n:04}" for n in range(CELLS + 10)]
    sent = [
        {"event_name": name, "user_id": "u", "timestamp": f"{DAYS[0]}T09:00:00Z"}
        for name in ("e0007", "e0003", "e0003", *names)
    ]
    for first in range(0, len(sent), MAX_REQUEST_EVENTS):
        events = sent[first : first + MAX_REQUEST_EVENTS]
        position = tenant.send({"events": events}, "/v1/events/batch").json()["results"][-1]
    answer = tenant.trends(
        **{"from": DAYS[0], "to": DAYS[0]},
        breakdown={"property": "$event", "limit": 2},
        min_position=position["position"],
        explain=True,
    )
    told = {series["label"]: series["total"] for series in answer["data"]["series"]}
    assert told == {"e0003": 3, "e0007": 2, "$other": len(names) - 2}
    assert answer["source"] == "day"
    assert "rank" in answer["plan"]["current"]["statement"]
