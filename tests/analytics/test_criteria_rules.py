"""What criteria are refused, what they need, and what explains them."""

from datetime import timedelta

import msgspec
import pytest

from domain.conditions import Where
from domain.conditions.judging import Event, Evidence, Judgement, Person, evaluate, explain
from domain.conditions.text import parse, written
from domain.conditions.tree import Needs, Tree, check_criteria, needs
from domain.errors import Rejected
from tests.analytics.stores import START

NOW = START
DID = {"type": "did", "event": "buy"}


def read(given):
    return msgspec.convert(given, Tree)


def nested(levels):
    return DID if levels == 0 else {"type": "not", "condition": nested(levels - 1)}


WRONG = [
    ({"type": "all", "conditions": []}, ".conditions"),
    ({"type": "all", "conditions": [DID] * 101}, ".conditions"),
    ({"type": "any", "conditions": [{"type": "all", "conditions": [DID] * 60}] * 2}, ""),
    (nested(8), ".condition" * 8),
    ({"type": "trait", "trait": "", "operator": "is_set"}, ".trait"),
    ({"type": "trait", "trait": "$country", "operator": "is_set"}, ".trait"),
    ({"type": "trait", "trait": "age", "operator": "greater", "value": "1"}, ".value"),
    ({"type": "did", "event": ""}, ".event"),
    ({**DID, "where": [{"property": "a", "operator": "is_set", "value": 1}]}, ".where[0].value"),
    ({**DID, "times": {}}, ".times"),
    ({**DID, "times": {"at_least": 1, "at_most": 2}}, ".times"),
    ({**DID, "times": {"at_least": 0}}, ".times.at_least"),
    ({**DID, "times": {"exactly": -1}}, ".times.exactly"),
    ({**DID, "within": {}}, ".within"),
    ({**DID, "within": {"from": "2026-01-01"}}, ".within"),
    ({**DID, "within": {"last": "1 day", "to": "2026-01-01"}}, ".within"),
    ({**DID, "within": {"last": "1 month"}}, ".within.last"),
    ({**DID, "within": {"from": "x", "to": "2026-01-01"}}, ".within.from"),
    ({**DID, "within": {"from": "2026-01-02", "to": "2026-01-01"}}, ".within.to"),
    ({"type": "stopped", "last": "367 days"}, ".last"),
    ({"type": "sequence", "first": {"event": ""}, "then": {}, "within": "1 day"}, ".first.event"),
    ({"type": "sequence", "first": {}, "then": {}, "within": "1"}, ".within"),
    ({"type": "sequence", "first": {}, "then": {}, "within": "1 day", "window": {}}, ".window"),
    ({"type": "member", "segment": ""}, ".segment"),
    ({"type": "sample", "percent": 100.01}, ".percent"),
    ({"type": "sample", "percent": 0.001}, ".percent"),
    ({"type": "sample", "percent": 1, "seed": "a" * 101}, ".seed"),
]
SUM = {"type": "aggregate", "function": "sum", "property": "amount", "operator": "less", "value": 1}
WRONG += [
    ({**SUM, "property": "$country"}, ".property"),
    ({**SUM, "value": "1"}, ".value"),
    ({**SUM, "operator": "equals", "value": "1"}, ".value"),
    ({**SUM, "operator": "between", "value": 1}, ".value"),
]


@pytest.mark.parametrize(("given", "place"), WRONG)
def test_criteria_that_say_nothing_are_refused_with_the_place(given, place):
    with pytest.raises(Rejected) as refused:
        check_criteria(read(given))
    assert refused.value.field == f"criteria{place}"


@pytest.mark.parametrize(
    "given",
    [{"type": "like"}, {**DID, "often": 3}, {"type": "not"}, {**SUM, "operator": "not_equals"}],
)
def test_what_is_no_clause_is_no_tree(given):
    with pytest.raises(msgspec.ValidationError):
        read(given)


def test_json_and_back_is_the_same_tree():
    text = (
        "(not did a in 1 day or sample 1.5%) and did `b c` where (x in (1, true)) at most 2 times"
        ' from 2026-01-01 to 2026-02-01 and in segment "s" and stopped any event for 1 day'
    )
    tree = parse(text)
    assert msgspec.json.decode(msgspec.json.encode(tree), type=Tree) == tree
    assert msgspec.json.encode(read(DID)) == b'{"type":"did","event":"buy"}'


NEEDED = [
    ("did a and not did b", Needs(events=frozenset("ab"))),
    ("did a in 1 day", Needs(events=frozenset("a"), is_time_relative=True)),
    ("did a from 2026-01-01 to 2026-01-02", Needs(events=frozenset("a"))),
    ("did any event or a.b = 1", Needs(any_event=True, traits=frozenset({"a.b", "a"}))),
    ("$$a in last 1 day", Needs(traits=frozenset({"$a"}), is_time_relative=True)),
    ("stopped a for 1 day", Needs(events=frozenset("a"), is_time_relative=True)),
    ("did a then b within 1 day", Needs(events=frozenset("ab"))),
    ("did a then not b within 1 day", Needs(events=frozenset("ab"), is_time_relative=True)),
    ("did a where (seen not in last 1 day)", Needs(events=frozenset("a"), is_time_relative=True)),
    ('in segment "s" and sample 5%', Needs(segments=frozenset("s"))),
]


@pytest.mark.parametrize(("text", "needed"), NEEDED)
def test_what_criteria_need_is_what_can_change_them(text, needed):
    assert needs(parse(text)) == needed


def event(position, name, days_ago, **properties):
    at = NOW - timedelta(days=days_ago)
    return Event(at, name, properties, {"$country": "DE"}, position, f"id {position}")


ADA = Person(
    5,
    {"plan": "pro"},
    [
        event(1, "view", 9),
        event(2, "buy", 8, amount=0.1),
        event(3, "buy", 3, amount=0.2),
        event(5, "view", 1),
        event(4, "view", 1),
        event(6, "buy", -1, amount=100),
    ],
)
EXPLAINED = [
    ('plan = "pro"', True, None, "pro", []),
    ("did buy at least 2 times", True, 2, None, [2, 3]),
    ("did buy in 7 days", True, 1, None, [3]),
    ("did buy exactly 3 times", False, 2, None, [2, 3]),
    ("first did buy in 8 days", True, None, None, [2]),
    ("first did buy in 7 days", False, None, None, [2]),
    ("stopped buy for 2 days", True, None, None, [3]),
    ("stopped buy for 3 days", False, None, None, [3]),
    ("did view then buy within 1 day", True, None, None, [1, 2]),
    ("did view then buy within 23 hours", False, None, None, [5]),
    ("did view then view within 1 hour", True, None, None, [4, 5]),
    ("did buy then not view within 1 day", True, None, None, [3]),
    ("did view then not buy within 1 day", False, None, None, [5]),
    ("sum of amount over buy = 0.3", True, 0.3, None, [2, 3]),
    ("max of amount over buy >= 1", False, 0.2, None, [3]),
    ("avg of price over buy < 1", False, None, None, []),
    ("count distinct of $country over any event = 1", True, 1, None, [1, 2, 3, 4, 5]),
    ('in segment "vip"', True, None, None, []),
    ("sample 100%", True, 47.09, None, []),
]


@pytest.mark.parametrize(("text", "holds", "number", "value", "positions"), EXPLAINED)
def test_a_clause_is_explained_by_what_decides_it(text, holds, number, value, positions):
    found = explain(parse(text), ADA, NOW, lambda segment: segment == "vip", text=written)
    assert (found.holds, found.value, found.text) == (holds, value, text)
    assert [one.position for one in found.evidence] == positions
    if "sample" not in text:
        assert found.number == number
    assert evaluate(parse(text), ADA, NOW, lambda segment: segment == "vip") == holds


def test_a_tree_is_explained_by_its_parts():
    found = explain(parse("not did refund and did buy at least 2 times"), ADA, NOW, lambda _: False)
    assert isinstance(found, Judgement)
    inverted, bought = found.parts
    assert (found.type, found.holds, inverted.type, inverted.holds) == ("all", True, "not", True)
    assert (inverted.parts[0].holds, inverted.parts[0].number) == (False, 0)
    at = NOW - timedelta(days=3)
    assert bought.evidence[-1] == Evidence(3, "id 3", "buy", at)


def test_of_many_events_the_newest_are_told():
    many = Person(1, {}, [event(n, "buy", 20 - n) for n in range(1, 16)])
    found = explain(parse("did buy"), many, NOW, lambda _: False)
    assert found.number == 15
    assert [one.position for one in found.evidence] == list(range(6, 16))


def test_conditions_on_events_know_now():
    asked = Where("seen", "in_last", "1 day")
    tree = parse("did buy where (seen in last 1 day)")
    assert tree.where == (asked,)
    recent = Person(1, {}, [event(1, "buy", 5, seen=(NOW - timedelta(hours=1)).isoformat())])
    assert evaluate(tree, recent, NOW, lambda _: False)
    assert not evaluate(tree, recent, NOW + timedelta(days=1), lambda _: False)
