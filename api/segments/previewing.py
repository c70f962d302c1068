"""In which segments the persons of a preview are and would be: judged in memory."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import NamedTuple
from uuid import UUID

import msgspec

from api.reading import at_one_moment
from domain.conditions.judging import Event, Person, evaluate
from domain.conditions.tree import Needs, Tree, needs
from domain.limits import MAX_EXPLAINED_EVENTS, MAX_PREVIEWED_EVENTS
from domain.past import NOW
from infrastructure.bootstrap import Adapters
from projections import segments
from projections.explained import events_of, read_event
from projections.people.what_if import Persons, Tried
from projections.segments import Definition


class SegmentTouched(msgspec.Struct, frozen=True, kw_only=True):
    """Who of the persons before is in it, and who of those after would be, by their `user_id`."""

    segment_id: UUID
    name: str
    kind: str
    before: list[str]
    after: list[str]


class _TooMany(Exception):
    """More events than are looked at."""


class _Known(NamedTuple):
    """All that judging needs. `listed`: numbers in static lists; `events`: by sender and name."""

    definitions: Mapping[str, Definition]
    listed: Mapping[UUID, Collection[int]]
    events: Mapping[int, Mapping[str, Sequence[Event]]]
    now: datetime


def segments_touched(
    adapters: Adapters, app_number: int, tried: Tried
) -> list[SegmentTouched] | None:
    """Those in which anybody is or would be, by name. None: the persons have too many events."""
    try:
        known = _known(adapters, app_number, tried)
        before, after = _members(known, tried.before), _members(known, tried.after)
    except _TooMany:
        return None
    found = [
        SegmentTouched(
            segment_id=one.segment_id,
            name=one.name,
            kind=one.kind,
            before=before[name],
            after=after[name],
        )
        for name, one in known.definitions.items()
        if before[name] or after[name]
    ]
    return sorted(found, key=lambda one: (one.name, one.segment_id))


def _known(adapters: Adapters, app_number: int, tried: Tried) -> _Known:
    numbers = sorted({n for of in (tried.before, tried.after) for ids in of.numbers for n in ids})
    with at_one_moment(adapters) as connection:
        definitions = segments.find_definitions(connection, app_number)
        listed = segments.memberships(connection, app_number, numbers)
    trees = [one.criteria for one in definitions.values() if one.criteria is not None]
    events: dict[int, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    needed = reduce(Needs.and_of, map(needs, trees), Needs())
    if numbers and (needed.any_event or needed.events):
        query = events_of(app_number, numbers, needed, NOW)
        rows = adapters.analytics.query(query.sql, query.parameters).rows
        if len(rows) > MAX_EXPLAINED_EVENTS:
            raise _TooMany
        for row in rows:
            events[row[-1]][row[1]].append(read_event(row))
    named = {str(one): definition for one, definition in definitions.items()}
    return _Known(named, listed, events, adapters.clock())


def _members(known: _Known, persons: Persons) -> dict[str, list[str]]:
    """Segment -> who of the persons is in it."""
    found: dict[str, list[str]] = {name: [] for name in known.definitions}
    looked_at = 0
    for person, numbers in zip(persons.shown, persons.numbers, strict=True):
        judged = _Judged(known, numbers, person.traits)
        for name, ids in found.items():
            if judged.is_member(name):
                ids.append(person.user_id)
            if looked_at + judged.looked_at > MAX_PREVIEWED_EVENTS:
                raise _TooMany
        looked_at += judged.looked_at
    return found


class _Judged:
    """One person, as it is or as it would be; each segment is judged once."""

    def __init__(
        self, known: _Known, numbers: Collection[int], traits: Mapping[str, object]
    ) -> None:
        self._known = known
        self._numbers = numbers
        self._traits = msgspec.json.decode(msgspec.json.encode(traits))
        self._answers: dict[str, bool] = {}
        self.looked_at = 0

    def is_member(self, segment: str) -> bool:
        if segment not in self._answers:
            self._answers[segment] = self._judge(segment)
        return self._answers[segment]

    def _judge(self, segment: str) -> bool:
        definition = self._known.definitions.get(segment)
        if definition is None:
            return False
        if definition.criteria is None:
            listed = self._known.listed.get(definition.segment_id, ())
            return not set(self._numbers).isdisjoint(listed)
        person = Person(min(self._numbers), self._traits, self._events(definition.criteria))
        return evaluate(definition.criteria, person, self._known.now, self.is_member)

    def _events(self, tree: Tree) -> list[Event]:
        needed = needs(tree)
        found: list[Event] = []
        for number in self._numbers:
            by_name = self._known.events.get(number, {})
            for name in by_name if needed.any_event else needed.events:
                found += by_name.get(name, ())
        self.looked_at += len(found)
        return found
