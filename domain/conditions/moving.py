"""What time alone changes in the answer of criteria, and criteria with those that they name."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import NamedTuple

from domain.conditions.dates import RELATIVE
from domain.conditions.properties import Where
from domain.conditions.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Did,
    FirstDid,
    InSequence,
    Member,
    Not,
    OfTrait,
    Sample,
    Stopped,
    Tree,
    Window,
    as_where,
)
from domain.durations import read_duration

NOBODY = Sample(percent=0)


class Edge(NamedTuple):
    """An event of this name (None: any) may matter otherwise once it is so old."""

    event: str | None
    age: timedelta


def edges(tree: Tree) -> Iterator[Edge]:
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            for part in parts:
                yield from edges(part)
        case Not(condition=part):
            yield from edges(part)
        case Did() | FirstDid() | Aggregate():
            yield from _of_window(tree.event, tree.within)
        case Stopped(last=last):
            yield Edge(tree.event, read_duration(last, "last"))
        case InSequence():
            yield from _of_window(tree.first.event, tree.window)
            if not tree.followed:
                yield Edge(tree.first.event, read_duration(tree.within, "within"))


def _of_window(event: str | None, window: Window | None) -> Iterator[Edge]:
    if window is not None and window.last is not None:
        yield Edge(event, read_duration(window.last, "last"))


def has_moving_dates(tree: Tree) -> bool:
    """Whether a property or trait is compared with dates that move with now."""
    asked: tuple[Where, ...]
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            return any(map(has_moving_dates, parts))
        case Not(condition=part):
            return has_moving_dates(part)
        case OfTrait():
            asked = (as_where(tree),)
        case InSequence():
            asked = (*tree.first.where, *tree.then.where)
        case Member() | Sample():
            return False
        case _:
            asked = tree.where
    return any(where.operator in (*RELATIVE, "not_in_last") for where in asked)


def expanded(tree: Tree, named: Callable[[str], Tree]) -> Tree:
    """`named`: what a segment's id stands for, which is a Member where it can't be told so."""
    match tree:
        case AllOf(conditions=parts):
            return AllOf(conditions=tuple(expanded(part, named) for part in parts))
        case AnyOf(conditions=parts):
            return AnyOf(conditions=tuple(expanded(part, named) for part in parts))
        case Not(condition=part):
            return Not(condition=expanded(part, named))
        case Member(segment=segment):
            return named(segment)
        case _:
            return tree
