"""Criteria as text: what is written is read as the same tree, and nothing else breaks the reader."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conditions import Where
from domain.conditions.text import parse, written
from domain.conditions.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Did,
    FirstDid,
    InSequence,
    Member,
    Not,
    OfTrait,
    Sample,
    Step,
    Stopped,
    Times,
    Window,
    check_criteria,
)
from domain.errors import Rejected
from tests.analytics.test_conditions import CONDITION, NEWER
from tests.analytics.test_criteria import TREE

CART = (
    'did `add to cart` where (amount > 10 and currency = "EUR") exactly 2 times'
    " from 2026-01-01 to 2026-02-01"
)
READ = [
    (
        'plan = "pro" and did purchase at least 3 times in 14 days and not did refund',
        AllOf(
            conditions=(
                OfTrait(trait="plan", operator="equals", value="pro"),
                Did(event="purchase", times=Times(at_least=3), within=Window(last="14 days")),
                Not(condition=Did(event="refund")),
            )
        ),
    ),
    (
        'email ends with "@acme.com"',
        OfTrait(trait="email", operator="ends_with", value="@acme.com"),
    ),
    ("age between 18 and 30", OfTrait(trait="age", operator="between", value=[18, 30])),
    (
        CART,
        Did(
            event="add to cart",
            where=(Where("amount", "greater", 10), Where("currency", "equals", "EUR")),
            times=Times(exactly=2),
            within=Window(start="2026-01-01", to="2026-02-01"),
        ),
    ),
    ("first did signup in 7 days", FirstDid(event="signup", within=Window(last="7 days"))),
    ("stopped login for 30 days", Stopped(event="login", last="30 days")),
    (
        "did view then purchase within 3 days",
        InSequence(first=Step("view"), then=Step("purchase"), within="3 days"),
    ),
    (
        "did view then not purchase within 3 days in 30 days",
        InSequence(
            first=Step("view"),
            then=Step("purchase"),
            within="3 days",
            followed=False,
            window=Window(last="30 days"),
        ),
    ),
    (
        "sum of amount over purchase >= 100 in 30 days",
        Aggregate(
            function="sum",
            event="purchase",
            property="amount",
            operator="greater_or_equal",
            value=100,
            within=Window(last="30 days"),
        ),
    ),
    (
        "count distinct of $country over any event > 1",
        Aggregate(function="count_distinct", property="$country", operator="greater", value=1),
    ),
    ('in segment "seg_1"', Member(segment="seg_1")),
    ('sample 10% "seed"', Sample(percent=10, seed="seed")),
    ("trial_ends in next 3 days", OfTrait(trait="trial_ends", operator="in_next", value="3 days")),
    (
        "seen more than 2 weeks ago or seen is not set",
        AnyOf(
            conditions=(
                OfTrait(trait="seen", operator="more_than_ago", value="2 weeks"),
                OfTrait(trait="seen", operator="is_not_set"),
            )
        ),
    ),
    ("born before 2008-01-31", OfTrait(trait="born", operator="before", value="2008-01-31")),
    (
        '(a = 1 or b = true) and not c in ("x", 2)',
        AllOf(
            conditions=(
                AnyOf(
                    conditions=(
                        OfTrait(trait="a", operator="equals", value=1),
                        OfTrait(trait="b", operator="equals", value=True),
                    )
                ),
                Not(condition=OfTrait(trait="c", operator="in", value=["x", 2])),
            )
        ),
    ),
    ("`first` is set", OfTrait(trait="first", operator="is_set")),
]


@pytest.mark.parametrize(("text", "tree"), READ)
def test_what_is_written_so_means_this_and_is_written_so(text, tree):
    assert parse(text) == tree
    assert written(tree) == text


SAME = [
    ('PLAN = "pro" AND Did purchase IN 14 days', '`PLAN` = "pro" and did purchase in 14 days'),
    ('did "add to cart" at least 1 time', "did `add to cart`"),
    ("a = 1 and b = 2 or c = 3", "(a = 1 and b = 2) or c = 3"),
    ("((a = 1))", "a = 1"),
    ("all (a = 1, b = 2)", "a = 1 and b = 2"),
    ("did x\n  then y\twithin 1 day", "did x then y within 1 day"),
]


@pytest.mark.parametrize(("text", "canonical"), SAME)
def test_other_ways_of_writing_come_to_one(text, canonical):
    canonical = canonical.replace("`PLAN`", "PLAN")
    assert written(parse(text)) == canonical
    assert written(parse(canonical)) == canonical


ODD = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from('`"\\ .$\n'),
    min_size=1,
    max_size=8,
)
NAME = ODD.map(lambda name: name if name[0] != "$" else f"$${name}")
NAMES = st.one_of(
    NAME,
    st.sampled_from(
        ["first", "did", "sum", "of", "in", "and", "not", "any", "plan", "a.b", "event", "last"]
    ),
)
VALUED = (CONDITION | NEWER).filter(
    lambda where: "\0" not in str(where) and where.property[0] != "$"
)


def _renamed(tree, name, where, last):  # noqa: C901, PLR0911, PLR0912  a case for each kind
    """With names, conditions and lengths that the tree's own strategy has not."""
    match tree:
        case Did():
            return Did(event=name, where=(where,), times=tree.times, within=Window(last=last))
        case OfTrait():
            return OfTrait(trait=where.property, operator=where.operator, value=where.value)
        case Stopped():
            return Stopped(event=name, last=last)
        case Member():
            return Member(segment=name)
        case Sample():
            return Sample(percent=tree.percent, seed=name)
        case AllOf(conditions=parts):
            return AllOf(conditions=tuple(_renamed(part, name, where, last) for part in parts))
        case AnyOf(conditions=parts):
            return AnyOf(conditions=tuple(_renamed(part, name, where, last) for part in parts))
        case Not(condition=part):
            return Not(condition=_renamed(part, name, where, last))
        case _:
            return tree


def _written_and_read(tree):
    check_criteria(tree)
    assert parse(written(tree)) == tree
    assert written(parse(written(tree))) == written(tree)


LAST = st.sampled_from(["14 days", "1 day", "14days", "007 weeks"])


@settings(max_examples=80, deadline=None)
@given(TREE, NAMES, VALUED, LAST)
def test_every_tree_is_read_as_it_was_written(tree, name, where, last):
    _written_and_read(_renamed(tree, name, where, last))


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(TREE, NAMES, VALUED, LAST)
def test_every_tree_is_read_as_it_was_written_long(tree, name, where, last):
    _written_and_read(_renamed(tree, name, where, last))


WORDS = [
    "did",
    "first",
    "stopped",
    "then",
    "not",
    "and",
    "or",
    "all",
    "any",
    "event",
    "where",
    "(",
    ")",
    ",",
    "=",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "between",
    "in",
    "from",
    "to",
    "for",
    "at",
    "least",
    "most",
    "exactly",
    "times",
    "3",
    "14",
    "days",
    '"x"',
    "plan",
    "amount",
    "sum",
    "of",
    "over",
    "sample",
    "%",
    "segment",
    "is",
    "set",
    "2026-01-01",
    "`a",
    "b`",
    "true",
    "within",
    "more",
    "than",
    "ago",
    "1e999",
    "-0",
    "5000000000000000000000",
    "on",
    "contains",
]
ANYTHING = st.text(max_size=30) | st.lists(st.sampled_from(WORDS), max_size=15).map(" ".join)


def _read_or_refused(text):
    try:
        tree = parse(text)
    except Rejected:
        return
    _written_and_read(tree)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_any_text_is_criteria_or_refused(text):
    _read_or_refused(text)


@pytest.mark.long
@settings(max_examples=20_000, deadline=None)
@given(ANYTHING)
def test_any_text_is_criteria_or_refused_long(text):
    _read_or_refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "(" * 5000,
        "not " * 5000,
        "a = " + "9" * 5000,
        '"',
        "`",
        "all (" * 4000,
        "a = 1 and " * 150,
    ],
)
def test_what_is_too_much_or_too_little_is_refused(text):
    with pytest.raises(Rejected):
        parse(text)


WRONG = [
    ("plan = pro", "line 1, column 8: expected a value", "plan = pro", 7),
    ("did purchase at least three times", "column 23: expected a number", "at least three", 22),
    ("did x in 14", "expected minutes, hours, days or weeks", "in 14", 11),
    ("a = 1\nand b ~ 2", "line 2, column 7: expected", "and b ~ 2", 6),
    ("first = 1", "stands in backticks", "first = 1", 0),
    ("a = 1 b = 2", "column 7: expected `and`, `or` or the end", "a = 1 b", 6),
    ("sum of amount over x contains 5", "column 22: expected =, >", "over x contains", 21),
]


@pytest.mark.parametrize(("text", "told", "line", "caret"), WRONG)
def test_what_is_not_in_the_grammar_is_shown_with_what_was_expected(text, told, line, caret):
    with pytest.raises(Rejected) as refused:
        parse(text)
    assert refused.value.field == "criteria"
    assert told in refused.value.issue
    _, shown, below, example = refused.value.issue.split("\n")
    assert line in shown
    assert below == " " * (caret + 2) + "^"
    assert "did purchase" in example


def test_what_breaks_a_rule_is_told_with_the_place_in_the_tree():
    with pytest.raises(Rejected) as refused:
        parse('a = 1 and did x where (b = 2 and c matches "(")')
    assert refused.value.field == "criteria.conditions[1].where[1].value"
