"""Sets of persons as bitmaps, and which parts of criteria one reading can tell together."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from domain.conditions.tree import (
    Aggregate,
    AllOf,
    AnyOf,
    Did,
    FirstDid,
    Not,
    OfTrait,
    Stopped,
    Tree,
)

OnEvents: TypeAlias = Did | FirstDid | Stopped | Aggregate
Source: TypeAlias = Literal["events", "traits"]


class Held(NamedTuple):
    """The persons of a bitmap or, where `is_rest`, all but these. `is_sure`: there is none in it
    who is not asked about, such as a number that belongs to another person.
    """

    bitmap: str
    is_rest: bool = False
    is_sure: bool = False

    @property
    def opposite(self) -> "Held":
        return Held(self.bitmap, is_rest=not self.is_rest)


def both(one: Held, other: Held) -> Held:
    if one.is_rest and other.is_rest:
        return Held(f"bitmapOr({one.bitmap}, {other.bitmap})", is_rest=True)
    if one.is_rest:
        one, other = other, one
    if other.is_rest:
        return one._replace(bitmap=f"bitmapAndnot({one.bitmap}, {other.bitmap})")
    is_sure = one.is_sure or other.is_sure
    return Held(f"bitmapAnd({one.bitmap}, {other.bitmap})", is_sure=is_sure)


def either(one: Held, other: Held) -> Held:
    if one.is_rest or other.is_rest:
        return both(one.opposite, other.opposite).opposite
    is_sure = one.is_sure and other.is_sure
    return Held(f"bitmapOr({one.bitmap}, {other.bitmap})", is_sure=is_sure)


def source(tree: Tree) -> Source | None:
    """What all clauses of it are told from, person by person; None: from several or from others."""
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            found = set(map(source, parts))
            return found.pop() if len(found) == 1 else None
        case Not(condition=part):
            return source(part)
        case OfTrait():
            return "traits"
        case Did() | FirstDid() | Stopped() | Aggregate():
            return "events"
        case _:
            return None


def has_traits(tree: Tree) -> bool:
    match tree:
        case AllOf(conditions=parts) | AnyOf(conditions=parts):
            return any(map(has_traits, parts))
        case Not(condition=part):
            return has_traits(part)
        case _:
            return isinstance(tree, OfTrait)


def gathered(parts: Sequence[Tree], kind: type[AllOf] | type[AnyOf]) -> list[Tree]:
    """The same parts, those from one source as one."""
    by_source: dict[Source | None, list[Tree]] = {}
    for part in parts:
        by_source.setdefault(source(part), []).append(part)
    others = by_source.pop(None, [])
    alike = by_source.values()
    return [
        *(some[0] if len(some) == 1 else kind(conditions=tuple(some)) for some in alike),
        *others,
    ]


def joined(
    hold: Callable[[Tree], Held], join: Callable[[Held, Held], Held], parts: Sequence[Tree]
) -> Held:
    return functools.reduce(join, map(hold, parts))


def said(tree: Tree, clause: Callable[[OnEvents | OfTrait], str]) -> str:
    """SQL of a tree that has one source; `clause` gives that of a clause."""
    match tree:
        case AllOf(conditions=parts):
            return f"({' AND '.join(said(part, clause) for part in parts)})"
        case AnyOf(conditions=parts):
            return f"({' OR '.join(said(part, clause) for part in parts)})"
        case Not(condition=part):
            return f"NOT {said(part, clause)}"
        case Did() | FirstDid() | Stopped() | Aggregate() | OfTrait():
            return f"({clause(tree)})"
        case _:
            raise ValueError(tree)
