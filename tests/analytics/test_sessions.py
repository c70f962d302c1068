"""Sessions against a plain evaluation in Python over the same events."""

import random
import statistics
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conditions import Where
from domain.errors import Rejected
from domain.past import NOW
from domain.questions import Breakdown
from domain.sessions import Question, check
from infrastructure.analytics_engine import AnalyticsEngine
from projections.sessions import plan, series
from tests.analytics.generated import (
    SAMPLE,
    TICK,
    Case,
    Event,
    Table,
    cut,
    first_values,
    generate,
    past_of,
    range_of,
    told,
    unit_of,
)

QUESTIONS = 4  # of each case
CLOCK = datetime(2026, 10, 28, 1, 30, tzinfo=UTC)
GAPS = (1, 30, 240)
WHERE = (Where("p", "is_set"), Where("$event", "not_equals", "buy"))


@pytest.fixture(scope="module")
def table(engine_url):
    engine = AnalyticsEngine(engine_url)
    made = Table(engine, "session_events")
    yield made
    made.drop()
    engine.close()


def answered(table, app, question, past=NOW):
    buckets = check(question)
    made = plan(question, buckets, app_number=app, past=past, table=table.name)
    rows = table.ask(made.sql, made.parameters, {})
    return series(question, buckets, rows, now=CLOCK, past=past)


def question_of(dice: random.Random, case: Case) -> Question:
    start, end = range_of(dice, case, days=6)
    return Question(
        start=start,
        to=end,
        timezone=case.zone.key,
        where=dice.choice([(), (), WHERE[:1], WHERE[1:]]),
        event=dice.choice([None, None, None, "open"]),
        gap_minutes=dice.choice(GAPS),
        interval=dice.choice(["hour", "day", "day", "week", "month"]),
        breakdown=dice.choice([None, Breakdown("p", 1), Breakdown("p", 3), Breakdown("$event", 2)]),
    )


def bucket_of(at: datetime, zone: ZoneInfo, interval: str):
    """What a clock and a calendar in the zone show: equal within a bucket."""
    if interval == "hour":
        local = at.astimezone(zone)
        return (local.date(), local.hour, local.utcoffset())
    return unit_of(at, zone, interval)


def sessions_in(question, case, past):
    """(person, events)."""
    within, gap = check(question), timedelta(minutes=question.gap_minutes)
    for person, happened in case.by_person(past).items():
        seen = [e for e in happened if question.event in (None, e.name) and e.holds(question.where)]
        for session in cut(seen, gap):
            if within.start <= session[0].at < within.end:
                yield person, [e for e in session if e.at < within.end]


def expected(question, case, past):
    """(kind, value) -> bucket (None: all) -> figures; in the order told."""
    groups = defaultdict(lambda: defaultdict(list))
    for person, session in sessions_in(question, case, past):
        value = session[0].value(question.breakdown.property) if question.breakdown else "all"
        bucket = bucket_of(session[0].at, case.zone, question.interval)
        for place in (bucket, None):
            groups[value][place].append((person, session))
    if question.breakdown is None:
        return [(("all", None), _all_figures(groups["all"]))]
    sizes = Counter({value: len(cells[None]) for value, cells in groups.items()})
    first, rest = first_values(sizes, question.breakdown.limit)
    found = [(("none" if v is None else "value", v), _all_figures(groups[v])) for v in first]
    if rest:
        merged = defaultdict(list)
        for value in rest:
            for bucket, sessions in groups[value].items():
                merged[bucket] += sessions
        found.append((("other", None), _all_figures(merged)))
    return found


def _all_figures(cells):
    return {bucket: _figures(sessions) for bucket, sessions in cells.items()}


def _figures(sessions):
    lengths = [(s[-1].at - s[0].at) // TICK for _, s in sessions]
    count = len(sessions)
    return (
        count,
        len({person for person, _ in sessions}),
        round(sum(lengths) / count / 1_000_000, 6),
        round(statistics.median(lengths) / 1_000_000, 6),
        round(sum(len(s) for _, s in sessions) / count, 6),
        round(sum(len(s) == 1 for _, s in sessions) / count, 6),
    )


def compared(question, case, found):
    return [
        (
            (one.kind, told(one.value)),
            {
                **{
                    bucket_of(
                        datetime.fromisoformat(v.start), case.zone, question.interval
                    ): _told_figures(v)
                    for v in one.values
                    if v.sessions
                },
                **({None: _told_figures(one.total)} if one.total.sessions else {}),
            },
        )
        for one in found
    ]


def _told_figures(one):
    return (
        one.sessions,
        one.persons,
        one.average_seconds,
        one.median_seconds,
        one.events_per_session,
        one.bounce_rate,
    )


def compare(table, dice: random.Random) -> None:
    case = generate(dice, days=6, gaps=[timedelta(minutes=gap) for gap in GAPS])
    app = table.fill(case)
    for _ in range(QUESTIONS):
        question, past = question_of(dice, case), past_of(dice, case)
        found = answered(table, app, question, past)
        assert compared(question, case, found) == expected(question, case, past), (
            question,
            past,
            case,
        )


@settings(SAMPLE, max_examples=10)
@given(dice=st.randoms(use_true_random=False))
def test_every_figure_is_what_a_plain_evaluation_says(table, dice):
    compare(table, dice)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_every_figure_is_right_in_thousands_of_cases(table, seed):
    for number in range(50):
        compare(table, random.Random(1000 * seed + number))


NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def figures(table, times, **asked):
    """Of one person's events at these distances from noon: (sessions, seconds of the average)."""
    events = [Event(n, NOON + after, "E", 1, {}) for n, after in enumerate(times, 1)]
    app = table.fill(Case(ZoneInfo("UTC"), NOON, events, []))
    question = {"start": "2026-03-28", "to": "2026-03-28", **asked}
    (one,) = answered(table, app, Question(**question))
    return one.total.sessions, one.total.average_seconds


EDGES = [
    ([0 * MINUTE, 30 * MINUTE], {}, (1, 1800)),
    ([0 * MINUTE, 30 * MINUTE + TICK], {}, (2, 0)),
    ([0 * MINUTE, 0 * MINUTE], {}, (1, 0)),
    ([0 * MINUTE, 5 * MINUTE], {"gap_minutes": 5}, (1, 300)),
    # it began before the range, by the gap or by a microsecond more
    ([-30 * MINUTE, 0 * MINUTE, 10 * MINUTE], {"start": "2026-03-28T12:00"}, (0, None)),
    ([-30 * MINUTE - TICK, 0 * MINUTE, 10 * MINUTE], {"start": "2026-03-28T12:00"}, (1, 600)),
    # what happens at the end or later is not seen
    ([0 * MINUTE, 10 * MINUTE, 20 * MINUTE], {"to": "2026-03-28T12:20"}, (1, 600)),
    ([0 * MINUTE, 10 * MINUTE], {"to": "2026-03-28T12:00"}, (0, None)),
    ([], {}, (0, None)),
]


@pytest.mark.parametrize(("times", "asked", "expected"), EDGES)
def test_a_session_ends_after_the_gap_and_belongs_to_its_first_event(table, times, asked, expected):
    assert figures(table, times, **asked) == expected


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"gap_minutes": 0}, "gap_minutes"),
        ({"gap_minutes": 1441}, "gap_minutes"),
        ({"event": ""}, "event"),
        ({"breakdown": {"property": ""}}, "breakdown.property"),
        ({"where": [{"property": "$a", "operator": "is_set"}]}, "where[0].property"),
        ({"from": "2020-01-01", "interval": "hour"}, "interval"),
    ],
)
def test_a_question_without_sense_is_refused_with_the_field(asked, field):
    with pytest.raises(Rejected) as refused:
        check(msgspec.convert({"from": "2026-01-01", "to": "2026-01-02", **asked}, Question))
    assert refused.value.field == field
