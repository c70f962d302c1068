"""Questions about chosen persons only: those that criteria hold of (projections/criteria.py), and
of these, for an estimate, a share.

Those of criteria are one bitmap, reckoned once for a query, whatever the question reads: of rows
those of these persons count, and bitmaps of persons, as rollups give them, are intersected with it.
The share is told by each row's person. Rollups are read whole, which is faster than any share.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from domain.conditions.size import LEAF, check_size, size_of
from domain.conditions.tree import AllOf, AnyOf, Member, Not, Tree
from projections.criteria import Asked, members
from projections.person_map import person, persons, scalars

Segment: TypeAlias = Tree | Sequence[int]  # the criteria of a live one, the persons of a static one


_STEPS = 10_000


class Among(NamedTuple):
    """`bitmap`: SQL of one value, with its parameters; None: all persons. `percent`: of these, as
    domain/estimates.py has it; None: all of these.
    """

    bitmap: str | None
    parameters: Mapping[str, object]
    percent: float | None = None

    @property
    def whole(self) -> "Among | None":
        """Those of which it is a share."""
        return None if self.bitmap is None else self._replace(percent=None)


def among(tree: Tree, asked: Asked) -> Among:
    """The criteria were checked."""
    found = members(tree, asked._replace(prefix="c"))
    return Among(
        f"(SELECT groupBitmapState(toUInt64(person)) FROM ({found.sql}))", found.parameters
    )


def known(app_number: int, known_at: int | None, chosen: Among | None) -> str:
    """What follows WITH, for all below and for what needs person_map.scalars."""
    found = scalars(app_number, known_at)
    if chosen is None or chosen.bitmap is None:
        return found
    return f"{found}, {chosen.bitmap} AS asked"


def theirs(app_number: int, known_at: int | None, chosen: Among | None) -> list[str]:
    """Conditions of the rows of events that count."""
    if chosen is None:
        return []
    conditions = []
    if chosen.percent is not None:
        # The mark of the number and not the number, in whose order people came.
        mark = f"intHash64({person(app_number, known_at)}) % {_STEPS}"
        conditions.append(f"{mark} < {round(chosen.percent * _STEPS / 100):d}")
    if chosen.bitmap is not None:
        conditions.append(f"bitmapContains(asked, {person(app_number, known_at)})")
    return conditions


def those(numbers: str, app_number: int, known_at: int | None, chosen: Among | None) -> str:
    """Of a bitmap of numbers, that of the persons that count."""
    found = persons(numbers, app_number, known_at)
    return found if chosen is None else f"bitmapAnd({found}, asked)"


def bound(parameters: Mapping[str, object], chosen: Among | None) -> dict[str, object]:
    return {**parameters, **(chosen.parameters if chosen else {})}


def resolved(tree: Tree, find: Callable[[str], Segment]) -> tuple[Tree, dict[str, Sequence[int]]]:
    """The tree with the criteria of live segments in their place, and the members of static ones.
    `find` raises for a segment that is not there; none is a member of itself. Raises Rejected where
    the tree grows too large.
    """
    lists: dict[str, Sequence[int]] = {}

    def put(node: Tree) -> Tree:
        match node:
            case AllOf(conditions=parts) | AnyOf(conditions=parts):
                return msgspec.structs.replace(node, conditions=tuple(map(put, parts)))
            case Not(condition=part):
                return Not(condition=put(part))
            case Member(segment=segment) if segment not in lists:
                found = find(segment)
                if isinstance(found, Sequence):
                    lists[segment] = found
                    return node
                return put(found)
            case _:
                return node

    whole = put(tree)
    check_size(size_of(whole, lambda _: LEAF))
    return whole, lists
