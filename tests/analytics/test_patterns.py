"""Patterns in memory against Python's own; test_conditions.py holds the engines against them."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conditions import Where, check
from domain.conditions.automata import automaton
from domain.errors import Rejected
from tests.analytics.test_conditions import PATTERN


def _pythons(pattern):
    """Without what Python reads differently: `$` before a last line's end, letters of all alphabets
    in either case.
    """
    flags = re.ASCII | re.DOTALL
    if pattern.startswith("(?i)"):
        pattern, flags = pattern[4:], flags | re.IGNORECASE
    return re.compile(pattern.replace("$", r"\Z"), flags)


@settings(max_examples=300, deadline=None)
@given(PATTERN, st.lists(st.text("aAbB5ßc_ -\n]^€./", max_size=6), min_size=1, max_size=8))
def test_a_pattern_finds_what_pythons_does(pattern, texts):
    check_one(pattern)
    for text in texts:
        assert automaton(pattern).found_in(text) == bool(_pythons(pattern).search(text)), text


def check_one(pattern):
    check(Where("p", "matches", pattern), "where[0]")


WRONG = [
    (r"(a)\1", "is none of"),
    (r"\bword", "is none of"),
    (r"\p{L}", "is none of"),
    (r"\Aa", "is none of"),
    ("(?=a)", "lookarounds"),
    ("(?<!a)b", "lookarounds"),
    ("(?P<name>a)", "names and flags"),
    ("a(?i)b", "very beginning"),
    ("(?s)a", "flags"),
    ("a*+", "possessive"),
    ("a{2}{3}", "one repetition after another"),
    ("^*", "an end of the text"),
    ("*a", "nothing before it"),
    ("a{3,2}", "lower number first"),
    ("a{256}", "0 to 255"),
    ("a{,2}", "begins no repetition"),
    ("a{", "begins no repetition"),
    ("(a", "`)` is missing"),
    ("a)", "nothing opens"),
    ("[a", "`]` is missing"),
    ("[]", "empty class"),
    ("[[:alpha:]]", "is written"),
    ("[z-a]", "from one character up"),
    (r"[\d-z]", "from one character up"),
    ("a\\", "is none of"),
    ("(a{100}){100}", "at most 1000"),
    ("a\0", "no text has"),
]


@pytest.mark.parametrize(("pattern", "told"), WRONG)
def test_what_is_read_differently_or_not_at_all_is_refused_with_its_place(pattern, told):
    with pytest.raises(Rejected) as refused:
        check_one(pattern)
    assert refused.value.field == "where[0].value"
    assert told in refused.value.issue


@settings(max_examples=200)
@given(st.text("ab(){}[]|*+?\\^$.-,:0159dwsDi<=!\0\n", max_size=12))
def test_any_text_is_a_pattern_or_refused(pattern):
    try:
        check_one(pattern)
    except Rejected:
        return
    re.compile(pattern)
    automaton(pattern).found_in("ab0")


def test_no_pattern_takes_long():
    pattern = "^(a|aa|a*)*(a+)+b$"
    check_one(pattern)
    started = time.process_time()
    assert not automaton(pattern).found_in("a" * 30_000)
    assert time.process_time() - started < 2
