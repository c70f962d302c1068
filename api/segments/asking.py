"""What the routes of segments share: criteria in both forms, and where to look."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection, func, select

from api.reading import EVENTS, Asked
from api.shapes import refusal
from api.time_machine import reached
from domain.conditions.text import parse, written
from domain.conditions.tree import Tree, check_criteria
from domain.errors import NotFound
from domain.past import NOW, Past
from infrastructure.bootstrap import Adapters
from projections import criteria, people, segment_lists, segments
from projections.apps import Caller
from projections.event_queries import Query
from projections.people import past as people_then
from projections.people.lists import describe
from projections.people.tables import distinct_ids
from projections.people.whose import persons_then
from projections.segment_members import members
from projections.segments import Definition

_decode = msgspec.json.Decoder(Tree).decode


def read_criteria(given: Any) -> Tree:
    """Text or a tree. Raises Rejected, naming the place."""
    if isinstance(given, str):
        return parse(given)
    try:
        tree: Tree = msgspec.convert(given, Tree)
    except msgspec.ValidationError as error:
        raise refusal(error, Tree, "criteria", given) from None
    check_criteria(tree)
    return tree


def stored(text: str | None) -> Tree | None:
    return None if text is None else _decode(text)


def text_of(tree: Tree | None) -> str | None:
    return None if tree is None else written(tree)


class Looked(NamedTuple):
    """A question about segments that can be answered; `now` is the instant it is asked at."""

    asked: Asked
    now: datetime
    definitions: Mapping[UUID, Definition]


async def asked_of_segments(
    adapters: Adapters, reader: Caller, min_position: int | None, past: Past
) -> Asked:
    """Waits until it can be answered. Raises NotCaughtUp."""
    models = (segments.name,) if past == NOW else (segments.name, people.name, EVENTS)
    standing = await reached(adapters, models, min_position, past)
    if past != NOW:
        past = past.at(standing.position)
    return Asked(adapters, reader.app_number or 0, past, standing.at(past.known_at))


def then_of(asked: Asked) -> datetime:
    """`as_of`, else the time at which the position was recorded, else now."""
    if asked.past.as_of is not None:
        return asked.past.as_of
    known_at = asked.past.known_at
    if known_at is None or known_at >= asked.adapters.positions.head():
        return asked.adapters.clock()
    return asked.adapters.positions.recorded_at(known_at)


def look(asked: Asked, connection: Connection) -> Looked:
    found = segments.find_definitions(connection, asked.app_number, asked.past.known_at)
    return Looked(asked, then_of(asked), found)


def query_of(looked: Looked, tree: Tree, connection: Connection) -> Query:
    """Rows: (person)."""
    asked = looked.asked
    past, app_number = asked.past, asked.app_number
    d = distinct_ids.c
    ids = select(func.max(d.number)).where(d.app_number == app_number)
    if past.known_at is not None:
        ids = ids.where(d.position <= past.known_at)
    given = criteria.Asked(app_number, connection.execute(ids).scalar() or 0, looked.now, past)
    return members(
        tree,
        given,
        looked.definitions,
        lambda one: segment_lists.members_then(connection, app_number, one, past),
    )


def definition_of(looked: Looked, segment_id: UUID) -> Definition:
    """Raises NotFound."""
    found = looked.definitions.get(segment_id)
    if found is None:
        raise NotFound("no such segment at the moment asked about")
    return found


def user_ids(asked: Asked, connection: Connection, persons: Sequence[int]) -> dict[int, str]:
    """Number -> the person's user id, then or now; a number that is another person's now has that
    one's.
    """
    app_number, known_at = asked.app_number, asked.past.known_at
    if known_at is not None:
        then = people_then.Then(connection, asked.ask, app_number, asked.past)
        whose = persons_then(connection, app_number, known_at)
        return {n: one.user_id for n, one in people_then.listed(then, persons, whose).items()}
    d = distinct_ids.c
    wanted = select(d.number, d.person).where(d.app_number == app_number, d.number.in_(persons))
    whose = {row.number: row.person for row in connection.execute(wanted)}
    told = describe(connection, app_number, sorted(set(whose.values())))
    return {number: told[person].user_id for number, person in whose.items() if person in told}


def checked_segment(found: segment_lists.Shown | None) -> segment_lists.Shown:
    if found is None:
        raise NotFound("no such segment")
    return found
