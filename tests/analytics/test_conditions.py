"""One condition, two readings: in memory and in ClickHouse."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.conditions import Where, check, lookup, matches
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
NOW = datetime(2026, 3, 14, 12, 0, 0, 123456, tzinfo=UTC)
# Around now and the ends of 14 days before and after it.
MOMENT = st.builds(
    lambda days, micros: NOW + timedelta(days=days, microseconds=micros),
    st.sampled_from([-14, -1, 0, 14]),
    st.integers(-2, 2),
)
OFFSETS = ["Z", "", "+00", "z"]
DATE = st.one_of(
    st.builds(lambda at, end: at.isoformat()[:26] + end, MOMENT, st.sampled_from(OFFSETS)),
    st.datetimes().map(lambda at: f"{at}+05:30"),
    st.from_regex(r"20[0-9][0-9]-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](Z|-0730)?)?\n?"),
    MOMENT.map(lambda at: at.timestamp()),
    st.integers(-3_000_000_000, 11_000_000_000),
)
PIECES = (
    "a b A . \\d \\w \\s \\W \\D [a-c] [^a] [\\d_-] [^\\W] [\\Sx] ß \\. 5 ^ $ (a|5) (?:ß|b)+ a? b*?"
    " .+ (a*)* [a-z]{2} (ab){1,2} a{0} (|a) [\\]^] \\n € /"
)
PIECE = st.sampled_from(PIECES.split())
PATTERN = st.builds(
    lambda start, parts: start + "".join(parts),
    st.sampled_from(["", "(?i)"]),
    st.lists(PIECE | st.just("|"), min_size=1, max_size=5),
)
NEWER = st.one_of(
    st.builds(Where, KEY, st.sampled_from(["matches", "not_matches"]), PATTERN),
    st.builds(Where, KEY, st.just("between"), st.lists(NUMBER, min_size=2, max_size=2).map(sorted)),
    st.builds(
        Where,
        KEY,
        st.sampled_from(["before", "after", "on"]),
        st.sampled_from(["2026-03-14", 1773489600]) | MOMENT.map(datetime.isoformat),
    ),
    st.builds(
        Where,
        KEY,
        st.sampled_from(["in_last", "not_in_last", "in_next", "more_than_ago", "more_than_ahead"]),
        st.sampled_from(["14 days", "1 day", "2 weeks", "1 minute", "30000 days"]),
    ),
)
CONDITION = st.one_of(
    OF_FACTS,
    NEWER,
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
    {},
    optional={
        "a": SCALAR | st.dictionaries(MEMBER, SCALAR),
        "b": SCALAR | DATE,
        "a.b": DATE | st.text("aAb5ß\n_٣-]^€ /.", max_size=4),
    },
)


@pytest.fixture(scope="module")
def facts():
    return {"$event": "purchase", "$country": "DE", "$browser": ""}


DATES = [
    "2026-03-14",
    "2026-03-14T12:00:00.123456Z",
    "2026-03-14 12:00",
    "2026-02-28t12:00:00.1234559",
    "2026-02-28T17:30:00.123456+05:30",
    "2024-02-29T23:59:59.9-0230",
    "2026-02-29",
    "1900-02-29",
    "2026-03-14T24:00",
    "2026-03-14T12:00:60",
    "2026-03-14\n",
    "20260314",
    "٢٠٢٦-03-14",
    "1900-01-01T00:00+23:59",
    "2299-12-31T23:59:59.999999-23:59",
    "1899-12-31",
    1773489600,
    1773489600.123456,
    1773489600123,
    -2208988800,
    -2208988800.5,
]
POOL = ["", "5", "a", "ab", "aß", 5, 5.0, 4.9, 0, -0.0, -3, 2**53, -(2.0**53), True, False]
WHOLE = [*POOL, *DATES, None, [], [5], ["a"], {}, {"b": 5}, {"b": "a"}]
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
    "between": [[0, 5], [4.9, 4.9], [-(2**53), 2**53]],
    "matches": ["a", "^5$", "^.$", "ß$", "(?i)^A", r"^[^\d]+$", "^$", r"\w\W?$", "^(a|b)*$"],
    "not_matches": ["a"],
    "before": ["2026-03-14", "2026-03-14T12:00:00.123456Z", 1773489600],
    "after": ["2026-03-14", "2026-03-14T12:00:00.123456Z", 1773489600],
    "on": ["2026-03-14", "2026-03-14T12:00:00.123456Z", 1773489600],
    "in_last": ["14 days", "1 day", "30000 days"],
    "not_in_last": ["14 days"],
    "in_next": ["14 days", "36600 days"],
    "more_than_ago": ["14 days", "8 hours"],
    "more_than_ahead": ["1 day"],
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
    "matches": ["D", "^$", "^d"],
    "not_matches": ["^$"],
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
    parameters = Parameters(now=NOW)
    for place, where in enumerate(conditions):
        check(where, str(place))
    found = _asked(engine, facts, objects, all_of(conditions, parameters), parameters)
    expected = [[matches(where, o, facts, NOW) for where in conditions] for o in objects]
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


def test_without_an_instant_given_the_engine_takes_its_clock(engine):
    today = datetime.now(UTC)
    objects = [{"at": (today + timedelta(days=days)).isoformat()} for days in (-2, -0.5, 0.5, 2)]
    parameters = Parameters()
    asked = all_of([Where("at", "in_last", "1 day"), Where("at", "in_next", "1 day")], parameters)
    found = _asked(engine, {}, objects, asked, parameters)
    assert found == [[False, False], [True, False], [False, True], [False, False]]


@pytest.mark.parametrize(
    "where", [Where("plan", "equals", "pro"), Where("plan", "in", ["x", "pro"])]
)
def test_a_string_is_found_however_its_characters_are_written(engine, where):
    """Conditions look at the text before they parse it."""
    texts = {
        '{"plan":"pro"}': True,
        r'{"plan":"\u0070ro"}': True,
        r'{"\u0070lan":"p\u0072\u006F"}': True,
        r'{"plan":"\\u0070ro"}': False,
        '{"plan":"prompt"}': False,
        '{"plan":"free","other":"pro"}': False,
        '{"other":"pro"}': False,
        '{"plan":["pro"]}': False,
        "{}": False,
    }
    parameters = Parameters()
    (held,) = all_of([where], parameters)
    rows = ", ".join(map(parameters.text, texts))
    found = engine.query(
        f"SELECT properties, {held} FROM (SELECT arrayJoin([{rows}]) AS properties)", parameters
    ).rows
    assert {text: bool(held) for text, held in found} == texts
