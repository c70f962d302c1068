"""Groups and who was in them, at a position of the log and up to a time."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, select

from domain.errors import TooHeavy
from domain.limits import MAX_PAST_IDS
from domain.traits import fold
from projections.people import shown
from projections.people.group_lists import (
    Group,
    GroupsPage,
    GroupsWanted,
    MembersPage,
    MembersWanted,
)
from projections.people.past import Then, limited, listed
from projections.people.profiles import find_ids
from projections.people.said import read_said
from projections.people.shown import GroupShown
from projections.people.tables import said
from projections.people.whose import persons_then


def list_groups(then: Then, wanted: GroupsWanted) -> GroupsPage:
    """Raises TooHeavy."""
    query = select(said).where(said.c.kind == "group")
    if wanted.group_type is not None:
        query = query.where(said.c.group_type == wanted.group_type)
    told = _told(then, query)
    found = sorted(told)
    page = [group for group in found if wanted.after is None or group > wanted.after]
    some = {group: told[group] for group in page[: wanted.limit]}
    return GroupsPage(_shown(then, some), len(found))


def find_group(then: Then, group: Group) -> GroupShown | None:
    """Raises TooHeavy."""
    told = _told(then, _of(group))
    return _shown(then, told)[0] if told else None


def list_members(then: Then, wanted: MembersWanted) -> MembersPage:
    """Raises TooHeavy."""
    told = _told(then, _of(wanted.group)).get(wanted.group, [])
    since: dict[int, int] = {}
    person_of = persons_then(then.connection, then.app_number, then.known_at)
    for row in told:
        person = person_of.get(row.number, row.number)
        since[person] = min(since.get(person, row.position), row.position)
    page = [person for person in sorted(since) if person > wanted.after][: wanted.limit]
    of_person = listed(then, page, person_of)
    members = [shown.of_group(of_person[person], since[person]) for person in page]
    return MembersPage(members, page[-1] if page else 0, len(since))


def _of(group: Group) -> Select[Any]:
    return select(said).where(said.c.group_type == group[0], said.c.group_id == group[1])


def _told(then: Then, query: Select[Any]) -> dict[Group, list[Any]]:
    """What had been said of each group."""
    rows = then.connection.execute(limited(query, then).limit(MAX_PAST_IDS + 1)).all()
    if len(rows) > MAX_PAST_IDS:
        raise TooHeavy(f"more than {MAX_PAST_IDS} messages had been sent of these groups")
    found: dict[Group, list[Any]] = defaultdict(list)
    for row in rows:
        found[row.group_type, row.group_id].append(row)
    return found


def _shown(then: Then, told: Mapping[Group, list[Any]]) -> list[GroupShown]:
    person_of = persons_then(then.connection, then.app_number, then.known_at)
    folded = {group: fold(map(read_said, rows)) for group, rows in told.items()}
    numbers = {n for traits in folded.values() for n in shown.numbers_in(traits)}
    senders = find_ids(then.connection, then.app_number, numbers)
    return [
        GroupShown(
            group_type=group[0],
            group_id=group[1],
            traits=shown.values(folded[group]),
            trait_sources=shown.sources(folded[group], senders),
            members=len({person_of.get(row.number, row.number) for row in rows}),
            first_seen=min(row.timestamp for row in rows),
            last_seen=max(row.timestamp for row in rows),
        )
        for group, rows in told.items()
    ]
