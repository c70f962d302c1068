"""Segments that name segments: not too deep, not in a circle, and not too large in all."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from domain.conditions.tree import AllOf, AnyOf, Did, Member, Not
from domain.errors import Conflict, Rejected
from domain.limits import MAX_EXPANDED_NODES, MAX_SEGMENT_DEPTH, MAX_SEGMENTS
from domain.past import NOW
from domain.segments import (
    Changed,
    Segment,
    check_expanded,
    create_segment,
    evolve,
    update_segment,
)
from infrastructure.analytics_engine import AnalyticsEngine
from projections import criteria
from projections.people_asked import resolved

APP, AT = UUID(int=1), datetime(2026, 3, 1, tzinfo=UTC)


class Segments:
    """By number; each names what is given."""

    def __init__(self):
        self.there: dict[UUID, Segment] = {}

    @property
    def others(self):
        return {one: segment.criteria for one, segment in self.there.items()}

    def create(self, number, tree):
        event = create_segment(
            segment_id=UUID(int=number), app_id=APP, now=AT, name="S", description="",
            criteria=tree, others=self.others,
        )  # fmt: skip
        self.there[UUID(int=number)] = evolve(None, event)

    def update(self, number, tree):
        segment = self.there[UUID(int=number)]
        event = update_segment(segment, Changed(criteria=tree), others=self.others, now=AT)
        self.there[UUID(int=number)] = evolve(segment, event)


def of(number):
    return Member(segment=str(UUID(int=number)))


def parts(count):
    """With itself."""
    return AnyOf(conditions=tuple(Did(event=f"e{n}") for n in range(count - 1)))


@pytest.fixture
def segments():
    return Segments()


def test_parts_are_counted_wherever_a_segment_is_named(segments):
    segments.create(1, parts(100))
    segments.create(2, AllOf(conditions=(of(1), Not(condition=of(1)))))
    with pytest.raises(Rejected, match=r"criteria: have 303 parts with those of the segments"):
        segments.create(3, AnyOf(conditions=(of(2), of(1))))
    segments.create(3, of(2))
    with pytest.raises(Rejected, match="have 304 parts"):
        check_expanded(AllOf(conditions=(of(3), of(1), Did())), segments.others)
    check_expanded(AllOf(conditions=(of(3), parts(90))), segments.others)


def test_it_is_reckoned_at_once_however_large_it_would_be(segments):
    """Seven of seven of seven: a name that stands often is one that was reckoned before."""
    segments.create(1, parts(8))
    segments.create(2, AllOf(conditions=(of(1),) * 7))
    segments.create(3, AllOf(conditions=(of(2),) * 5))
    with pytest.raises(Rejected, match="have 28,601 parts"):
        segments.create(4, AllOf(conditions=(of(3),) * 100))


def test_one_that_is_named_does_not_grow_beyond_it_either(segments):
    segments.create(1, parts(10))
    segments.create(2, AllOf(conditions=(of(1), of(1), of(1), of(1))))
    segments.create(3, of(2))
    segments.create(4, parts(100))
    with pytest.raises(
        Rejected, match=r"of segment .*2, which names this one, would then have 321"
    ):
        segments.update(1, parts(80))
    segments.update(1, parts(70))
    segments.create(5, None)
    segments.create(6, of(5))
    for number in (7, 8):
        segments.create(number, of(number - 1))
    with pytest.raises(Rejected, match="more than 5 deep"):
        segments.update(6, of(3))


def test_nor_deeper_nor_in_a_circle(segments):
    segments.create(1, Did())
    for number in range(2, MAX_SEGMENT_DEPTH + 1):
        segments.create(number, of(number - 1))
    with pytest.raises(Rejected, match="more than 5 deep"):
        segments.create(6, of(5))
    segments.create(7, Did())
    with pytest.raises(Rejected, match=r"of segment .*5, which names this one, would then name"):
        segments.update(1, of(7))
    with pytest.raises(Rejected, match="circle"):
        segments.update(1, of(3))


def test_criteria_of_a_question_grow_no_larger(segments):
    segments.create(1, parts(100))

    def find(segment):
        return segments.there[UUID(segment)].criteria

    with pytest.raises(Rejected, match="have 301 parts"):
        resolved(AllOf(conditions=(of(1), of(1), of(1))), find)
    assert resolved(AllOf(conditions=(of(1), of(1))), find)


def test_the_engine_takes_the_most(engine_url):
    tree = AnyOf(conditions=(*(Not(condition=parts(74)) for _ in range(3)), parts(74)))
    check_expanded(tree, {})
    whole = AnyOf(conditions=tuple(Did(event=f"e{n}") for n in range(MAX_EXPANDED_NODES - 1)))
    check_expanded(whole, {})
    engine = AnalyticsEngine(engine_url)
    for one in (tree, whole):
        query = criteria.members(one, criteria.Asked(1, 10, AT, NOW))
        assert engine.query(f"EXPLAIN SYNTAX {query.sql}", query.parameters).rows
    engine.close()


def test_an_app_has_so_many_segments_and_one_more_is_a_conflict():
    found = Segments()
    for number in range(MAX_SEGMENTS):
        found.create(number, None)
    with pytest.raises(Conflict, match="delete one first"):
        found.create(MAX_SEGMENTS, None)
