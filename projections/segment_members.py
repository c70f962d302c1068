"""Who fulfils criteria that name segments, evaluated from scratch as of any past."""

from collections.abc import Callable, Mapping
from uuid import UUID

from domain.conditions.tree import Needs, Tree, needs
from projections import criteria, person_map
from projections.criteria import Asked
from projections.event_queries import Query
from projections.segments import Definition

ListedThen = Callable[[UUID], list[int]]  # who was in a static list
NONE = "SELECT toUInt64(0) AS person WHERE 0"


def members(
    tree: Tree, asked: Asked, definitions: Mapping[UUID, Definition], listed: ListedThen
) -> Query:
    """Rows: (person). `definitions`: as they were then; of a segment that was not there, nobody
    was a member.
    """
    parameters: dict[str, object] = {}
    within: dict[str, str] = {}
    for name in sorted(needs(tree).segments):
        inner = _of_segment(name, asked, definitions, listed)
        within[name], renamed = _renamed(inner, f"n{len(within)}_")
        parameters |= renamed
    query = criteria.members(tree, asked._replace(members_of=within))
    return Query(query.sql, {**parameters, **query.parameters})


def needs_of_all(tree: Tree, definitions: Mapping[UUID, Definition]) -> Needs:
    """Of the criteria and of those of all segments that they name."""
    found = needs(tree)
    for name in sorted(found.segments):
        inner = criteria_of(name, definitions)
        if inner is not None:
            found = found.and_of(needs_of_all(inner, definitions))
    return found


def criteria_of(name: str, definitions: Mapping[UUID, Definition]) -> Tree | None:
    """None of a list, and of what is not there."""
    definition = find(name, definitions)
    return None if definition is None else definition.criteria


def find(name: str, definitions: Mapping[UUID, Definition]) -> Definition | None:
    return next((one for key, one in definitions.items() if str(key) == name), None)


def _of_segment(
    name: str, asked: Asked, definitions: Mapping[UUID, Definition], listed: ListedThen
) -> Query:
    definition = find(name, definitions)
    if definition is None:
        return Query(NONE, {})
    if definition.criteria is not None:
        return members(definition.criteria, asked, definitions, listed)
    numbers = listed(definition.segment_id)
    return Query(person_map.listed(numbers, asked.app_number, asked.map_at), {})


def listed_query(numbers: list[int], app_number: int, known_at: int | None) -> Query:
    """Rows: (person), each whose number is listed once."""
    persons = person_map.listed(numbers, app_number, known_at)
    scalars = person_map.scalars(app_number, known_at)
    return Query(f"WITH {scalars} SELECT DISTINCT person FROM ({persons})", {})


def _renamed(query: Query, prefix: str) -> tuple[str, dict[str, object]]:
    """Parameters of one query keep out of the way of those of another."""
    sql = query.sql
    for name in query.parameters:
        sql = sql.replace(f"{{{name}:", f"{{{prefix}{name}:")
    return sql, {f"{prefix}{name}": value for name, value in query.parameters.items()}
