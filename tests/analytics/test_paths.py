"""Paths against a plain evaluation in Python over the same events."""

import itertools
import random
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
from domain.paths import Question, check
from infrastructure.analytics_engine import AnalyticsEngine
from projections.paths import paths, plan
from tests.analytics.generated import (
    NAMES,
    SAMPLE,
    TICK,
    Case,
    Event,
    Table,
    cut,
    generate,
    past_of,
    range_of,
)

QUESTIONS = 4  # of each case
GAPS = (1, 30, 240)


@pytest.fixture(scope="module")
def table(engine_url):
    engine = AnalyticsEngine(engine_url)
    made = Table(engine, "path_events")
    yield made
    made.drop()
    engine.close()


def answered(table, app, question, past=NOW):
    asked = check(question)
    made = plan(question, asked, app_number=app, past=past, table=table.name)
    return paths(table.ask(made.sql, made.parameters, {}))


def question_of(dice: random.Random, case: Case) -> Question:
    start, end = range_of(dice, case, days=6)
    ends = [{}, {"start_event": dice.choice(NAMES[:3])}, {"end_event": dice.choice(NAMES[:3])}]
    return Question(
        start=start,
        to=end,
        timezone=case.zone.key,
        where=dice.choice([(), (), (Where("p", "is_set"),)]),
        gap_minutes=dice.choice([*GAPS, 1440, 1440]),
        steps=dice.choice([2, 3, 4, 8]),
        limit=dice.choice([1, 2, 10]),
        exclude=dice.choice([(), (), (NAMES[3],)]),
        collapse_repeats=dice.choice([True, False]),
        **dice.choice(ends),
    )


def walks(question, case, past):
    """The steps of each session, as (name, time)."""
    within, gap = check(question)
    for happened in case.by_person(past).values():
        seen = [e for e in happened if e.holds(question.where) and e.name not in question.exclude]
        for session in cut(seen, gap):
            if within.start <= session[0].at < within.end:
                steps = [(e.name, e.at) for e in session if e.at < within.end]
                if question.collapse_repeats:
                    runs = itertools.groupby(steps, key=lambda step: step[0])
                    steps = [next(run) for _, run in runs]
                yield steps


def path_of(question, walk):
    """(the number of its first step, where in the walk it begins and ends); None: no path."""
    names = [name for name, _ in walk]
    if question.start_event is not None:
        if question.start_event not in names:
            return None
        begins = names.index(question.start_event)
        return 1, begins, min(begins + question.steps, len(walk))
    if question.end_event is None:
        return 1, 0, min(question.steps, len(walk))
    if question.end_event not in names:
        return None
    ends = len(names) - names[::-1].index(question.end_event)
    begins = max(ends - question.steps, 0)
    return question.steps - (ends - begins) + 1, begins, ends


def expected(question, case, past):
    """Sessions, nodes and links; None is all other events."""
    found = [
        (walk, path)
        for walk in walks(question, case, past)
        if (path := path_of(question, walk)) is not None
    ]
    sizes = Counter()
    for walk, (first, begins, ends) in found:
        for place in range(begins, ends):
            sizes[first + place - begins, walk[place][0]] += 1
    shown = set()
    for step in {step for step, _ in sizes}:
        here = [(-n, name.encode(), name) for (at, name), n in sizes.items() if at == step]
        shown |= {(step, name) for _, _, name in sorted(here)[: question.limit]}
    nodes, links = defaultdict(lambda: [0, 0, 0]), defaultdict(list)
    for walk, (first, begins, ends) in found:
        before = None
        for place in range(begins, ends):
            step, (name, at) = first + place - begins, walk[place]
            node = (step, name if (step, name) in shown else None)
            nodes[node][0] += 1
            nodes[node][1] += place == 0
            nodes[node][2] += place == len(walk) - 1
            if before is not None:
                links[before, node].append((at - walk[place - 1][1]) // TICK)
            before = node
    told = {
        ends: (len(times), round(sum(times) / len(times) / 1_000_000, 6))
        for ends, times in links.items()
    }
    return len(found), {node: tuple(counts) for node, counts in nodes.items()}, told


def compared(found):
    keys = [(n.step, None if n.kind == "other" else n.label) for n in found.nodes]
    assert len(set(keys)) == len(keys)
    assert {n.label for n in found.nodes if n.kind == "other"} <= {"$other"}
    for link in found.links:
        source, target = found.nodes[link.source], found.nodes[link.target]
        assert (link.step, link.origin, link.to) == (source.step, source.label, target.label)
        assert target.step == source.step + 1
    nodes = {
        key: (n.sessions, n.entries, n.drop_offs) for key, n in zip(keys, found.nodes, strict=True)
    }
    links = {
        (keys[link.source], keys[link.target]): (link.count, link.average_seconds)
        for link in found.links
    }
    assert len(links) == len(found.links)
    return found.sessions, nodes, links


def compare(table, dice: random.Random) -> None:
    case = generate(dice, days=6, gaps=[timedelta(minutes=gap) for gap in GAPS])
    app = table.fill(case)
    for _ in range(QUESTIONS):
        question, past = question_of(dice, case), past_of(dice, case)
        found = compared(answered(table, app, question, past))
        assert found == expected(question, case, past), (question, past, case)


@settings(SAMPLE, max_examples=10)
@given(dice=st.randoms(use_true_random=False))
def test_every_link_is_what_a_plain_evaluation_says(table, dice):
    compare(table, dice)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_every_link_is_right_in_thousands_of_cases(table, seed):
    for number in range(50):
        compare(table, random.Random(1000 * seed + number))


NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
LETTERS = [
    ({}, {"ab": 1, "bc": 1, "cb": 1}),
    ({"collapse_repeats": False}, {"aa": 1, "ab": 1, "bc": 1}),
    ({"start_event": "b"}, {"bc": 1, "cb": 1, "bd": 1}),
    ({"end_event": "b"}, {"ab": 1, "bc": 1, "cb": 1}),
    ({"end_event": "c", "steps": 2}, {"bc": 1}),
    ({"exclude": ("c",)}, {"ab": 1, "bd": 1}),
    ({"start_event": "d"}, {}),
    ({"start_event": "never"}, {}),
]


@pytest.mark.parametrize(("asked", "expected"), LETTERS)
def test_the_paths_of_one_session_can_be_followed_by_hand(table, asked, expected):
    events = [
        Event(n, NOON + timedelta(minutes=n), name, 1, {}) for n, name in enumerate("aabcbd", 1)
    ]
    app = table.fill(Case(ZoneInfo("UTC"), NOON, events, []))
    found = answered(table, app, Question(start="2026-03-28", to="2026-03-28", **asked))
    assert {f"{link.origin}{link.to}": link.count for link in found.links} == expected
    assert found.sessions == (asked.get("start_event") != "never")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"start_event": "a", "end_event": "b"}, "end_event"),
        ({"start_event": ""}, "start_event"),
        ({"end_event": "x" * 101}, "end_event"),
        ({"steps": 1}, "steps"),
        ({"steps": 9}, "steps"),
        ({"limit": 0}, "limit"),
        ({"limit": 51}, "limit"),
        ({"exclude": ["a"] * 51}, "exclude"),
        ({"exclude": ["a", ""]}, "exclude[1]"),
        ({"exclude": ["a"], "start_event": "a"}, "exclude[0]"),
        ({"gap_minutes": 0}, "gap_minutes"),
    ],
)
def test_a_question_without_sense_is_refused_with_the_field(asked, field):
    with pytest.raises(Rejected) as refused:
        check(msgspec.convert({"from": "2026-01-01", "to": "2026-01-02", **asked}, Question))
    assert refused.value.field == field
