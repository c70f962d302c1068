"""Who enters and leaves segments in a round, and that as events on the log."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import islice
from typing import NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from domain.errors import Overloaded
from domain.segments import MAX_PERSONS, Cause, SegmentEntered, SegmentLeft, membership_stream
from infrastructure import codec
from infrastructure.checkpoints import Checkpoint
from infrastructure.reactor.definitions import Live
from infrastructure.reactor.state import Evaluated
from projections import segments
from projections.candidates import EVENT, PERSON

_SAVE = text(
    "SELECT log.save_events(cast(:streams AS uuid[]), cast(:versions AS bigint[]),"
    " cast(:apps AS uuid[]), cast(:topics AS text[]), cast(:states AS bytea[]))"
)
_T = TypeVar("_T")


class Round(NamedTuple):
    app: int
    app_id: UUID
    reached: Checkpoint
    before: Evaluated
    now: datetime
    live: Mapping[UUID, Live]
    fingerprints: Mapping[UUID, str]
    ids: int

    @property
    def upto(self) -> int:
        return self.reached.position


class Change(NamedTuple):
    segment: UUID
    cause: Cause
    entered: bool
    persons: Sequence[int]


def append(connection: Connection, begun: Round, changes: Sequence[Change]) -> int | None:
    """Onto the log. The last position, None if there are none. Raises Overloaded."""
    if not changes:
        return None
    versions = segments.membership_versions(connection, begun.app)
    made = []
    for change in changes:
        for persons in batched(change.persons, MAX_PERSONS):
            versions[change.segment] = versions.get(change.segment, 0) + 1
            made.append(_made(begun, change, persons, versions[change.segment]))
    given = {
        "streams": [event.originator_id for event in made],
        "versions": [event.originator_version for event in made],
        "apps": [begun.app_id] * len(made),
        "topics": [event.TOPIC for event in made],
        "states": [codec.encode(event) for event in made],
    }
    try:
        return int(connection.execute(_SAVE, given).scalar_one()) + len(made)
    except IntegrityError as error:
        raise Overloaded("somebody else has changed the members of a segment") from error


def _made(
    begun: Round, change: Change, persons: tuple[int, ...], version: int
) -> SegmentEntered | SegmentLeft:
    kind = SegmentEntered if change.entered else SegmentLeft
    return kind(
        originator_id=membership_stream(change.segment),
        originator_version=version,
        occurred_at=begun.now,
        app_id=begun.app_id,
        segment_id=change.segment,
        segment_version=begun.live[change.segment].definition.version,
        at_position=begun.upto,
        at=begun.now,
        cause=change.cause,
        persons=persons,
    )


def batched(items: Iterable[_T], size: int) -> Iterator[tuple[_T, ...]]:
    left = iter(items)
    while part := tuple(islice(left, size)):
        yield part


def always(cause: Cause) -> Callable[[int], Cause]:
    return lambda _: cause


def by_person(causes: Mapping[int, int]) -> Callable[[int], Cause]:
    words: dict[int, Cause] = {PERSON: "person", EVENT: "event"}
    return lambda person: words.get(causes.get(person, 0), "time")


def split(
    segment: UUID, before: AbstractSet[int], after: AbstractSet[int], cause: Callable[[int], Cause]
) -> Iterator[Change]:
    """Those who left first; each with one cause."""
    for entered, persons in ((False, before - after), (True, after - before)):
        by_cause: dict[Cause, list[int]] = {}
        for person in sorted(persons):
            by_cause.setdefault(cause(person), []).append(person)
        for why, those in sorted(by_cause.items()):
            yield Change(segment, why, entered, those)
