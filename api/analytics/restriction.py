"""The persons that a question is about, where it is not about all."""

import asyncio
from functools import partial

from domain.conditions.tree import Tree, needs
from domain.errors import Rejected
from domain.past import Past
from infrastructure.bootstrap import Adapters
from projections import segment_members, segments
from projections.criteria import Asked
from projections.people.profiles import COUNT_OF_IDS
from projections.people_asked import Among, Segment, among, resolved
from projections.person_map import listed
from projections.segment_lists import members_then


async def chosen_persons(adapters: Adapters, app_number: int, tree: Tree, past: Past) -> Among:
    """Who fulfils the criteria, which were checked, at `past.as_of` or now. Raises Rejected for a
    segment that is not there.
    """
    lists: dict[str, str] = {}
    if needs(tree).segments:
        find = partial(find_segment, adapters, app_number, past)
        tree, members = await asyncio.to_thread(resolved, tree, find)
        at = past.known_at
        lists = {name: listed(numbers, app_number, at) for name, numbers in members.items()}
    (row,) = await adapters.reads.all(COUNT_OF_IDS, {"app": app_number})
    now = past.as_of or adapters.clock()
    return among(tree, Asked(app_number, row.ids, now, past, members_of=lists))


def find_segment(adapters: Adapters, app_number: int, past: Past, segment: str) -> Segment:
    """The criteria of a live segment, or the members of a static one, as of the past. Called in a
    thread. Raises Rejected.
    """
    with adapters.engine.connect() as connection:
        found = segments.find_definitions(connection, app_number, past.known_at)
        definition = segment_members.find(segment, found)
        if definition is None:
            raise Rejected("segment", f"there is no segment {segment}")
        if definition.criteria is not None:
            return definition.criteria
        return members_then(connection, app_number, definition.segment_id, past)
