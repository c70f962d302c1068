"""Conditions on properties: what is refused, and single rules of what holds."""

from datetime import UTC, datetime, timedelta

import pytest

from domain.conditions import BUILT_IN, Where, check, matches
from domain.errors import Rejected
from projections.conditions import Parameters, all_of

NOW = datetime(2026, 3, 14, 12, 0, 0, 123456, tzinfo=UTC)

WRONG = [
    ("", "is_set", None, "property"),
    ("p" * 256, "is_set", None, "property"),
    ("p", "like", "x", "operator"),
    ("p", "equals", None, "value"),
    ("p", "equals", [1], "value"),
    ("p", "equals", {"a": 1}, "value"),
    ("p", "equals", float("nan"), "value"),
    ("p", "equals", 10**400, "value"),
    ("p", "equals", 2**53 + 1, "value"),
    ("p", "in", [1, -(2**53) - 1], "value[1]"),
    ("p", "less", 1e300, "value"),
    ("p", "greater", float("inf"), "value"),
    ("p", "in", "x", "value"),
    ("p", "in", [], "value"),
    ("p", "in", [1, None], "value[1]"),
    ("p", "in", [1] * 101, "value"),
    ("p", "contains", "", "value"),
    ("p", "starts_with", 5, "value"),
    ("p", "greater", "5", "value"),
    ("p", "less", True, "value"),
    ("p", "between", 5, "value"),
    ("p", "between", [1], "value"),
    ("p", "between", [1, "5"], "value[1]"),
    ("p", "between", [2, 1], "value"),
    ("p", "matches", 5, "value"),
    ("p", "matches", "", "value"),
    ("p", "matches", "a" * 201, "value"),
    ("p", "before", "yesterday", "value"),
    ("p", "on", True, "value"),
    ("p", "after", "1999-12-31", "value"),
    ("p", "in_last", 14, "value"),
    ("p", "in_next", "14", "value"),
    ("p", "more_than_ago", "0 days", "value"),
    ("p", "more_than_ahead", "36601 days", "value"),
    ("$event", "between", [1, 2], "operator"),
    ("$event", "before", "2026-03-14", "operator"),
    ("$event", "not_in_last", "14 days", "operator"),
    ("p", "is_set", 1, "value"),
    ("$foo", "is_set", None, "property"),
    ("$", "is_set", None, "property"),
    ("$Event", "equals", "x", "property"),
    ("$event", "greater", 5, "operator"),
    ("$event", "less_or_equal", "x", "operator"),
    ("$event", "equals", 5, "value"),
    ("$event", "not_equals", True, "value"),
    ("$event", "in", ["x", 5], "value"),
    ("$event", "contains", 5, "value"),
    ("$country", "equals", "", "value"),
    ("$country", "in", ["DE", ""], "value"),
]


@pytest.mark.parametrize(("name", "operator", "value", "field"), WRONG)
def test_a_condition_that_says_nothing_is_refused_with_the_field(name, operator, value, field):
    with pytest.raises(Rejected) as refused:
        check(Where(name, operator, value), "where[3]")
    assert refused.value.field == f"where[3].{field}"


@pytest.mark.parametrize("name", ["$foo", "$evnt"])
def test_an_unknown_fact_is_answered_with_those_that_there_are(name):
    with pytest.raises(Rejected) as refused:
        check(Where(name, "is_set"), "where[0]")
    assert ", ".join(BUILT_IN) in refused.value.issue
    assert f"`${name}`" in refused.value.issue
    assert ("did you mean `$event`?" in refused.value.issue) == (name == "$evnt")


def test_an_operator_that_is_none_is_answered_with_those_that_there_are():
    with pytest.raises(Rejected, match=r"must be one of equals, not_equals, .*, is_not_set"):
        check(Where("p", "like", "x"), "where[0]")


def test_a_key_that_begins_with_a_dollar_has_one_more():
    assert matches(Where("$$plan", "equals", 5), {"$plan": 5}, {})
    assert matches(Where("$$event", "equals", 5), {"$event": 5}, {"$event": "purchase"})
    assert matches(Where("$$a.b", "equals", 5), {"$a": {"b": 5}}, {})


def test_negative_operators_hold_where_the_property_is_missing():
    for operator, value in (("not_equals", 1), ("not_in", [1]), ("not_contains", "x")):
        assert matches(Where("p", operator, value), {}, {})
        assert matches(Where("p", operator, value), {"p": None}, {})


def test_types_are_not_converted():
    assert not matches(Where("p", "equals", 5), {"p": "5"}, {})
    assert not matches(Where("p", "equals", True), {"p": 1}, {})
    assert not matches(Where("p", "greater", 4), {"p": "5"}, {})
    assert matches(Where("p", "equals", 5), {"p": 5.0}, {})


def test_a_key_with_a_dot_comes_before_the_path():
    both = {"a.b": 1, "a": {"b": 2}}
    assert matches(Where("a.b", "equals", 1), both, {})
    assert not matches(Where("a.b", "equals", 2), both, {})
    assert matches(Where("a.b", "equals", 2), {"a": {"b": 2}}, {})
    assert matches(Where("a.b", "is_not_set"), {**both, "a.b": None}, {})


def test_built_in_facts_hide_properties_of_their_name():
    assert set(BUILT_IN) >= {"$event", "$country", "$browser", "$os", "$device"}
    parameters = Parameters()
    assert all_of([Where("$country", "equals", "DE")], parameters) == ["(country IN ({p0:String}))"]
    assert parameters == {"p0": "DE"}


@pytest.mark.parametrize(
    "given",
    ["2026-03-14T12:00:00.123456Z", "2026-03-14T14:00:00.123456+02:00", 1773489600.123456],
)
def test_now_is_in_the_last_and_in_the_next_days_and_so_is_their_end(given):
    def holds(operator, of):
        return matches(Where("at", operator, "1 day"), {"at": given}, {}, of)

    day, instant = timedelta(days=1), timedelta(microseconds=1)
    assert holds("in_last", NOW)
    assert holds("in_next", NOW)
    assert holds("in_last", NOW + day)
    assert not holds("more_than_ago", NOW + day)
    assert not holds("in_last", NOW + day + instant)
    assert holds("more_than_ago", NOW + day + instant)
    assert holds("in_next", NOW - day)
    assert not holds("more_than_ahead", NOW - day)
    assert not holds("in_next", NOW - day - instant)
    assert holds("more_than_ahead", NOW - day - instant)


def test_a_date_as_a_value_is_the_whole_day_in_utc_and_a_time_is_an_instant():
    def holds(operator, value, at):
        return matches(Where("at", operator, value), {"at": at}, {})

    last, next_ = "2026-03-14T23:59:59.999999Z", "2026-03-15T00:00:00Z"
    assert holds("on", "2026-03-14", last)
    assert not holds("on", "2026-03-14", next_)
    assert not holds("after", "2026-03-14", last)
    assert holds("after", "2026-03-14", next_)
    assert not holds("before", "2026-03-15", next_)
    assert holds("before", "2026-03-15", last)
    assert holds("on", "2026-03-15T01:00:00+01:00", next_)
    assert not holds("on", "2026-03-15T00:00:00Z", last)


def test_a_relative_date_in_memory_needs_to_know_when_it_is_asked():
    with pytest.raises(ValueError, match="needs to know when"):
        matches(Where("at", "in_last", "1 day"), {"at": 1773489600}, {})
