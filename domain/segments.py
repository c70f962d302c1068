"""Segments: named criteria, and who entered and left them."""

from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID, uuid5

import msgspec

from domain.conditions.tree import Tree

Kind = Literal["live", "static"]
Cause = Literal["created", "updated", "event", "time", "person", "list", "deleted"]
MAX_PERSONS = 1_000  # in one event
_MEMBERSHIP = "membership"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`originator_id` is the segment's id, or its `membership_stream`."""

    originator_id: UUID
    originator_version: int
    occurred_at: datetime
    app_id: UUID


class _Defined(Event, frozen=True, kw_only=True):
    """As it is from now on. Static segments have no criteria."""

    kind: Kind = "live"
    name: str
    description: str = ""
    criteria: Tree | None = None


class SegmentCreated(_Defined, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "segment.created.v1"


class SegmentUpdated(_Defined, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "segment.updated.v1"


class SegmentDeleted(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "segment.deleted.v1"


class _Membership(Event, frozen=True, kw_only=True):
    """So it is as of `at_position` of the log, at the instant `at`. `persons` are numbers,
    ascending, at most MAX_PERSONS. `segment_version` is that of the definition.
    """

    segment_id: UUID
    segment_version: int
    at_position: int
    at: datetime
    cause: Cause
    persons: tuple[int, ...]


class SegmentEntered(_Membership, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "segment.entered.v1"


class SegmentLeft(_Membership, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "segment.left.v1"


def membership_stream(segment_id: UUID) -> UUID:
    return uuid5(segment_id, _MEMBERSHIP)
