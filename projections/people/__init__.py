"""People: distinct ids and their links, what was said of them, and the persons that follow.

One folder for one read model: tables.py; what `apply` does, in seen.py (ids are counted and
numbered), links.py (who is whom), said.py (traits), groups.py; and the questions, in profiles.py.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from domain.identity import Network
from domain.tracking import Aliased, Grouped, Identified, Tracked, Unmerged
from domain.traits import Said, Traits
from projections import apps
from projections.people import groups, links, said
from projections.people.links import (
    CHANGE,
    Known,
    Linking,
    Step,
    find_changes,
    find_outcome,
    linked_ids,
    step_of,
)
from projections.people.profiles import find_profile
from projections.people.said import Person
from projections.people.seen import (
    Counted,
    Id,
    Seen,
    count,
    count_ids,
    find_many_numbers,
    find_numbers,
    seen_in,
    store,
)
from projections.people.shown import Profile
from projections.people.tables import distinct_ids, metadata, name
from projections.people.trait_rows import TraitRow, TraitRows, persons_spoken_of, trait_rows_of
from projections.projection import Recorded

__all__ = (
    "CHANGE",
    "Profile",
    "TraitRow",
    "TraitRows",
    "apply",
    "count_ids",
    "distinct_ids",
    "find_changes",
    "find_many_numbers",
    "find_numbers",
    "find_outcome",
    "find_profile",
    "linked_ids",
    "metadata",
    "name",
    "persons_spoken_of",
    "trait_rows_of",
    "version",
)

version = 5

_Mentioned = tuple[int, Recorded]  # app number, a Message or Unmerged
_About = tuple[int, Recorded]  # app number, an event that is about people
_MENTIONING = frozenset((Tracked, Identified, Aliased, Grouped, Unmerged))


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    mentioned, about = _sorted_out(page, apps.numbers(connection))
    if not mentioned:
        return
    seen = seen_in(mentioned)
    asked = {key for app, recorded in about for key in _ids_in(app, recorded.event)}
    counted = count(connection, seen, asked)
    messages = [
        (app, counted.number((app, recorded.event.distinct_id)), recorded)  # type: ignore[attr-defined]  # a Message has one
        for app, recorded in about
        if recorded.event.__class__ is not Unmerged
    ]
    # First what has to be asked: whatever is asked waits for all that is written before.
    persons = {(key[0], counted.found[key].person) for key in asked if key in counted.found}
    folded = said.find_folded(connection, persons)
    linking = _begin_links(connection, about, seen, counted)
    said.store(connection, messages)
    networks = {app: links.take(connection, of_app) for app, of_app in linking.items()}
    store(connection, seen, counted.numbers, partial(_belongs, networks))
    groups.apply(connection, messages)
    _fold_in(connection, messages, networks, counted, folded)


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
        if recorded.app_id is None or type(event) not in _MENTIONING:
            continue
        app = by_integer.get(recorded.app_id.int)
        if app is not None:
            mentioned.append((app, recorded))
            if event.__class__ is not Tracked:
                about.append((app, recorded))
    return mentioned, about


def _ids_in(app: int, event: Any) -> Iterator[Id]:
    if event.__class__ is not Unmerged:
        yield app, event.distinct_id
    for pair in linked_ids(event):
        for distinct_id in pair:
            yield app, distinct_id


def _begin_links(
    connection: Connection, about: Sequence[_About], seen: dict[Id, Seen], counted: Counted
) -> dict[int, Linking]:
    """App number -> its links, where any were spoken of or may hold no longer."""
    steps: dict[int, list[Step]] = defaultdict(list)
    for app, recorded in about:
        step = step_of(recorded, partial(counted.number_of, app))
        if step is not None:
            steps[app].append(step)
    linked = {(app, n) for app, of_app in steps.items() for step in of_app for n in step.numbers}
    for key, found in counted.found.items():
        app, number = key[0], found.number
        if found.earlier and (found.newest_link is not None or (app, number) in linked):
            steps[app] += _known_steps(number, seen[key], found.known_before)
    for key, number in counted.numbers.items():
        if (key[0], number) in linked:
            steps[key[0]] += _known_steps(number, seen[key], None)
    known = {app: Known({}, set(), {}) for app in steps}
    _tell(known, counted, linked)
    return {app: links.begin(connection, app, of_app, known[app]) for app, of_app in steps.items()}


def _tell(known: dict[int, Known], counted: Counted, linked: AbstractSet[Person]) -> None:
    """Of each app, what was counted."""
    for (app, _), number in counted.numbers.items():
        if (app, number) in linked:
            known[app].fresh.add(number)
    for (app, _), found in counted.found.items():
        if app in known:
            known[app].persons[found.number] = found.person
            if found.earlier:
                known[app].before[found.number] = found.known_before


def _known_steps(number: int, seen: Seen, before: Any) -> Iterator[Step]:
    for position, at in seen.known:
        if before is None or at < before:
            yield Step(position, 0, (number,), known=at)


def _belongs(networks: dict[int, Network], app: int, number: int) -> tuple[int, Any]:
    """The person of a new id, and when a link of it was last spoken of."""
    network = networks.get(app)
    person = None if network is None else network.loaded(number)
    if network is None or person is None:
        return number, None
    return person, network.newest_link(number)


def _fold_in(
    connection: Connection,
    messages: Sequence[tuple[int, int, Recorded]],
    networks: dict[int, Network],
    counted: Counted,
    folded: Mapping[Person, Traits | None],
) -> None:
    fresh: dict[Person, list[Said]] = defaultdict(list)
    persons = {(app, found.number): found.person for (app, _), found in counted.found.items()}
    for app, number, recorded in messages:
        one = said.said_of(number, recorded)
        if one is not None:
            network = networks.get(app)
            person = None if network is None else network.loaded(number)
            if person is None:
                person = persons.get((app, number), number)
            fresh[app, person].append(one)
    new = {(app, number) for (app, _), number in counted.numbers.items()}
    said.fold_in(connection, fresh, _shaken(networks), new=new, asked=folded)


def _shaken(networks: dict[int, Network]) -> said.Shaken:
    sources: dict[Person, set[Person] | None] = {}
    gone: set[Person] = set()
    for app, network in networks.items():
        found = network.sources()
        gone.update((app, person) for person in network.shaken - found.keys())
        for person, of in found.items():
            sources[app, person] = None if of is None else {(app, one) for one in of}
    return said.Shaken(sources, gone)
