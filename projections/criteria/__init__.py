"""Who fulfils criteria (domain/conditions/tree.py), from ClickHouse."""

from collections.abc import Mapping

from domain.conditions.tree import AllOf, Tree
from projections.conditions import Parameters
from projections.criteria.asked import Asked, Tables
from projections.criteria.building import FEW, Building
from projections.criteria.held import Held, both, has_traits
from projections.event_queries import Query
from projections.person_map import scalars

__all__ = ("Asked", "Tables", "members", "members_of_many")


def members(tree: Tree, asked: Asked) -> Query:
    """Rows: (person), the number of each that the criteria hold of, in any order. The criteria were
    checked.
    """
    parameters = Parameters(asked.prefix, now=asked.now)
    few, rest = _narrowed(tree, asked, parameters)
    building = Building(asked, parameters, are_few=bool(few))
    held = building.held(rest)
    if few:
        held = both(Held(FEW, is_sure=True), held)
    bitmap = held.bitmap if held.is_sure else building.among_all(held)
    known = scalars(asked.app_number, asked.map_at)
    found = f"SELECT arrayJoin(bitmapToArray({bitmap})) AS person FROM {_rows(building)}"
    return Query(f"WITH {known}{few} {found}", dict(parameters))


def _narrowed(tree: Tree, asked: Asked, parameters: Parameters) -> tuple[str, Tree]:
    """Traits are text to be read, and are asked last where all else must hold too: of those of whom
    it does, the scalar FEW. What is left of the criteria then.
    """
    if not isinstance(tree, AllOf) or asked.among is not None:
        return "", tree
    traits = tuple(part for part in tree.conditions if has_traits(part))
    others = tuple(part for part in tree.conditions if not has_traits(part))
    if not traits or not others:
        return "", tree
    building = Building(asked, parameters)
    held = building.held(AllOf(conditions=others))
    if not held.is_sure:
        return "", tree
    return f", (SELECT {held.bitmap} FROM {_rows(building)}) AS {FEW}", AllOf(conditions=traits)


def members_of_many(trees: Mapping[int, Tree], asked: Asked) -> Query:
    """Rows: (key, person), for each of the trees. Their clauses on single events come from one
    reading of the events, and one that several have is reckoned once.
    """
    building = Building(asked, Parameters(asked.prefix, now=asked.now))
    held = ", ".join(
        f"(toUInt32({key:d}), bitmapToArray({building.among_all(building.held(tree))}))"
        for key, tree in trees.items()
    )
    known = scalars(asked.app_number, asked.map_at)
    rows = f"SELECT arrayJoin([{held}]) AS one FROM {_rows(building)}"
    sql = f"SELECT one.1 AS key, arrayJoin(one.2) AS person FROM (WITH {known} {rows})"
    return Query(sql, dict(building.parameters))


def _rows(building: Building) -> str:
    # A state in a WITH would be reckoned anew for each mention; of a source it is there.
    return " CROSS JOIN ".join(f"({source}) AS s{n}" for n, source in enumerate(building.sources()))
