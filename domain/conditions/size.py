"""How large criteria are once the segments that they name stand in their places."""

from collections.abc import Callable
from typing import NamedTuple

from domain.conditions.tree import AllOf, AnyOf, Member, Not, Tree
from domain.errors import Rejected
from domain.limits import MAX_EXPANDED_NODES, MAX_SEGMENT_DEPTH


class Size(NamedTuple):
    """`nodes` of the whole tree; `depth`: how many segments stand in each other, at most."""

    nodes: int
    depth: int


LEAF = Size(1, 0)


def size_of(tree: Tree, named: Callable[[str], Size]) -> Size:
    """`named`: of the segment with this id; LEAF for a static list and for what is not there."""
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            sizes = [size_of(part, named) for part in parts]
            return Size(1 + sum(one.nodes for one in sizes), max(one.depth for one in sizes))
        case Not(condition=part):
            inner = size_of(part, named)
            return Size(1 + inner.nodes, inner.depth)
        case Member(segment=segment):
            return named(segment)
        case _:
            return LEAF


def check_size(size: Size, what: str = "") -> None:
    """`what` is too large. Raises Rejected."""
    told = f"{what} " if what else ""
    if size.depth > MAX_SEGMENT_DEPTH:
        issue = f"name segments that name segments, more than {MAX_SEGMENT_DEPTH} deep"
        raise Rejected("criteria", f"{told}{issue}")
    if size.nodes > MAX_EXPANDED_NODES:
        issue = (
            f"have {size.nodes:,} parts with those of the segments that they name;"
            f" {MAX_EXPANDED_NODES} is the most"
        )
        raise Rejected("criteria", f"{told}{issue}")
