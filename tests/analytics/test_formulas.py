"""Formulas: what they come to, and where they are wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.formulas import parse

VALUES = {"a": 6, "b": 4.0, "none": None, "zero": 0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", 6),
        ("a + b * 2", 14),
        ("(a + b) * 2", 20),
        ("a - b - 1", 1),
        ("a / b / 2", 0.75),
        ("-a + 10", 4),
        ("--a", 6),
        ("2 * -(a - b)", -4),
        ("1.5 * a", 9),
        ("a / zero", None),
        ("zero / zero + a", None),
        ("none * 0", None),
        ("a + none", None),
        ("a * 1000000000000000000000", 6e21),
    ],
)
def test_a_formula_is_reckoned(text, value):
    found = parse(text).reckon(VALUES)
    assert found == value


def test_what_grows_beyond_a_double_is_nothing():
    assert parse("a * a").reckon({"a": 1e200}) is None


def test_a_number_that_is_none_any_more_is_refused():
    with pytest.raises(Rejected, match="has a number that is too large"):
        parse(f"a * {'9' * 400}")


def test_names_are_told_once_and_in_their_order():
    assert parse("b / a + b * c_2").names == ("b", "a", "c_2")
    assert parse("1 + 2").names == ()


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", None),
        ("a +", 4),
        ("a b", 3),
        ("* a", 1),
        ("(a", 3),
        ("a)", 2),
        ("a / ()", 6),
        ("a ^ b", 3),
        ("1.2.3", 4),
        ("a + ü", 5),
        ("a" * 501, None),
        ("(" * 30 + "a" + ")" * 30, None),
        ("-" * 30 + "a", None),
    ],
)
def test_what_is_no_formula_is_refused_with_the_place(text, column):
    with pytest.raises(Rejected) as refused:
        parse(text)
    assert refused.value.field == "formula"
    if column is not None:
        assert refused.value.issue.startswith(f"column {column}: expected ")


TREE = st.recursive(
    st.sampled_from(["a", "b", "2", "0.5"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda one: f"-{one}"),
    ),
    max_leaves=8,
)


@given(TREE, st.integers(-1000, 1000), st.sampled_from([0.0, -0.25, 1e3, 1e-3, 7.5]))
def test_it_is_what_python_makes_of_it(text, a, b):
    try:
        expected = eval(text, {"__builtins__": {}}, {"a": a, "b": b})
    except ZeroDivisionError:
        expected = None
    if expected is not None and not math.isfinite(expected):
        expected = None
    found = parse(text).reckon({"a": a, "b": b})
    assert found == expected or (expected is not None and found == pytest.approx(expected))
