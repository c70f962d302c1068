"""One condition, two readings: in memory and in ClickHouse."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.conditions import BUILT_IN, Where, check, lookup, matches
from domain.errors import Rejected
from projections.conditions import Parameters, all_of, group_key, typed, value_of

TEXT = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/.\n\0€ß𝄞'), max_size=6
)
NUMBER = st.integers(-(2**53), 2**53) | st.floats(-(2.0**53), 2.0**53)
SCALAR = TEXT | NUMBER | st.booleans() | st.sampled_from(["5", 5, 5.0, "", "true", True, 0, -0.0])
MEMBER = st.sampled_from(["a", "b", "a.b", "a.b.c", "ü", 'q"', "$country", "$plan", "$$plan"])
PROPERTY = ["a", "b", "a.b", "a.b.c", "ü", 'q"', "$$country", "$$plan", "$$$plan"]
FACT = st.sampled_from(["$country", "$event", "$browser"])
KEY = st.sampled_from(PROPERTY)
VALUE = st.recursive(
    SCALAR | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(MEMBER, inner, max_size=3),
    max_leaves=6,
)
PROPERTIES = st.dictionaries(MEMBER, VALUE, max_size=5)
PART = TEXT.filter(bool)
OF_FACTS = st.one_of(
    st.builds(Where, FACT, st.sampled_from(["equals", "not_equals"]), PART | st.just("DE")),
    st.builds(Where, FACT, st.sampled_from(["in", "not_in"]), st.lists(PART, min_size=1)),
    st.builds(
        Where,
        FACT,
        st.sampled_from(["contains", "not_contains", "starts_with", "ends_with"]),
        PART | st.sampled_from(["D", "se"]),
    ),
    st.builds(Where, FACT, st.sampled_from(["is_set", "is_not_set"])),
)
CONDITION = st.one_of(
    OF_FACTS,
    st.builds(Where, KEY, st.sampled_from(["equals", "not_equals"]), SCALAR),
    st.builds(Where, KEY, st.sampled_from(["in", "not_in"]), st.lists(SCALAR, min_size=1)),
    st.builds(
        Where,
        KEY,
        st.sampled_from(["contains", "not_contains", "starts_with", "ends_with"]),
        PART | st.sampled_from(["u", "1", "ß"]),
    ),
    st.builds(
        Where,
        KEY,
        st.sampled_from(["greater", "greater_or_equal", "less", "less_or_equal"]),
        NUMBER | st.sampled_from([0, 5, 5.0]),
    ),
    st.builds(Where, KEY, st.sampled_from(["is_set", "is_not_set"])),
)
# Properties that the conditions above often hold for, beside the ones that they rarely do.
LIKELY = st.fixed_dictionaries(
    {}, optional={"a": SCALAR | st.dictionaries(MEMBER, SCALAR), "b": SCALAR, "a.b": SCALAR}
)


@pytest.fixture(scope="module")
def facts():
    return {"$event": "purchase", "$country": "DE", "$browser": ""}


POOL = ["", "5", "a", "ab", "aß", 5, 5.0, 4.9, 0, -0.0, -3, 2**53, -(2.0**53), True, False]
WHOLE = [*POOL, None, [], [5], ["a"], {}, {"b": 5}, {"b": "a"}]
OPERATORS = {
    "equals": POOL,
    "not_equals": POOL,
    "in": [[5, "a", True], ["5"], [0, 4.9]],
    "not_in": [[5, "a", True], ["5"], [0, 4.9]],
    "contains": ["a", "ß", "5"],
    "not_contains": ["a", "ß", "5"],
    "starts_with": ["a", "5"],
    "ends_with": ["b", "ß"],
    "greater": [5, 4.9, 0, 2**53],
    "greater_or_equal": [5, 4.9, 0, 2**53],
    "less": [5, 4.9, 0, 2**53],
    "less_or_equal": [5, 4.9, 0, 2**53],
    "is_set": [None],
    "is_not_set": [None],
}
OPERATORS_OF_FACTS = {
    "equals": ["DE", "de"],
    "not_equals": ["DE", "de"],
    "in": [["DE", "FR"], ["FR"]],
    "not_in": [["DE", "FR"], ["FR"]],
    "contains": ["D", "x"],
    "not_contains": ["D", "x"],
    "starts_with": ["D", "E"],
    "ends_with": ["D", "E"],
    "is_set": [None],
    "is_not_set": [None],
}


def test_memory_and_the_engine_agree_on_every_operator_and_type(engine, facts):
    objects = [{}, *({"a": value} for value in WHOLE), {"a.b": 5}, {"a.b": None, "a": {"b": 5}}]
    objects.append({"$country": "FR", "$plan": 5})
    conditions = [
        Where(name, operator, value)
        for name in ("a", "a.b", "$$country", "$$plan")
        for operator, values in OPERATORS.items()
        for value in values
    ]
    conditions += [
        Where(name, operator, value)
        for name in ("$country", "$browser")
        for operator, values in OPERATORS_OF_FACTS.items()
        for value in values
    ]
    assert len(conditions) > 200
    for at in range(0, len(conditions), 60):
        _assert_agreement(engine, facts, objects, conditions[at : at + 60])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(PROPERTIES | LIKELY, min_size=1, max_size=30),
    st.lists(CONDITION, min_size=1, max_size=15),
)
def test_memory_and_the_engine_agree_about_anything(engine, facts, objects, conditions):
    _assert_agreement(engine, facts, objects, conditions)


def _assert_agreement(engine, facts, objects, conditions):
    parameters = Parameters()
    for place, where in enumerate(conditions):
        check(where, str(place))
    found = _asked(engine, facts, objects, all_of(conditions, parameters), parameters)
    expected = [[matches(where, o, facts) for where in conditions] for o in objects]
    assert found == expected


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(PROPERTIES | LIKELY, min_size=1, max_size=30), KEY | FACT)
def test_what_values_are_grouped_by_tells_them_apart_and_gives_them_back(
    engine, facts, objects, key
):
    parameters = Parameters()
    found = _asked(engine, facts, objects, [typed(key, group_key(key, parameters))], parameters)
    for properties, (text,) in zip(objects, found, strict=True):
        value = lookup(key, properties, facts)
        assert (text is None) == (value is None)
        if text is not None:
            assert _same(value_of(text), value)


def _same(found, value) -> bool:
    """Equal as JSON values are: true is not 1."""
    return found == value and isinstance(found, bool) == isinstance(value, bool)


def test_numbers_are_grouped_by_what_they_are_and_all_else_by_type_too(engine, facts):
    texts = [
        "5",
        "5.0",
        "5e0",
        '"5"',
        "-0",
        "0",
        "0.0",
        "true",
        '"true"',
        '"$none"',
        "[5]",
        '"\\u0041"',
    ]
    found = engine.query(f"SELECT {typed('p', 'key')} FROM (SELECT arrayJoin({texts}) AS key)").rows
    keys = [row[0] for row in found]
    assert keys == ["5", "5", "5", '"5', "0", "0", "0", "true", '"true', '"$none', "[5]", '"A']
    assert [value_of(key) for key in keys[2:6]] == [5, "5", 0, 0]


def _asked(engine, facts, objects, expressions, parameters) -> list[list[object]]:
    columns = "'purchase' AS event, 'DE' AS country, '' AS browser"
    encoded = [msgspec.json.encode(o).decode() for o in objects]
    rows = engine.query(
        f"SELECT {', '.join(expressions)} FROM (SELECT {columns}, number,"
        " arrayElement({objects:Array(String)}, number + 1) AS properties"
        f" FROM numbers({len(objects)})) ORDER BY number",
        {**parameters, "objects": encoded},
    ).rows
    return [[bool(c) if isinstance(c, int) else c for c in row] for row in rows]


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
