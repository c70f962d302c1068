"""What may be asked of traits besides setting them."""

import json

import pytest
from msgspec import Raw

from domain.errors import Rejected
from domain.limits import MAX_KEY_CHARS, MAX_KEYS
from domain.operations import checked_operations
from domain.tracking import EMPTY


@pytest.fixture
def checked():
    """Operation -> JSON text, in; what would be stored, out."""

    def check(also=(), **given: str):
        raw = {kind: Raw(text.encode()) for kind, text in given.items()}
        found = checked_operations(raw, unset=also)
        return None if found is EMPTY else json.loads(bytes(found))

    return check


@pytest.fixture
def refused(checked):
    def check(**given: str) -> tuple[str, str]:
        with pytest.raises(Rejected) as refusal:
            checked(**given)
        return refusal.value.field, refusal.value.issue

    return check


def test_all_of_them_are_kept_side_by_side(checked):
    stored = checked(
        set_once='{"first": {"deep": [1, null]}}',
        increment='{"visits": 1, "credit": -0.5}',
        append='{"seen": "docs", "log": [1]}',
        union='{"tags": ["a", {"b": 1}], "none": []}',
        unset='["old", "older"]',
    )
    assert stored == {
        "set_once": {"first": {"deep": [1, None]}},
        "increment": {"visits": 1, "credit": -0.5},
        "append": {"seen": "docs", "log": [1]},
        "union": {"tags": ["a", {"b": 1}], "none": []},
        "unset": ["old", "older"],
    }


@pytest.mark.parametrize("kind", ["set_once", "increment", "append", "union", "unset"])
@pytest.mark.parametrize("nothing", ["null", "{}"])
def test_what_asks_for_nothing_is_not_kept(checked, kind, nothing):
    assert checked(**{kind: "[]" if kind == "unset" and nothing == "{}" else nothing}) is None


def test_names_to_unset_come_once(checked):
    assert checked(["a", "b"], unset='["b", "c", "b"]') == {"unset": ["b", "c", "a"]}


@pytest.mark.parametrize("value", ['"1"', "true", "null", "[1]", "{}"])
def test_only_a_number_can_be_added(refused, value):
    assert refused(increment=f'{{"n": 1, "visits": {value}}}') == (
        "increment.visits",
        "must be a number",
    )


@pytest.mark.parametrize("value", ["1e400", "9007199254740993", "-9007199254740993"])
def test_a_number_that_can_not_be_kept_is_not_added(refused, value):
    field, issue = refused(increment=f'{{"visits": {value}}}')
    assert field == "increment.visits"
    assert "2^53" in issue


@pytest.mark.parametrize("value", ['"a"', "5", "null", '{"a": 1}'])
def test_a_union_is_with_a_list(refused, value):
    field, issue = refused(union=f'{{"tags": {value}}}')
    assert (field, issue.partition(";")[0]) == ("union.tags", "must be a list")


@pytest.mark.parametrize("kind", ["set_once", "increment", "append", "union"])
@pytest.mark.parametrize(
    ("text", "field", "issue"),
    [
        ("[]", "", "object"),
        ('"a"', "", "object"),
        ('{"a": 1, "a": 1}', ".a", "twice"),
        ('{"": 1}', "", "a key"),
        ('{"' + "k" * (MAX_KEY_CHARS + 1) + '": 1}', "", "a key"),
        ('{"a": "b\\u0000"}', ".a", "\\u0000"),
        ('{"a": ' + "[" * 20 + "]" * 20 + "}", "", "nests deeper"),
        (json.dumps({f"k{n}": 1 for n in range(MAX_KEYS + 1)}), "", "more than 200 keys"),
    ],
)
def test_each_is_an_object_within_the_limits_of_one(refused, kind, text, field, issue):
    found, told = refused(**{kind: text})
    assert found == kind + field
    assert issue in told


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("{}", "unset"),
        ('"a"', "unset"),
        ("[1]", "unset"),
        ('["a", null]', "unset"),
        ('["a", ""]', "unset[1]"),
        ('["a\\u0000"]', "unset[0]"),
        (json.dumps(["k" * (MAX_KEY_CHARS + 1)]), "unset[0]"),
        (json.dumps(["k"] * (MAX_KEYS + 1)), "unset"),
    ],
)
def test_unset_is_a_list_of_names(refused, text, field):
    assert refused(unset=text)[0] == field


def test_together_they_are_within_the_limits_of_one_object(refused):
    many = json.dumps({f"k{n}": 1 for n in range(MAX_KEYS // 2)})
    assert refused(set_once=many, append=many) == (
        "operations",
        "has more than 200 keys, counting nested ones",
    )
