"""The algebra of bitmaps that criteria become, and when traits are asked last."""

from datetime import UTC, datetime
from operator import and_, or_, sub

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.conditions.text import parse
from projections.criteria import Asked, members
from projections.criteria.held import Held, both, either

EVERYONE = frozenset(range(1, 9))
STRANGERS = frozenset({20, 21})  # in bitmaps that are not sure
SETS = {"bitmapAnd": and_, "bitmapOr": or_, "bitmapAndnot": sub}
NOW = datetime(2026, 1, 31, tzinfo=UTC)


def persons(held, bitmaps):
    found = eval(held.bitmap, SETS, bitmaps)  # SQL that is Python too
    return EVERYONE - found if held.is_rest else found


LEAF = st.tuples(
    st.frozensets(st.sampled_from(sorted(EVERYONE | STRANGERS))), st.booleans(), st.booleans()
)
TREE = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["all", "any"]), inner, inner),
        st.tuples(st.just("not"), inner, st.none()),
    ),
    max_leaves=6,
)


def built(tree, bitmaps):
    """The set, and what the algebra says of it."""
    match tree:
        case "not", part, None:
            plain, held = built(part, bitmaps)
            return EVERYONE - plain, held.opposite
        case "all" | "any", one, other:
            (a, x), (b, y) = built(one, bitmaps), built(other, bitmaps)
            return (a & b, both(x, y)) if tree[0] == "all" else (a | b, either(x, y))
        case numbers, is_rest, is_sure:
            inside = is_sure and not is_rest
            name = f"b{len(bitmaps)}"
            bitmaps[name] = numbers & EVERYONE if inside else numbers
            plain = EVERYONE - numbers if is_rest else EVERYONE & numbers
            return plain, Held(name, is_rest=is_rest, is_sure=inside)


@settings(max_examples=200, deadline=None)
@given(TREE)
def test_bitmaps_are_the_sets_that_they_stand_for(tree):
    bitmaps = {}
    plain, held = built(tree, bitmaps)
    found = persons(held, bitmaps)
    assert found & EVERYONE == plain
    if held.is_sure:
        assert found == plain


@pytest.mark.parametrize(
    ("text", "asked_last"),
    [
        ('did `buy` and plan = "pro"', True),
        ('plan = "pro" and did `buy` at least 3 times and not did `view`', True),
        ('did `buy` then `view` within 1 day and (plan = "pro" or did `view`)', True),
        ('plan = "pro"', False),
        ('did `buy` or plan = "pro"', False),
        ('not did `buy` and plan = "pro"', False),  # nearly everyone, and no index of them
    ],
)
def test_traits_are_asked_of_those_whom_the_rest_leaves(text, asked_last):
    found = members(parse(text), Asked(1, 10, NOW)).sql
    assert ("bitmapContains(few, person)" in found) == asked_last
    assert "few" not in members(parse(text), Asked(1, 10, NOW, among=(1, 2))).sql
