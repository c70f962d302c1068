"""Segments: named criteria, and who entered and left them."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import ClassVar, Literal, assert_never
from uuid import UUID, uuid5

import msgspec

from domain import aggregates
from domain.aggregates import checked_name
from domain.conditions.size import LEAF, Size, check_size, size_of
from domain.conditions.tree import Tree, needs
from domain.errors import Conflict, Rejected
from domain.limits import MAX_DESCRIPTION_CHARS, MAX_SEGMENTS

Kind = Literal["live", "static"]
Cause = Literal["created", "updated", "event", "time", "person", "list", "deleted"]
MAX_PERSONS = 1_000  # in one event
_MEMBERSHIP = "membership"


class Event(aggregates.Event, frozen=True, kw_only=True):
    """`originator_id` is the segment's id, or its `membership_stream`."""

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


# --- decisions -------------------------------------------------------------------------------


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A definition, as far as decisions need it."""

    id: UUID
    app_id: UUID
    version: int
    kind: Kind
    name: str
    description: str
    criteria: Tree | None
    is_deleted: bool = False


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What is given is so from now on."""

    name: str | None = None
    description: str | None = None
    criteria: Tree | None = None


Definitions = Mapping[UUID, Tree | None]  # of all segments of the app that there are


def create_segment(  # noqa: PLR0913  what a segment is
    *,
    segment_id: UUID,
    app_id: UUID,
    now: datetime,
    name: str,
    description: str,
    criteria: Tree | None,
    others: Definitions,
) -> SegmentCreated:
    """Without criteria it is a static list. Raises Rejected, and Conflict for one too many."""
    if len(others) >= MAX_SEGMENTS:
        raise Conflict(f"an app has at most {MAX_SEGMENTS} segments; delete one first")
    _check_nesting(segment_id, criteria, others)
    return SegmentCreated(
        originator_id=segment_id,
        originator_version=1,
        occurred_at=now,
        app_id=app_id,
        kind="static" if criteria is None else "live",
        name=checked_name(name),
        description=_described(description),
        criteria=criteria,
    )


def update_segment(
    segment: Segment, changed: Changed, *, others: Definitions, now: datetime
) -> SegmentUpdated:
    """Raises Rejected."""
    if changed == Changed():
        raise Rejected("body", "changes nothing; give name, description or criteria")
    if changed.criteria is not None and segment.kind == "static":
        raise Rejected("criteria", "this is a static list, which has none; create a live segment")
    criteria = segment.criteria if changed.criteria is None else changed.criteria
    _check_nesting(segment.id, criteria, others)
    text = segment.description if changed.description is None else changed.description
    return SegmentUpdated(
        originator_id=segment.id,
        originator_version=segment.version + 1,
        occurred_at=now,
        app_id=segment.app_id,
        kind=segment.kind,
        name=checked_name(segment.name if changed.name is None else changed.name),
        description=_described(text),
        criteria=criteria,
    )


def delete_segment(segment: Segment, *, others: Definitions, now: datetime) -> SegmentDeleted:
    """Raises Conflict while another one names it."""
    named_by = sorted(
        str(one)
        for one, tree in others.items()
        if one != segment.id and tree is not None and str(segment.id) in needs(tree).segments
    )
    if named_by:
        raise Conflict("other segments name this one; change these first", segments=named_by)
    return SegmentDeleted(
        originator_id=segment.id,
        originator_version=segment.version + 1,
        occurred_at=now,
        app_id=segment.app_id,
    )


def evolve(
    segment: Segment | None, event: SegmentCreated | SegmentUpdated | SegmentDeleted
) -> Segment:
    match event:
        case SegmentCreated() | SegmentUpdated():
            return Segment(
                id=event.originator_id,
                app_id=event.app_id,
                version=event.originator_version,
                kind=event.kind,
                name=event.name,
                description=event.description,
                criteria=event.criteria,
            )
        case SegmentDeleted():
            assert segment is not None
            return msgspec.structs.replace(
                segment, version=event.originator_version, is_deleted=True
            )
        case _:
            assert_never(event)


def _described(text: str) -> str:
    if len(text) > MAX_DESCRIPTION_CHARS or "\0" in text:
        issue = f"must be at most {MAX_DESCRIPTION_CHARS} characters, without \\u0000"
        raise Rejected("description", issue)
    return text


def _check_nesting(segment_id: UUID, criteria: Tree | None, others: Definitions) -> None:
    """That segments named are there, that none comes back to itself, and that neither this one nor
    any that names it grows too large. Raises Rejected.
    """
    trees = {str(one): tree for one, tree in others.items()}
    _check_named(criteria, trees.keys() | {str(segment_id)})
    sizes = _Sizes(trees | {str(segment_id): criteria})
    check_size(sizes.of(str(segment_id)))
    before = _Sizes(trees)
    for name in sorted(trees):
        if sizes.of(name) != before.of(name):
            check_size(sizes.of(name), f"of segment {name}, which names this one, would then")


def check_expanded(criteria: Tree, others: Definitions) -> None:
    """Of criteria that are no segment's: that what they name is there, and that they are not too
    large then. Raises Rejected.
    """
    _check_named(criteria, {str(one) for one in others})
    check_size(size_of(criteria, _Sizes({str(one): tree for one, tree in others.items()}).of))


def _check_named(criteria: Tree | None, known: AbstractSet[str]) -> None:
    for name in sorted(frozenset() if criteria is None else needs(criteria).segments):
        if name not in known:
            raise Rejected("criteria", f"names the segment {name}, which is not there")


class _Sizes:
    """Of segments, each reckoned once. Raises Rejected where they lead round in a circle."""

    def __init__(self, trees: Mapping[str, Tree | None]) -> None:
        self._trees = trees
        self._known: dict[str, Size] = {}
        self._above: list[str] = []

    def of(self, name: str) -> Size:
        if name not in self._known:
            self._known[name] = self._reckoned(name)
        return self._known[name]

    def _reckoned(self, name: str) -> Size:
        if name in self._above:
            way = " names ".join((*self._above[self._above.index(name) :], name))
            raise Rejected("criteria", f"lead round in a circle: {way}")
        tree = self._trees.get(name)
        if tree is None:
            return LEAF._replace(depth=1)
        self._above.append(name)
        nodes, depth = size_of(tree, self.of)
        self._above.pop()
        return Size(nodes, depth + 1)
