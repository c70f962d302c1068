"""Segments as they are answered."""

from datetime import datetime
from uuid import UUID

import msgspec

from api.segments.asking import stored, text_of
from api.segments.evaluation import Evaluation, Freshness
from commands.segments import Done
from domain.conditions.tree import Tree
from domain.segments import Segment
from projections.segment_lists import Shown
from projections.segments import Definition


class SegmentShown(msgspec.Struct, frozen=True, kw_only=True):
    """`members` null: not evaluated yet as it is defined now, or a past, of which the times are not
    told either.
    """

    segment_id: UUID
    kind: str
    name: str
    description: str
    criteria: Tree | None
    criteria_text: str | None
    version: int
    members: int | None
    created_at: datetime | None
    updated_at: datetime | None


class SegmentWritten(msgspec.Struct, frozen=True, kw_only=True):
    """`audience_id`, `user_count`: as older callers know them."""

    segment: SegmentShown
    audience_id: UUID
    user_count: int | None
    position: int
    success: bool = True


class SegmentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    segment: SegmentShown
    freshness: Freshness | None
    position: int
    lag_ms: float
    success: bool = True


class Segments(msgspec.Struct, frozen=True, kw_only=True):
    segments: list[SegmentShown]
    total: int
    cursor: str | None
    position: int
    lag_ms: float
    success: bool = True


def shown(one: Shown, evaluation: Evaluation) -> SegmentShown:
    tree = stored(one.criteria)
    members = one.members if evaluation.has(one.segment_id) else None
    told = one._asdict() | {"criteria": tree, "criteria_text": text_of(tree), "members": members}
    return SegmentShown(**told)


def shown_then(definition: Definition) -> SegmentShown:
    """As it was defined at a position."""
    fields = definition._asdict() | {"criteria_text": text_of(definition.criteria)}
    return SegmentShown(**fields, members=None, created_at=None, updated_at=None)


def written(done: Done, before: Shown | None, *, members: int | None) -> SegmentWritten:
    """`before`: as the read model has it."""
    segment = done.segment
    now = SegmentShown(
        segment_id=segment.id,
        kind=segment.kind,
        name=segment.name,
        description=segment.description,
        criteria=segment.criteria,
        criteria_text=text_of(segment.criteria),
        version=segment.version,
        members=members,
        created_at=before.created_at if before else done.at,
        updated_at=done.at,
    )
    return SegmentWritten(
        segment=now, audience_id=segment.id, user_count=members, position=done.position
    )


def defined(segment: Segment) -> Definition:
    """As the read model will have it."""
    return Definition(
        segment.id,
        segment.version,
        segment.kind,
        segment.name,
        segment.criteria,
        segment.description,
    )
