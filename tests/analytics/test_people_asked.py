"""Questions about chosen persons: what is found of all is found of these alone.

Each kind is compared with its own plain evaluation over the events of the chosen persons only, and
who these are is told by a plain evaluation written out here.
"""

import itertools
import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import funnels, paths, retention, sessions, trends
from domain.conditions import Where
from domain.conditions.tree import AllOf, AnyOf, Did, Member, Not, OfTrait, Times, Window
from domain.questions import Breakdown, asked_people
from infrastructure.analytics_engine import AnalyticsEngine
from projections import criteria, person_map, person_traits
from projections import funnels as funnel_plans
from projections import paths as path_plans
from projections import retention as retention_plans
from projections import sessions as session_plans
from projections import trends as trend_plans
from projections.people_asked import among, resolved
from tests.analytics import test_funnels, test_paths, test_retention, test_sessions
from tests.analytics.generated import SAMPLE, Table, generate, past_of, told, unit_of
from tests.analytics.stores import fill, reads_rollup

CLOCK = datetime(2026, 10, 28, 1, 30, tzinfo=UTC)
TRAITS = "people_asked_traits"
LISTED = (1, 3, 5)
IDS = 12


@pytest.fixture(scope="module")
def table(engine_url):
    engine = AnalyticsEngine(engine_url)
    made = Table(engine, "people_asked_events")
    engine.command(person_traits.create_table(TRAITS, generation="test"))
    yield made
    made.drop()
    engine.command(f"DROP TABLE {TRAITS} SYNC")
    engine.close()


# --- who is chosen -------------------------------------------------------------------------------

BUY = "buy"
# Criteria, and of (numbers, traits, events up to now, now) of a person whether they hold.
CRITERIA = (
    (Did(event=BUY), lambda _n, _t, mine, _now: any(e.name == BUY for e in mine)),
    (Not(condition=Did(event=BUY)), lambda _n, _t, mine, _now: all(e.name != BUY for e in mine)),
    (
        Did(where=(Where("p", "equals", 5),), times=Times(at_least=2)),
        lambda _n, _t, mine, _now: sum(e.holds([Where("p", "equals", 5)]) for e in mine) >= 2,
    ),
    (
        Did(event="open", within=Window(last="30 days")),
        lambda _n, _t, mine, now: any(
            e.name == "open" and e.at >= now - timedelta(days=30) for e in mine
        ),
    ),
    (
        OfTrait(trait="plan", operator="equals", value="pro"),
        lambda _n, traits, _m, _now: traits.get("plan") == "pro",
    ),
    (Member(segment="listed"), lambda numbers, _t, _m, _now: not numbers.isdisjoint(LISTED)),
)


def chosen_by(dice):
    """A question's fields, and the plain way to say the same."""
    one, other = dice.choice(CRITERIA), dice.choice(CRITERIA)
    match dice.randint(0, 3):
        case 0:
            return {"criteria": one[0]}, one[1]
        case 1:
            both = AllOf(conditions=(one[0], other[0]))
            return {"criteria": both}, lambda *who: one[1](*who) and other[1](*who)
        case 2:
            either = AnyOf(conditions=(one[0], other[0]))
            return {"criteria": either}, lambda *who: one[1](*who) or other[1](*who)
        case _:
            fields = {"criteria": one[0], "segment": "listed"}
            return fields, lambda *who: one[1](*who) and CRITERIA[-1][1](*who)


class Asking:
    """A case, and who of it is asked about."""

    def __init__(self, table, dice, case, past):
        self.table, self.case, self.past = table, case, past
        self.app = table.fill(case)
        self.fields, holds = chosen_by(dice)
        traits = {n: {"plan": dice.choice(["pro", "free"])} for n in range(1, IDS + 1)}
        rows = "".join(f"{self.app}\t{n}\t0\t{json.dumps(t)}\n" for n, t in traits.items())
        table.engine.insert_rows(TRAITS, person_traits.COLUMNS, rows.encode(), format_name="TSV")
        now = past.as_of or CLOCK
        mine = {
            person: [event for event in events if event.at <= now]
            for person, events in case.by_person(past).items()
        }
        numbers, person_of = defaultdict(set), case.people(past)
        for number in range(1, IDS + 1):
            numbers[person_of(number)].add(number)
        self.persons = {
            person
            for person, theirs in numbers.items()
            if holds(theirs, traits[person], mine.get(person, []), now)
        }
        self._asked = criteria.Asked(
            app_number=self.app,
            ids=IDS,
            now=now,
            past=past,
            members_of={"listed": person_map.listed(LISTED, self.app, past.known_at)},
            tables=criteria.Tables(table.name, TRAITS),
        )

    @property
    def theirs(self):
        """The case without the events of others."""
        person = self.case.people(self.past)
        return self.case._replace(
            events=[e for e in self.case.events if person(e.user) in self.persons]
        )

    def of(self, question):
        """The question about the chosen persons only."""
        return msgspec.structs.replace(question, **self.fields)

    def rows(self, plan, question, checked):
        made = plan(
            question,
            checked,
            app_number=self.app,
            past=self.past,
            chosen=among(asked_people(question), self._asked),
            table=self.table.name,
        )
        source = getattr(made, "source", "rows")
        assert "priority" not in getattr(made, "settings", {})  # the criteria read rows
        given = getattr(made, "settings", {})
        return self.table.ask(made.sql, made.parameters, given), source


# --- segments -------------------------------------------------------------------------------------

BOUGHT, OPENED = Did(event=BUY), Did(event="open")
SEGMENTS = {
    "buyers": BOUGHT,
    "both": AllOf(conditions=(Member(segment="buyers"), Member(segment="listed"))),
    "neither": Not(condition=Member(segment="both")),
    "listed": LISTED,
}


def test_criteria_of_segments_stand_in_their_place_and_lists_stay_lists():
    asked = AnyOf(conditions=(OPENED, Member(segment="neither"), Member(segment="listed")))
    tree, lists = resolved(asked, SEGMENTS.__getitem__)
    both = AllOf(conditions=(BOUGHT, Member(segment="listed")))
    assert tree == AnyOf(conditions=(OPENED, Not(condition=both), Member(segment="listed")))
    assert lists == {"listed": LISTED}


def test_a_segment_that_is_not_there_is_told_by_who_looks():
    with pytest.raises(KeyError, match="gone"):
        resolved(Not(condition=Member(segment="gone")), SEGMENTS.__getitem__)


# --- the five kinds ------------------------------------------------------------------------------


def compare_trends(asking, dice):
    start, end = "2026-01-15", "2026-12-31"
    question = trends.Question(
        start=start,
        to=end,
        timezone=dice.choice(["UTC", asking.case.zone.key]),
        event=dice.choice([None, "open"]),
        measure=dice.choice(["total", "unique", "unique", "per_person", "weekly_active"]),
        interval="day",
        breakdown=dice.choice([None, Breakdown("$event", 100), Breakdown("p", 100)]),
    )
    question = asking.of(question)
    buckets = trends.check(question)
    rows, source = asking.rows(trend_plans.plan, question, buckets)
    found = trend_plans.series(question, buckets, rows, now=CLOCK)
    person, groups = asking.case.people(asking.past), defaultdict(lambda: defaultdict(list))
    for event in asking.theirs.seen(asking.past):
        if question.event in (None, event.name):
            value = event.value(question.breakdown.property) if question.breakdown else "all"
            day = unit_of(event.at, buckets.zone, "day")
            for n in range(7 if question.measure == "weekly_active" else 1):
                groups[value][day + timedelta(days=n)].append(person(event.user))
    number = {
        "total": len,
        "per_person": lambda who: len(who) / len(set(who)),
    }.get(question.measure, lambda who: len(set(who)))
    expected = {
        value: {day: number(who) for day, who in cells.items()} for value, cells in groups.items()
    }
    shown = {
        "all" if one.kind == "all" else told(one.value): {
            datetime.fromisoformat(v.start).date(): v.value for v in one.values if v.value
        }
        for one in found
    }
    if not question.breakdown:
        expected.setdefault("all", {})
    assert shown == expected
    return source


def compare_retention(asking, dice):
    question = asking.of(
        test_retention.question_of(dice, asking.case, dice.choice(["day", "week"]))
    )
    checked = retention.check(question)
    rows, source = asking.rows(retention_plans.plan, question, checked)
    found = retention_plans.series(question, checked, rows, now=CLOCK, past=asking.past)
    expected = test_retention.expected(question, asking.theirs, asking.past)
    assert test_retention.compared(question, found) == expected
    return source


def compare_sessions(asking, dice):
    question = asking.of(test_sessions.question_of(dice, asking.case))
    buckets = sessions.check(question)
    rows, source = asking.rows(session_plans.plan, question, buckets)
    found = session_plans.series(question, buckets, rows, now=CLOCK, past=asking.past)
    expected = test_sessions.expected(question, asking.theirs, asking.past)
    shown = test_sessions.compared(question, asking.case, found)
    assert [one for one in shown if one[1]] == [one for one in expected if one[1]]
    return source


def compare_paths(asking, dice):
    question = asking.of(test_paths.question_of(dice, asking.case))
    rows, source = asking.rows(path_plans.plan, question, paths.check(question))
    expected = test_paths.expected(question, asking.theirs, asking.past)
    assert test_paths.compared(path_plans.paths(rows)) == expected
    return source


KINDS = (compare_trends, compare_retention, compare_sessions, compare_paths)


def compare(table, dice):
    case = generate(dice)
    asking = Asking(table, dice, case, past_of(dice, case))
    return {kind.__name__: kind(asking, dice) for kind in KINDS}


@settings(SAMPLE, max_examples=9)
@given(st.randoms(use_true_random=False))
def test_a_question_about_chosen_persons_is_one_without_the_others(table, dice):
    compare(table, dice)


@pytest.mark.long
@settings(SAMPLE, max_examples=600, derandomize=False)
@given(st.randoms(use_true_random=True))
def test_it_is_in_thousands_of_cases(table, dice):
    compare(table, dice)


# --- funnels, whose cases have another form ------------------------------------------------------


class Chosen:
    """The store of test_funnels, of these persons only."""

    def __init__(self, store, persons):
        self._store, self._persons = store, persons

    def seen(self, *past):
        return [one for one in self._store.seen(*past) if one[0] in self._persons]


def compare_funnels(table, events, merges, questions, past):
    store = fill(table.engine, table.name, events, merges)
    for one, by_b in itertools.product(questions[:3], (True, False)):
        did = Did(event="B", where=(Where("ok", "is_set"),))
        asked = msgspec.structs.replace(one, criteria=did if by_b else Not(condition=did))
        seen = store.seen(past.known_at, past.as_of)
        persons = {
            who
            for who, _, _ in seen
            if by_b
            == any(w == who and e.name == "B" and e.properties.get("ok") is not None
                   for w, _, e in seen)
        }  # fmt: skip
        chosen = among(
            asked_people(asked),
            criteria.Asked(store.app_number, IDS, past.as_of or CLOCK, past,
                           tables=criteria.Tables(table.name, TRAITS)),
        )  # fmt: skip
        made = funnel_plans.plan(
            asked,
            funnels.check(asked),
            app_number=store.app_number,
            past=past,
            chosen=chosen,
            table=table.name,
        )
        found = funnel_plans.series(asked, table.engine.query(made.sql, made.parameters).rows)
        expected, _ = test_funnels.expected(asked, Chosen(store, persons), past)
        shown = {
            (type(s.value).__name__, s.value): [step.persons for step in s.steps] for s in found
        }
        assert {key: reached for key, reached in shown.items() if any(reached)} == expected


@settings(SAMPLE, max_examples=4)
@given(*test_funnels.CASES)
def test_a_funnel_of_chosen_persons_is_one_without_the_others(
    table, events, merges, questions, past
):
    compare_funnels(table, events, merges, questions, past)


@pytest.mark.long
@settings(SAMPLE, max_examples=350, derandomize=False)
@given(*test_funnels.CASES)
def test_it_is_in_thousands_of_funnels(table, events, merges, questions, past):
    compare_funnels(table, events, merges, questions, past)


# --- which source ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measure", "source"), [("unique", "day"), ("weekly_active", "day"), ("total", "rows")]
)
def test_bitmaps_of_a_rollup_are_intersected_and_counts_are_of_rows(table, measure, source):
    case = generate(random.Random(5))
    app = table.fill(case)
    question = trends.Question(start="2026-01-01", to="2026-12-31", measure=measure)
    chosen = among(
        Member(segment="all"),
        criteria.Asked(
            app, IDS, CLOCK, members_of={"all": person_map.listed(range(1, IDS + 1), app, None)}
        ),
    )
    plan, buckets = trend_plans.plan, trends.check(question)
    told = {"app_number": app, "table": table.name}
    made = plan(question, buckets, chosen=chosen, **told)
    assert made.source == source
    assert source == "rows" or reads_rollup(table.engine, made)
    rows = table.ask(made.sql, made.parameters, made.settings)
    plain = plan(question, buckets, **told)
    assert rows == table.ask(plain.sql, plain.parameters, plain.settings)
