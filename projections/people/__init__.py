"""People: distinct ids and their links, what was said of them, and the persons that follow.

One folder for one read model: tables.py; what `apply` does, in seen.py (ids are counted and
numbered), links.py (who is whom), said.py (traits), groups.py; and the questions, in profiles.py.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from domain.identity import Network
from domain.tracking import Message, Tracked, Unmerged
from domain.traits import Said
from projections import apps
from projections.people import groups, links, said
from projections.people.links import CHANGE, Step, find_changes, find_outcome, linked_ids
from projections.people.profiles import Profile, find_profile
from projections.people.said import Person
from projections.people.seen import (
    Counted,
    Id,
    Seen,
    count,
    find_many_numbers,
    find_numbers,
    seen_in,
)
from projections.people.tables import distinct_ids, metadata, name
from projections.projection import Recorded

__all__ = (
    "CHANGE",
    "Profile",
    "apply",
    "distinct_ids",
    "find_changes",
    "find_many_numbers",
    "find_numbers",
    "find_outcome",
    "find_profile",
    "metadata",
    "name",
    "version",
)

version = 2

_Mentioned = tuple[int, int, Any]  # app number, position, Message or Unmerged
_About = tuple[int, Recorded]  # app number, an event that is about people


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    mentioned, about = _sorted_out(page, apps.numbers(connection))
    if not mentioned:
        return
    seen = seen_in(mentioned)
    counted = count(connection, seen)
    numbers = _numbers(connection, about, counted)
    networks = _link(connection, about, seen=seen, counted=counted, numbers=numbers)
    messages = [
        (app, numbers[app, recorded.event.distinct_id], recorded)  # type: ignore[attr-defined]  # a Message has one
        for app, recorded in about
        if recorded.event.__class__ is not Unmerged
    ]
    said.store(connection, messages)
    groups.apply(connection, messages)
    _fold_in(connection, messages, networks)


def _sorted_out(
    page: Sequence[Recorded], app_numbers: dict[UUID, int]
) -> tuple[list[_Mentioned], list[_About]]:
    """Everything that mentions ids, and of it what is about people and not about what they did.
    Messages of an app that does not exist can't be sent.
    """
    by_integer = {app_id.int: number for app_id, number in app_numbers.items()}  # hashes faster
    mentioned: list[_Mentioned] = []
    about: list[_About] = []
    for recorded in page:
        event = recorded.event
        if recorded.app_id is None or not isinstance(event, Message | Unmerged):
            continue
        app = by_integer.get(recorded.app_id.int)
        if app is not None:
            mentioned.append((app, recorded.position, event))
            if event.__class__ is not Tracked:
                about.append((app, recorded))
    return mentioned, about


def _numbers(connection: Connection, about: Sequence[_About], counted: Counted) -> dict[Id, int]:
    """Of all ids in what is about people."""
    wanted = {key for app, recorded in about for key in _ids_in(app, recorded.event)}
    missing = [key for key in wanted if key not in counted.numbers]
    return counted.numbers | find_numbers(connection, missing)


def _ids_in(app: int, event: Any) -> Iterator[Id]:
    if event.__class__ is not Unmerged:
        yield app, event.distinct_id
    for pair in linked_ids(event):
        for distinct_id in pair:
            yield app, distinct_id


def _link(
    connection: Connection,
    about: Sequence[_About],
    *,
    seen: dict[Id, Seen],
    counted: Counted,
    numbers: dict[Id, int],
) -> dict[int, Network]:
    """App number -> its links, where any were spoken of or may hold no longer."""
    steps = list(_link_steps(about, numbers))
    linked = {(app, number) for app, step in steps for number in step.numbers}
    known_before = {}
    for key, found in counted.earlier.items():
        known_before[key[0], found.number] = found.known_before
        if found.newest_link is not None or (key[0], found.number) in linked:
            steps += _known_steps(key[0], found.number, seen[key], found.known_before)
    for key, number in counted.numbers.items():
        if (key[0], number) in linked:
            known_before[key[0], number] = None
            steps += _known_steps(key[0], number, seen[key], None)
    return {
        app: links.take(
            connection,
            app,
            of_app,
            {number: at for (of, number), at in known_before.items() if of == app},
        )
        for app, of_app in links.steps_by_app(steps).items()
    }


def _link_steps(about: Sequence[_About], numbers: dict[Id, int]) -> Iterator[tuple[int, Step]]:
    for app, recorded in about:
        pairs = linked_ids(recorded.event)
        if pairs:
            ids = tuple(numbers[app, distinct_id] for pair in pairs for distinct_id in pair)
            yield app, Step(recorded.position, 1, ids, recorded=recorded)


def _known_steps(app: int, number: int, seen: Seen, before: Any) -> Iterator[tuple[int, Step]]:
    for position, at in seen.known:
        if before is None or at < before:
            yield app, Step(position, 0, (number,), known=at)


def _fold_in(
    connection: Connection,
    messages: Sequence[tuple[int, int, Recorded]],
    networks: dict[int, Network],
) -> None:
    fresh: dict[Person, list[Said]] = {}
    spoken = [
        (app, number, one)
        for app, number, recorded in messages
        if (one := said.said_of(number, recorded)) is not None
    ]
    persons = links.persons_of(connection, {(app, number) for app, number, _ in spoken})
    for app, number, one in spoken:
        fresh.setdefault((app, persons[app, number]), []).append(one)
    moved = {(app, person) for app, network in networks.items() for person in network.shaken}
    if fresh or moved:
        said.fold_in(connection, fresh, moved)
