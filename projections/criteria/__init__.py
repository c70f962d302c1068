"""Who fulfils criteria (domain/conditions/tree.py), from ClickHouse."""

from collections.abc import Mapping

from domain.conditions.tree import Tree
from projections.criteria.asked import Asked, Tables
from projections.criteria.building import EVERYONE, Building
from projections.event_queries import Query
from projections.person_map import scalars

__all__ = ("Asked", "Tables", "members", "members_of_many")


def members(tree: Tree, asked: Asked) -> Query:
    """Rows: (person), the number of each that the criteria hold of, in any order. The criteria were
    checked.
    """
    building = Building(asked)
    held = building.bitmap(tree)
    sql = f"SELECT arrayJoin(bitmapToArray(bitmapAnd({EVERYONE}, {held}))) AS person"
    return _from(building, asked, sql)


def members_of_many(trees: Mapping[int, Tree], asked: Asked) -> Query:
    """Rows: (key, person), for each of the trees. Their clauses on single events come from one
    reading of the events, and one that several have is reckoned once.
    """
    building = Building(asked)
    held = ", ".join(
        f"(toUInt32({key:d}), bitmapToArray(bitmapAnd({EVERYONE}, {building.bitmap(tree)})))"
        for key, tree in trees.items()
    )
    found = _from(building, asked, f"SELECT arrayJoin([{held}]) AS one")
    return found._replace(sql=f"SELECT one.1 AS key, arrayJoin(one.2) AS person FROM ({found.sql})")


def _from(building: Building, asked: Asked, select: str) -> Query:
    # A state in a WITH would be reckoned anew for each mention; of a source it is there.
    rows = " CROSS JOIN ".join(f"({source}) AS s{n}" for n, source in enumerate(building.sources()))
    known = scalars(asked.app_number, asked.map_at)
    return Query(f"WITH {known} {select} FROM {rows}", dict(building.parameters))
