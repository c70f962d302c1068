"""Why somebody is in a segment or not: each clause, and the events and traits that decide it."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from api.parameters import given
from api.reading import EVENTS, Asked, find_named, names_meant
from api.segments.asking import Looked, definition_of, look
from api.time_machine import AsOf, KnownAt, reached, read_past
from api.users import find_profile
from api.waiting import MinPosition
from domain.conditions.judging import Judgement, Person, evaluate, explain
from domain.conditions.text import written
from domain.errors import TooHeavy
from domain.limits import MAX_EXPLAINED_EVENTS, MAX_ID_CHARS
from domain.past import NOW
from infrastructure.bootstrap import Adapters
from projections import people, segment_lists, segments
from projections.apps import Caller
from projections.explained import events_of, read_event
from projections.people.whose import Whose, find_whose
from projections.segment_members import criteria_of, find, needs_of_all

# May be left out for the framework, which would tell so before who may not ask.
User = Annotated[
    str | None,
    QueryParameter(max_length=2 * MAX_ID_CHARS, description="required: any id of theirs"),
]


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Judged anew from the events as of `at`. `clauses` null: a static list, which has none."""

    user_id: str
    is_member: bool
    at: datetime
    version: int
    clauses: Judgement | None
    position: int
    lag_ms: float
    success: bool = True


@get(["/v1/segments/{segment_id:uuid}/explain", "/v1/audiences/{segment_id:uuid}/explain"])
async def explain_member(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    user: User = None,
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Explained:
    names = names_meant(given(user, "user"), "user")
    when = await read_past(adapters, known_at, as_of)
    models = (EVENTS, people.name, segments.name)
    standing = await reached(adapters, models, min_position, when)
    past = when if when == NOW else when.at(standing.position)
    asked = Asked(adapters, reader.app_number or 0, past, standing.at(past.known_at))
    return await asyncio.to_thread(_explained, asked, segment_id, names)


def _explained(asked: Asked, segment_id: UUID, names: Sequence[str]) -> Explained:
    with asked.connected() as connection:
        looked = look(asked, connection)
        definition = definition_of(looked, segment_id)
        app, known_at = asked.app_number, asked.past.known_at
        whose = find_named(names, lambda name: find_whose(connection, app, name, known_at))
    profile = find_named(names, lambda name: find_profile(asked, name))
    is_member = _membership(looked, whose, profile.traits, str(segment_id))
    clauses = None
    if definition.criteria is not None:
        person = _person(looked, whose, profile.traits, str(segment_id))
        clauses = explain(
            definition.criteria,
            person,
            looked.now,
            is_member,
            text=written,
            criteria_of=lambda name: criteria_of(name, looked.definitions),
        )
    return Explained(
        user_id=profile.user_id,
        is_member=clauses.holds if clauses else is_member(str(segment_id)),
        at=looked.now,
        version=definition.version,
        clauses=clauses,
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def _membership(
    looked: Looked, whose: Whose, traits: dict[str, object], outermost: str
) -> Callable[[str], bool]:
    def is_member(name: str) -> bool:
        definition = find(name, looked.definitions)
        if definition is None:
            return False
        if definition.criteria is not None:
            return evaluate(definition.criteria, person(), looked.now, is_member)
        with looked.asked.connected() as connection:
            listed = segment_lists.members_then(
                connection, looked.asked.app_number, definition.segment_id, looked.asked.past
            )
        return not set(whose.numbers).isdisjoint(listed)

    def person() -> Person:
        return _person(looked, whose, traits, outermost)

    return is_member


def _person(looked: Looked, whose: Whose, traits: dict[str, object], outermost: str) -> Person:
    """With the events that the segment asked about, and those it names, may look at."""
    asked = looked.asked
    definition = find(outermost, looked.definitions)
    events: list[Sequence[object]] = []
    if definition is not None and definition.criteria is not None:
        needed = needs_of_all(definition.criteria, looked.definitions)
        if needed.any_event or needed.events:
            query = events_of(asked.app_number, whose.numbers, needed, asked.past)
            events = [*asked.ask(query)]
    if len(events) > MAX_EXPLAINED_EVENTS:
        issue = f"the person has more than {MAX_EXPLAINED_EVENTS} events to look at"
        raise TooHeavy(f"{issue}; ask with as_of, or narrow the criteria")
    plain = msgspec.json.decode(msgspec.json.encode(traits))
    return Person(whose.person, plain, [read_event(row) for row in events])


READS = (explain_member,)
