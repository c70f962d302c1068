"""Retention against a plain evaluation in Python over the same events."""

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conditions import Where
from domain.errors import Rejected
from domain.past import NOW
from domain.questions import Breakdown
from domain.retention import Question, check
from infrastructure.analytics_engine import AnalyticsEngine
from projections.retention import plan, series
from tests.analytics.generated import (
    NAMES,
    SAMPLE,
    TICK,
    Case,
    Event,
    Table,
    first_values,
    generate,
    midnight,
    next_unit,
    past_of,
    range_of,
    told,
    unit_of,
)
from tests.analytics.stores import reads_rollup

QUESTIONS = 4  # of each case
CLOCK = datetime(2026, 10, 28, 1, 30, tzinfo=UTC)
DAYS = {"day": 8, "week": 40, "month": 120}  # around the change of the clocks
WHERE = (Where("p", "is_set"), Where("p", "equals", 5), Where("$event", "not_equals", "buy"))


@pytest.fixture(scope="module")
def table(engine_url):
    engine = AnalyticsEngine(engine_url)
    made = Table(engine, "retention_events")
    yield made
    made.drop()
    engine.close()


def answered(table, case, app, question, past=NOW):
    asked = check(question)
    made = plan(question, asked, app_number=app, past=past, table=table.name)
    assert made.source == "rows" or reads_rollup(table.engine, made, table.name)
    rows = table.ask(made.sql, made.parameters, made.settings)
    return series(question, asked, rows, now=CLOCK, past=past), made.source


def question_of(dice: random.Random, case: Case, interval: str) -> Question:
    start, end = range_of(dice, case, days=DAYS[interval])
    return Question(
        start=start,
        to=end,
        timezone=case.zone.key,
        where=dice.choice([(), (), WHERE[:1]]),
        start_event=dice.choice([None, *NAMES[:2]]),
        start_where=dice.choice([(), (), (), WHERE[:1], WHERE[1:2], WHERE[2:]]),
        return_event=dice.choice([None, *NAMES[:3]]),
        return_where=dice.choice([(), (), (), WHERE[1:2], WHERE[2:]]),
        kind=dice.choice(["first_time", "recurring"]),
        unbounded=dice.choice([True, False]),
        interval=interval,
        periods=dice.choice([1, 2, 5]),
        period_zero=dice.choice(["returned", "returned", "cohort"]),
        breakdown=dice.choice([None, Breakdown("p", 1), Breakdown("p", 3), Breakdown("$event", 2)]),
    )


def cohort_events(question, case, past) -> list[tuple[int, Event]]:
    """(person, cohort event)."""
    within, found = check(question).within, []
    for person, happened in case.by_person(past).items():
        starts = [e for e in happened if is_start(question, e)]
        if question.kind == "first_time":
            starts = starts[:1]
        starts = [e for e in starts if within.start <= e.at < within.end]
        firsts = {}
        for event in starts:
            firsts.setdefault(unit_of(event.at, case.zone, question.interval), event)
        found += [(person, event) for event in firsts.values()]
    return found


def is_start(question, event):
    return (
        question.start_event in (None, event.name)
        and event.holds(question.where)
        and event.holds(question.start_where)
    )


def is_return(question, event):
    return (
        question.return_event in (None, event.name)
        and event.holds(question.where)
        and event.holds(question.return_where)
    )


def has_returned(question, zone, cohort_event, happened, period) -> bool:
    if period == 0 and question.period_zero == "cohort":
        return True
    unit = unit_of(cohort_event.at, zone, question.interval)
    for _ in range(period):
        unit = next_unit(unit, question.interval)
    for event in happened:
        if not is_return(question, event) or event == cohort_event or event.at < cohort_event.at:
            continue
        its = unit_of(event.at, zone, question.interval)
        if its == unit or (question.unbounded and its > unit):
            return True
    return False


def expected(question, case, past):
    """(kind, value) -> cohort's first day -> (size, who returned by period); in the order told."""
    persons = case.by_person(past)
    groups = defaultdict(lambda: defaultdict(list))
    for person, event in cohort_events(question, case, past):
        value = event.value(question.breakdown.property) if question.breakdown else "all"
        came = [
            has_returned(question, case.zone, event, persons[person], period)
            for period in range(question.periods + 1)
        ]
        groups[value][unit_of(event.at, case.zone, question.interval)].append(came)
    sizes = Counter({value: sum(map(len, cells.values())) for value, cells in groups.items()})
    if question.breakdown is None:
        return [(("all", None), _counted(groups["all"]))]
    first, rest = first_values(sizes, question.breakdown.limit)
    told = [(("none" if v is None else "value", v), _counted(groups[v])) for v in first]
    if rest:
        merged = defaultdict(list)
        for value in rest:
            for unit, came in groups[value].items():
                merged[unit] += came
        told.append((("other", None), _counted(merged)))
    return told


def _counted(cells):
    return {
        unit: (len(c), [sum(column) for column in zip(*c, strict=True)])
        for unit, c in cells.items()
    }


def compared(question, found):
    return [
        (
            (one.kind, told(one.value)),
            {
                datetime.fromisoformat(c.start).date(): (c.size, [v.count for v in c.values])
                for c in one.cohorts
                if c.size
            },
        )
        for one in found
    ]


def check_form(question, case, found, past):
    """All cohorts are there in their order, with rates, and totals over what is complete."""
    within = check(question).within
    until = min(CLOCK, past.as_of + TICK) if past.as_of else CLOCK
    units = [unit_of(within.start, case.zone, question.interval)]
    while midnight(following := next_unit(units[-1], question.interval), case.zone) < within.end:
        units.append(following)
    for one in found:
        starts = [midnight(unit, case.zone).astimezone(case.zone).isoformat() for unit in units]
        assert [c.start for c in one.cohorts] == starts
        assert one.size == sum(c.size for c in one.cohorts)
        for unit, cohort in zip(units, one.cohorts, strict=True):
            assert len(cohort.values) == question.periods + 1
            end = unit
            for value in cohort.values:
                end = next_unit(end, question.interval)
                assert value.complete == (midnight(end, case.zone) <= until)
                assert value.rate == (round(value.count / cohort.size, 6) if cohort.size else None)
        for total in one.totals:
            complete = [c for c in one.cohorts if c.values[total.period].complete]
            size = sum(c.size for c in complete)
            count = sum(c.values[total.period].count for c in complete)
            assert (total.size, total.count) == (size, count)
            assert total.rate == (round(count / size, 6) if size else None)


def compare(table, dice: random.Random) -> None:
    interval = dice.choice(["day", "week", "month"])
    case = generate(dice, days=DAYS[interval])
    app = table.fill(case)
    for _ in range(QUESTIONS):
        question, past = question_of(dice, case, interval), past_of(dice, case)
        found, _ = answered(table, case, app, question, past)
        assert compared(question, found) == expected(question, case, past), (question, past, case)
        check_form(question, case, found, past)


@settings(SAMPLE, max_examples=12)
@given(dice=st.randoms(use_true_random=False))
def test_every_figure_is_what_a_plain_evaluation_says(table, dice):
    compare(table, dice)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_every_figure_is_right_in_thousands_of_cases(table, seed):
    for number in range(50):
        compare(table, random.Random(1000 * seed + number))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def few(table):
    """Weeks from February 23, March 2, 9 and 16. Person 1 began before all of them."""
    told = [
        (1, "2026-02-27T10:00", "open"),
        (1, "2026-03-03T10:00", "open"),
        (1, "2026-03-10T10:00", "open"),
        (2, "2026-03-02T00:00", "open"),  # the first instant of a Monday, and another event at it
        (2, "2026-03-02T00:00", "open"),
        (3, "2026-03-05T10:00", "open"),
        (3, "2026-03-08T23:59:59.999999", "read"),
        (3, "2026-03-16T10:00", "read"),
        (4, "2026-03-04T10:00", "read"),  # before it began
        (4, "2026-03-04T10:00:00.000001", "open"),
    ]
    events = [Event(n, at(when), name, user, {}) for n, (user, when, name) in enumerate(told, 1)]
    case = Case(ZoneInfo("UTC"), at("2026-03-01"), events, [])
    app = table.fill(case)
    return lambda **asked: answered(
        table,
        case,
        app,
        Question(**{"start": "2026-03-02", "to": "2026-03-08", "periods": 2, **asked}),
    )


@pytest.mark.parametrize(
    ("asked", "size", "counts"),
    [
        ({"start_event": "open"}, 3, [2, 0, 1]),
        ({"start_event": "open", "kind": "recurring"}, 4, [2, 1, 1]),
        ({"start_event": "open", "return_event": "open"}, 3, [1, 0, 0]),
        ({"start_event": "open", "unbounded": True}, 3, [2, 1, 1]),
        ({"start_event": "open", "return_event": "read", "unbounded": True}, 3, [1, 1, 1]),
        ({"start_event": "open", "period_zero": "cohort"}, 3, [3, 0, 1]),
        ({"start": "2026-02-25", "start_event": "open", "to": "2026-03-01"}, 1, [0, 1, 1]),
        ({"start_event": "never"}, 0, [0, 0, 0]),
    ],
)
def test_a_few_persons_can_be_counted_by_hand(few, asked, size, counts):
    ((one,), _) = few(**asked)
    (cohort,) = one.cohorts
    assert (cohort.size, [value.count for value in cohort.values]) == (size, counts)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
@pytest.mark.parametrize("asked", [{}, {"start_event": "open"}, {"unbounded": True}])
def test_recurring_retention_is_read_from_a_rollup(few, zone, asked):
    """The engine fails where it would not; rows give the same."""
    question = {"kind": "recurring", "period_zero": "cohort", "timezone": zone, **asked}
    found, source = few(**question)
    assert source == {"UTC": "day", "Europe/Berlin": "hour", "Asia/Kolkata": "rows"}[zone]
    from_rows, read = few(**question, where=(Where("absent", "is_not_set"),))
    assert (from_rows, read) == (found, "rows")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"periods": 0}, "periods"),
        ({"periods": 367}, "periods"),
        ({"interval": "day", "from": "2020-01-01", "periods": 8}, "periods"),
        ({"start_event": ""}, "start_event"),
        ({"return_event": "x" * 101}, "return_event"),
        ({"start_where": [{"property": "", "operator": "is_set"}]}, "start_where[0].property"),
        ({"return_where": [{"property": "$a", "operator": "is_set"}]}, "return_where[0].property"),
        ({"breakdown": {"property": "a", "limit": 0}}, "breakdown.limit"),
    ],
)
def test_a_question_without_sense_is_refused_with_the_field(asked, field):
    with pytest.raises(Rejected) as refused:
        check(msgspec.convert({"from": "2026-01-01", "to": "2026-01-02", **asked}, Question))
    assert refused.value.field == field


def test_a_day_that_a_zone_left_out_is_no_period():
    """Samoa had no December 30, 2011."""
    asked = check(
        Question(
            start="2011-12-28", to="2011-12-29", timezone="Pacific/Apia", interval="day", periods=2
        )
    )
    days = [datetime.fromtimestamp(second, asked.within.zone).day for second in asked.bounds]
    assert days == [28, 29, 31, 1, 2]
