"""Funnels against a plain search through each person's events."""

import statistics
from collections import defaultdict
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domain.conditions import Where
from domain.errors import Rejected
from domain.funnels import Question, Step, check
from domain.past import Past
from domain.questions import Breakdown
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.person_writer import PersonWriter
from projections.events import create_table
from projections.funnels import plan, series
from tests.analytics.stores import START, Happened, Merge, fill

TABLE = "funnel_events"
HOUR = 3_600_000_000
WINDOW = 3 * HOUR
FIRST, LAST = 2 * HOUR, 12 * HOUR  # the range


@pytest.fixture(scope="module")
def engine(engine_url):
    client = AnalyticsEngine(engine_url)
    PersonWriter(client).recover(UUID(int=1))
    client.command(create_table(TABLE, generation="test"))
    yield client
    client.command(f"DROP TABLE {TABLE} SYNC")
    client.close()


def question(steps, **more):
    start, end = (START + timedelta(microseconds=at) for at in (FIRST, LAST))
    given = {"start": start.isoformat(), "to": end.isoformat(), "window": "3 hours", **more}
    return Question(steps=tuple(steps), **given)


# --- the plain evaluation ------------------------------------------------------------------


def is_step(step, event):
    asked = [event.properties.get(where.property) == where.value for where in step.where]
    return step.event in {None, event.name} and all(asked)


def may_repeat(steps, n):
    return any(None in {one.event, steps[n].event} or one.event == steps[n].event
               for one in steps[:n])  # fmt: skip


def arrivals(asked, mine, start):
    """When an attempt that starts with this event comes to each step at the earliest."""
    at = [start.micros]
    for n, step in enumerate(asked.steps[1:], 1):
        later = [
            event.micros
            for _, event in mine
            if is_step(step, event)
            and (event.micros > at[-1] if may_repeat(asked.steps, n) else event.micros >= at[-1])
            and event.micros <= start.micros + WINDOW
        ]
        if not later:
            break
        at.append(min(later))
    stops = [e.micros for _, e in mine for x in asked.exclusions if is_step(x, e)]
    stops = [micros for micros in stops if micros > start.micros]
    return [micros for micros in at if not stops or micros < min(stops)]


def ordered(asked, mine):
    """(level, seconds to each further step) of a person."""
    entered = [e for _, e in mine if is_step(asked.steps[0], e) and FIRST <= e.micros < LAST]
    tries = [(start, arrivals(asked, mine, start)) for start in entered]
    level = max((len(at) for _, at in tries), default=0)
    took = []
    for n in range(1, level):
        soonest = min(at[n] for _, at in tries if len(at) > n)
        took.append(
            min(soonest - start.micros for start, at in tries if len(at) > n and at[n] == soonest)
        )
    return level, took


def strict(asked, mine):
    level = 0
    for first in range(len(mine)):
        if FIRST <= mine[first][1].micros < LAST:
            run = 0
            for step, (_, event) in zip(asked.steps, mine[first:], strict=False):
                soon = event.micros - mine[first][1].micros <= WINDOW
                if not (is_step(step, event) and soon):
                    break
                run += 1
            level = max(level, run)
    return level, []


def any_order(asked, mine):
    level = 0
    for _, first in mine:
        near = [e for _, e in mine if first.micros <= e.micros <= first.micros + WINDOW]
        if FIRST <= first.micros < LAST and any(is_step(step, first) for step in asked.steps):
            level = max(level, sum(any(is_step(s, e) for e in near) for s in asked.steps))
    return level, []


EVALUATE = {"ordered": ordered, "strict": strict, "any": any_order}


BY_COUNTRY = Breakdown("$country", 100)


def expected(asked, store, past):
    """(type and value broken down by) -> persons by step; and the times to each step."""
    mine = defaultdict(list)
    for person, position, event in store.seen(past.known_at, past.as_of):
        in_sight = FIRST <= event.micros < LAST + WINDOW
        if in_sight and all(event.properties.get(w.property) == w.value for w in asked.where):
            mine[person].append((position, event))
    groups = defaultdict(lambda: [0] * len(asked.steps))
    times = defaultdict(list)
    for events in mine.values():
        events.sort(key=lambda one: (one[1].micros, one[0]))
        level, took = EVALUATE[asked.order](asked, events)
        if level:
            entering = asked.steps if asked.order == "any" else asked.steps[:1]
            first = next(
                e for _, e in events
                if e.micros < LAST and any(is_step(step, e) for step in entering)
            )  # fmt: skip
            value = first.properties.get("plan") if asked.breakdown else None
            if asked.breakdown == BY_COUNTRY and not isinstance(value, str):
                value = None
            for n in range(level):
                groups[type(value).__name__, value][n] += 1
            for n, micros in enumerate(took):
                times[n + 1].append(micros / 1e6)
    return dict(groups), times


def told(asked, store, past, engine):
    made = plan(asked, check(asked), app_number=store.app_number, past=past, table=TABLE)
    return series(asked, engine.query(made.sql, made.parameters).rows)


def compare(asked, store, past, engine):
    groups, times = expected(asked, store, past)
    found = told(asked, store, past, engine)
    shown = {(type(one.value).__name__, one.value): [s.persons for s in one.steps] for one in found}
    assert {key: reached for key, reached in shown.items() if any(reached)} == groups
    if asked.times and not asked.breakdown and groups:
        for step in found[0].steps[1:]:
            mine = times[step.step - 1]
            assert (step.times is None) == (not mine)
            if step.times is not None:
                assert step.times.median == pytest.approx(statistics.median(mine), abs=2e-6)
                assert step.times.average == pytest.approx(statistics.fmean(mine), abs=2e-6)


# --- generated cases -----------------------------------------------------------------------

NAMES = ["A", "B", "C", "é 'x"]
MOMENTS = st.builds(
    lambda half, nudge: half * HOUR // 2 + nudge,
    st.integers(0, 32),
    st.sampled_from([0, 0, 0, 1, -1]),
).filter(lambda micros: micros >= 0)
EVENTS = st.builds(
    Happened,
    st.integers(1, 4),
    MOMENTS,
    st.sampled_from(NAMES),
    st.fixed_dictionaries(
        {}, optional={"plan": st.sampled_from(["a", "b", "5", 5, None]), "ok": st.booleans()}
    ),
)
WHERE = st.sampled_from([(), (), (), (Where("ok", "equals", True),)])
STEPS = st.builds(Step, st.sampled_from([*NAMES, *NAMES, None]), WHERE)
QUESTIONS = st.builds(
    question,
    st.lists(STEPS, min_size=2, max_size=4),
    where=WHERE,
    exclusions=st.lists(STEPS, max_size=1).map(tuple),
    breakdown=st.sampled_from([None, Breakdown("plan", 100), BY_COUNTRY]),
    times=st.booleans(),
)
PLAIN = st.builds(
    question,
    st.permutations(NAMES).map(lambda names: [Step(name) for name in names[:3]]),
    order=st.sampled_from(["ordered", "strict", "any"]),
    where=WHERE,
    breakdown=st.sampled_from([None, Breakdown("plan", 100), BY_COUNTRY]),
)
STRICT = st.builds(question, st.lists(STEPS, min_size=2, max_size=3), order=st.just("strict"))
CASES = (
    st.lists(EVENTS, max_size=30),
    st.lists(st.builds(Merge, st.integers(1, 30), st.integers(2, 4), st.just(1)), max_size=2,
             unique_by=lambda merge: merge.position),
    st.lists(QUESTIONS | PLAIN | STRICT, min_size=6, max_size=6),
    st.one_of(st.just(Past()), st.integers(0, 30).map(Past),
              MOMENTS.map(lambda m: Past(None, START + timedelta(microseconds=m)))),
)  # fmt: skip
# Without shrinking, which would ask the engine for minutes.
EASY = {"deadline": None, "phases": [Phase.generate], "suppress_health_check": list(HealthCheck)}


@settings(max_examples=25, derandomize=True, **EASY)
@given(*CASES)
def test_any_funnel_is_what_a_plain_search_finds(engine, events, merges, questions, past):
    _all(engine, events, merges, questions, past)


@pytest.mark.long
@settings(max_examples=400, **EASY)
@given(*CASES)
def test_thousands_of_funnels_are_what_a_plain_search_finds(
    engine, events, merges, questions, past
):
    _all(engine, events, merges, questions, past)


def _all(engine, events, merges, questions, past):
    store = fill(engine, TABLE, events, merges)
    for asked in questions:
        compare(asked, store, past, engine)


# --- one by one ----------------------------------------------------------------------------


def reached(engine, events, asked, **past):
    (found,) = told(asked, fill(engine, TABLE, events), Past(**past), engine)
    return [step.persons for step in found.steps]


A, B, C = (Step(name) for name in "ABC")


@pytest.mark.parametrize(("late", "persons"), [(0, 1), (1, 0)])
def test_the_window_includes_its_last_microsecond(engine, late, persons):
    events = [Happened(1, FIRST, "A"), Happened(1, FIRST + WINDOW + late, "B")]
    assert reached(engine, events, question([A, B])) == [1, persons]


def test_who_enters_just_in_range_has_the_window_beyond_it(engine):
    events = [Happened(1, LAST - 1, "A"), Happened(1, LAST + HOUR, "B"), Happened(2, LAST, "A")]
    assert reached(engine, events, question([A, B])) == [1, 1]


def test_two_steps_of_one_instant_are_in_the_order_of_the_funnel(engine):
    events = [Happened(1, FIRST, "B"), Happened(1, FIRST, "A")]
    assert reached(engine, events, question([A, B])) == [1, 1]
    assert reached(engine, events, question([A, B], order="strict")) == [1, 0]


def test_one_event_is_not_two_steps(engine):
    assert reached(engine, [Happened(1, FIRST, "A")], question([A, A])) == [1, 0]
    twice = [Happened(1, FIRST, "A"), Happened(1, FIRST + 1, "A")]
    assert reached(engine, twice, question([A, A])) == [1, 1]


def test_a_later_attempt_counts_where_the_first_ran_out(engine):
    events = [Happened(1, FIRST, "A"), Happened(1, FIRST + 2 * HOUR, "A"),
              Happened(1, FIRST + 4 * HOUR, "B")]  # fmt: skip
    assert reached(engine, events, question([A, B])) == [1, 1]


def test_only_the_first_values_are_shown_and_the_others_are_one(engine):
    events = [Happened(n, FIRST, "A", {"plan": f"p{min(n, 4)}"}) for n in range(1, 8)]
    store = fill(engine, TABLE, [*events, Happened(9, FIRST, "A")])
    asked = question([A, B], breakdown=Breakdown("plan", 2))
    found = [
        (one.label, one.kind, one.steps[0].persons) for one in told(asked, store, Past(), engine)
    ]
    assert found == [("p4", "value", 4), ("p1", "value", 1), ("$none", "none", 1),
                     ("$other", "other", 2)]  # fmt: skip


def test_the_time_to_a_step_is_that_of_the_first_who_came_there(engine):
    events = [Happened(1, FIRST, "A"), Happened(1, FIRST + HOUR, "A"),
              Happened(1, FIRST + 2 * HOUR, "B"), Happened(2, FIRST, "A"),
              Happened(2, FIRST + 3 * HOUR, "B")]  # fmt: skip
    (found,) = told(question([A, B], times=True), fill(engine, TABLE, events), Past(), engine)
    assert found.steps[0].times is None
    times = found.steps[1].times
    assert (times.median, times.average, times.p90) == (7200, 7200, 10080)


@pytest.mark.parametrize(
    ("steps", "more", "field"),
    [
        ([A], {}, "steps"),
        ([A] * 11, {}, "steps"),
        ([A, Step("")], {}, "steps[1].event"),
        ([A, Step("B", (Where("", "is_set"),))], {}, "steps[1].where[0].property"),
        ([A, B], {"window": "soon"}, "window"),
        ([A, B], {"window": "367 days"}, "window"),
        ([A, B], {"window": "0 days"}, "window"),
        ([A, B], {"exclusions": (C,) * 6}, "exclusions"),
        ([A, B], {"exclusions": (C,), "order": "strict"}, "exclusions"),
        ([A, B], {"times": True, "order": "any"}, "times"),
        ([A, A], {"order": "any"}, "steps"),
        ([A, B], {"breakdown": Breakdown("plan", 0)}, "breakdown.limit"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_field(steps, more, field):
    with pytest.raises(Rejected) as refused:
        check(question(steps, **more))
    assert refused.value.field == field
