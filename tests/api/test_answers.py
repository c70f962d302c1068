"""What all questions about a range of time can do: compare with the time before, answer as CSV."""

import csv
import io
import json

import pytest

RANGE = {"from": "2026-03-02", "to": "2026-03-03", "timezone": "Europe/Berlin"}
KINDS = {
    "trends": {"event": "view"},
    "funnels": {"steps": [{"event": "view"}, {"event": "buy"}], "window": "1 hour", "times": True},
    "retention": {"interval": "day", "periods": 1},
    "sessions": {},
    "paths": {"steps": 2},
}
COLUMNS = {
    "trends": "series,kind,series_value,start,value,complete",
    "funnels": "series,kind,series_value,step,event,persons,rate,rate_of_previous,"
    "median,average,p90",
    "retention": "series,kind,series_value,cohort,size,period,count,rate,complete",
    "sessions": "series,kind,series_value,start,sessions,persons,average_seconds,"
    "median_seconds,events_per_session,bounce_rate,complete",
    "paths": "step,from,to,count,average_seconds",
}


@pytest.fixture(scope="module")
def shop(new_tenant):
    """Views of three people on March 2, of one on February 28; each buys ten minutes later."""
    tenant = new_tenant()
    seen = [("ada", "03-02"), ("grace", "03-02"), ("joan, jr", "03-02"), ("ada", "02-28")]
    events = [
        {"user_id": who, "event_name": name, "timestamp": f"2026-{day}T12:{minute}:00Z",
         "properties": {"plan": 'a "b", c'}}
        for who, day in seen
        for name, minute in (("view", "00"), ("buy", "10"))
    ]  # fmt: skip
    results = tenant.send({"events": events}, "/v1/events/batch").json()["results"]
    tenant.ask("/v1/events", min_position=results[-1]["position"])
    return tenant


@pytest.fixture
def ask(shop):
    def asked(kind, **more):
        url, headers = f"/v1/analytics/{kind}", shop.bearer(shop.secret_key)
        answer = shop.http.post(url, headers=headers, json={**RANGE, **KINDS[kind], **more})
        assert answer.status_code == 200, answer.text
        return answer

    return asked


@pytest.mark.parametrize("kind", KINDS)
def test_the_time_before_is_the_same_question_with_its_own_range(ask, kind):
    both = ask(kind, compare="previous").json()
    before = ask(kind, **{"from": "2026-02-28", "to": "2026-03-01"}).json()
    assert both["previous"] == before["data"]
    assert both["data"] == ask(kind).json()["data"] != both["previous"]
    assert before["previous"] is None


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_can_be_a_table(ask, kind):
    answer = ask(kind, format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert int(answer.headers["x-position"]) > 0
    assert answer.text.splitlines()[0] == COLUMNS[kind]
    plain = list(csv.DictReader(io.StringIO(answer.text)))
    assert plain
    both = ask(kind, format="csv", compare="previous")
    rows = list(csv.DictReader(io.StringIO(both.text)))
    assert {row["range"] for row in rows} == {"current", "previous"}
    current = [row for row in rows if row.pop("range") == "current"]
    assert current == plain


def test_a_table_has_the_values_of_the_answer(ask):
    rows = list(csv.DictReader(io.StringIO(ask("trends", format="csv").text)))
    assert [(row["start"], row["value"], row["complete"]) for row in rows] == [
        ("2026-03-02T00:00:00+01:00", "3", "true"),
        ("2026-03-03T00:00:00+01:00", "0", "true"),
    ]
    steps = list(csv.DictReader(io.StringIO(ask("funnels", format="csv").text)))
    assert [(row["event"], row["persons"], row["median"]) for row in steps] == [
        ("view", "3", ""),
        ("buy", "3", "600.0"),
    ]


def test_a_value_with_commas_and_quotes_comes_back(ask):
    answer = ask("trends", format="csv", breakdown={"property": "plan"})
    row = next(csv.DictReader(io.StringIO(answer.text)))
    assert row["series"] == json.loads(row["series_value"]) == 'a "b", c'


ESTIMATED = {**KINDS, "trends": {"measure": "unique", "event": "view", "interval": "day"}}


@pytest.mark.parametrize("kind", ESTIMATED)
def test_an_estimate_says_that_it_is_one(ask, shop, kind):
    """Of half a day: no rollup knows it."""
    asked = {**ESTIMATED[kind], "from": "2026-03-02T00:00:01+01:00", "estimate": 50}
    asked |= {"to": "2026-03-03T00:00:00+01:00"}
    answer = ask(kind, **asked, compare="previous").json()
    assert answer["exact"] is False
    assert answer["estimate"] == {"percent": 50.0, "margin_factor": 1.96}
    table = ask(kind, **asked, format="csv")
    assert table.headers["x-exact"] == "false"
    assert table.headers["x-estimate-percent"] == "50.0"
    assert table.headers["x-margin-factor"] == "1.96"
    whole = ask(kind).json()
    assert (whole["exact"], "estimate" in whole) == (True, False)


def test_what_a_rollup_answers_is_exact_all_the_same(ask):
    asked = {"measure": "unique", "timezone": "UTC"}
    answer = ask("trends", **asked, estimate=10).json()
    assert (answer["source"], answer["exact"], "estimate" in answer) == ("day", True, False)
    assert answer["data"] == ask("trends", **asked).json()["data"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("funnels", {"estimate": 0.5}),
        ("paths", {"estimate": 51}),
        ("trends", {"estimate": 10, "measure": "total"}),
        ("trends", {"estimate": 10, "measure": "per_person"}),
    ],
)
def test_what_can_not_be_estimated_is_refused(shop, problem, kind, fields):
    url, headers = f"/v1/analytics/{kind}", shop.bearer(shop.secret_key)
    answer = shop.http.post(url, headers=headers, json={**RANGE, **KINDS[kind], **fields})
    problem(answer, 400, "INVALID_REQUEST", field="estimate")
