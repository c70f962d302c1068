"""Estimates: from the events of some persons, with a margin that holds as often as it says."""

from datetime import UTC, datetime
from math import sqrt
from uuid import UUID, uuid4

import pytest

from domain import estimates, funnels, paths, retention, sessions, trends
from domain.conditions import Where
from domain.estimates import estimate, scaled
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.person_writer import PersonWriter
from projections import funnels as funnel_plans
from projections import paths as path_plans
from projections import retention as retention_plans
from projections import sessions as session_plans
from projections import trends as trend_plans
from projections.events import create_table
from projections.people_asked import Among

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RANGE = {"start": "2026-01-01", "to": "2026-01-30"}
IDS = 6_000  # a third of them moved to another one's person
STEPS = tuple(funnels.Step(f"event {n}") for n in range(3))
FILL = f"""
INSERT INTO events (app_number, event, pid0, ts, position, properties)
SELECT 1, concat('event ', toString(h % 5)), 1 + cityHash64(number, 1) % {IDS},
    toDateTime('2026-01-01 00:00:00', 'UTC') + toIntervalSecond(cityHash64(number, 2) % 2592000),
    number + 1, '{{"plan":"pro"}}'
FROM (SELECT number, cityHash64(number, 3) AS h FROM numbers(60000))"""
MOVED = f"SELECT 1, number, number, number - 1 FROM numbers(1, {IDS}) WHERE number % 3 = 0"


@pytest.fixture(scope="module")
def engine(engine_url):
    base = AnalyticsEngine(engine_url)
    name = f"estimates_{uuid4().hex}"
    base.command(f"CREATE DATABASE {name}")
    client = AnalyticsEngine(engine_url.removesuffix("default") + name)
    PersonWriter(client).recover(UUID(int=1))
    client.command(create_table("events", generation="test"))
    client.command(FILL)
    client.command(f"INSERT INTO person_changes {MOVED}")
    client.command("INSERT INTO person_now SELECT app_number, number, person FROM person_changes")
    yield client
    client.close()
    base.command(f"DROP DATABASE {name} SYNC")
    base.close()


def answered(engine, question, percent=None):
    chosen = None if percent is None else Among(None, {}, percent)
    told = {"app_number": 1, "chosen": chosen}
    match question:
        case trends.Question():
            asked = trends.check(question)
            plan = trend_plans.plan(question, asked, **told)
            rows = engine.query(plan.sql, plan.parameters, plan.settings).rows
            return trend_plans.series(question, asked, rows, now=NOW)
        case funnels.Question():
            plan = funnel_plans.plan(question, funnels.check(question), **told)
            return funnel_plans.series(question, engine.query(plan.sql, plan.parameters).rows)
        case retention.Question():
            asked = retention.check(question)
            plan = retention_plans.plan(question, asked, **told)
            rows = engine.query(plan.sql, plan.parameters, plan.settings).rows
            return retention_plans.series(question, asked, rows, now=NOW)
        case sessions.Question():
            asked = sessions.check(question)
            plan = session_plans.plan(question, asked, **told)
            rows = engine.query(plan.sql, plan.parameters).rows
            return session_plans.series(question, asked, rows, now=NOW)
        case paths.Question():
            plan = path_plans.plan(question, paths.check(question), **told)
            return path_plans.paths(engine.query(plan.sql, plan.parameters).rows)


PRO = (Where("plan", "equals", "pro"),)  # no rollup knows it
KINDS = [
    trends.Question(**RANGE, measure="unique", where=PRO),
    funnels.Question(**RANGE, steps=STEPS, window="7 days", times=True),
    retention.Question(**RANGE, interval="week"),
    sessions.Question(**RANGE),
    paths.Question(**RANGE),
]


@pytest.mark.parametrize("question", KINDS, ids=lambda question: type(question).__module__)
def test_of_all_persons_it_is_what_is_not_estimated(engine, question):
    exact = answered(engine, question)
    assert answered(engine, question, 100) == exact
    assert scaled(exact, 100) == exact
    assert answered(engine, question, 30) != exact


def test_the_two_ids_of_a_person_are_both_looked_at_or_neither(engine):
    question = trends.Question(**RANGE, measure="unique", where=PRO)
    marks = engine.query(f"SELECT number, intHash64(number) % 10000 FROM numbers(1, {IDS})").rows
    sent = engine.query("SELECT DISTINCT pid0 FROM events").rows
    persons = {number - 1 if number % 3 == 0 else number for (number,) in sent}
    for percent in (1, 12.34, 50):
        looked_at = {number for number, mark in marks if mark < percent * 100} & persons
        (one,) = answered(engine, question, percent)
        assert one.total == len(looked_at)


def test_the_margin_holds_in_nineteen_of_twenty_cases(engine):
    hit = asked = 0
    for percent in (5.0, 20.0, 50.0):
        factor = estimate(percent).margin_factor
        for event in range(5):
            question = trends.Question(
                **RANGE, measure="unique", event=f"event {event}", where=PRO, interval="day"
            )
            (exact,) = answered(engine, question)
            (guess,) = scaled(answered(engine, question, percent), percent)
            for true, told in zip(exact.values, guess.values, strict=True):
                asked += 1
                hit += abs(told.value - true.value) <= factor * sqrt(max(told.value, 1))
    assert asked == 450
    assert 0.91 <= hit / asked <= 0.99


def test_counts_are_scaled_and_shares_are_not():
    step = funnels.Reached(
        step=1, event="a", persons=7, rate=0.5, rate_of_previous=0.5,
        times=funnels.Times(median=1.0, average=2.0, p90=3.0),
    )  # fmt: skip
    (series,) = scaled([funnels.Series("$all", "all", None, [step])], 10)
    assert series.steps == [
        funnels.Reached(
            step=1, event="a", persons=70, rate=0.5, rate_of_previous=0.5, times=step.times
        )
    ]
    broken_down = trends.Series("5", "value", 5, [trends.Value("2026-01-01", 3, True)], 4)
    assert scaled(broken_down, 50) == trends.Series(
        "5", "value", 5, [trends.Value("2026-01-01", 6, True)], 8
    )
    nothing = trends.Series("$all", "all", None, [trends.Value("2026-01-01", None, True)], None)
    assert scaled(nothing, 50) == nothing


def test_every_count_of_an_answer_is_scaled():
    """A new figure has to be put on one side or the other."""
    kept = {
        *("label", "kind", "value", "values", "start", "complete", "step", "steps", "event"),
        *("rate", "rate_of_previous", "times", "cohorts", "totals", "period", "total"),
        *("average_seconds", "median_seconds", "events_per_session", "bounce_rate"),
        *("source", "target", "origin", "to", "nodes", "links"),
    }
    for kind, counts in estimates._COUNTS.items():
        assert set(kind.__struct_fields__) - set(counts) <= kept, kind


def test_its_margin_is_that_of_a_count_of_a_sample():
    assert estimate(10).margin_factor == pytest.approx(5.88)
    assert estimate(50).margin_factor == pytest.approx(1.96)
