"""Segments: load, decide, append. Whoever calls holds what keeps others of the app from it."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import NamedTuple, cast
from uuid import UUID, uuid4

from commands.ports import Clock, Streams
from domain import segments
from domain.conditions.tree import Tree
from domain.errors import Conflict, NotFound, Rejected


class Done(NamedTuple):
    segment: segments.Segment
    position: int
    at: datetime


class Wanted(NamedTuple):
    app_id: UUID
    name: str
    description: str
    criteria: Tree | None


def create(streams: Streams, clock: Clock, wanted: Wanted, others: segments.Definitions) -> Done:
    event = segments.create_segment(
        segment_id=uuid4(), now=clock(), others=others, **wanted._asdict()
    )
    return Done(segments.evolve(None, event), streams.append([event]), event.occurred_at)


def update(
    streams: Streams,
    clock: Clock,
    segment: segments.Segment,
    changed: segments.Changed,
    others: segments.Definitions,
) -> Done:
    event = segments.update_segment(segment, changed, others=others, now=clock())
    return Done(segments.evolve(segment, event), streams.append([event]), event.occurred_at)


def delete(
    streams: Streams, clock: Clock, segment: segments.Segment, others: segments.Definitions
) -> int:
    return streams.append([segments.delete_segment(segment, others=others, now=clock())])


def find(
    streams: Streams, app_id: UUID, segment_id: UUID, version: int | None = None
) -> segments.Segment:
    """Raises NotFound, also for another app's; Conflict when it has another version by now."""
    history = cast(
        "list[segments.SegmentCreated | segments.SegmentUpdated | segments.SegmentDeleted]",
        streams.load(segment_id),
    )
    found = None
    if history and isinstance(history[0], segments.SegmentCreated):
        found = reduce(segments.evolve, history, cast("segments.Segment | None", None))
    if found is None or found.app_id != app_id or found.is_deleted:
        raise NotFound("no such segment")
    if version is not None and version != found.version:
        raise Conflict("the segment was changed meanwhile; read it anew", version=found.version)
    return found


class ListChange(NamedTuple):
    """Numbers of persons, ascending. `version`: the last of the membership's stream; it is so as
    of `position`.
    """

    add: Sequence[int]
    remove: Sequence[int]
    version: int
    position: int


def change_list(
    streams: Streams, clock: Clock, segment: segments.Segment, change: ListChange
) -> int:
    """The position; `change.position` where nothing changes. Raises Conflict when somebody else
    has changed the list meanwhile.
    """
    if segment.kind != "static":
        raise Rejected("add", "the segment is live: its criteria say who is in it")
    made = _moves(segment, change, clock())
    return streams.append(made) if made else change.position


def _moves(
    segment: segments.Segment, change: ListChange, now: datetime
) -> list[segments.SegmentEntered | segments.SegmentLeft]:
    made: list[segments.SegmentEntered | segments.SegmentLeft] = []
    kinds = ((segments.SegmentEntered, change.add), (segments.SegmentLeft, change.remove))
    for kind, persons in kinds:
        for first in range(0, len(persons), segments.MAX_PERSONS):
            event = kind(
                originator_id=segments.membership_stream(segment.id),
                originator_version=change.version + len(made) + 1,
                occurred_at=now,
                app_id=segment.app_id,
                segment_id=segment.id,
                segment_version=segment.version,
                at_position=change.position,
                at=now,
                cause="list",
                persons=tuple(persons[first : first + segments.MAX_PERSONS]),
            )
            made.append(event)
    return made
