"""The live segments of an app as of a position, each as criteria that name only static lists."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Connection

from domain.conditions.moving import NOBODY, Edge, edges, expanded, has_moving_dates
from domain.conditions.tree import Member, Needs, Tree, needs
from projections import segments
from projections.segments import Definition

_encode = msgspec.json.Encoder().encode


class Live(NamedTuple):
    """`tree` is `definition.criteria` with the criteria of the live segments that it names in
    their places. `fingerprint` is another one whenever the same persons may have other answers.
    """

    definition: Definition
    tree: Tree
    needs: Needs
    edges: frozenset[Edge]
    moves: bool
    fingerprint: str


def find_live(connection: Connection, app: int, at: int) -> dict[UUID, Live]:
    found = segments.find_definitions(connection, app, at)
    named = _expansions(found)
    return {
        one: _live(definition, named(str(one)))
        for one, definition in found.items()
        if definition.criteria is not None
    }


def fingerprints(definitions: Mapping[UUID, Definition]) -> dict[UUID, str]:
    """Of the live ones among them: `definitions` are all that an app has."""
    named = _expansions(definitions)
    return {
        one: _fingerprint(named(str(one)))
        for one, definition in definitions.items()
        if definition.criteria is not None
    }


def _expansions(definitions: Mapping[UUID, Definition]) -> Callable[[str], Tree]:
    known = {str(one): definition for one, definition in definitions.items()}

    @functools.cache
    def named(segment: str) -> Tree:
        definition = known.get(segment)
        if definition is None:
            return NOBODY
        if definition.criteria is None:
            return Member(segment=segment)
        return expanded(definition.criteria, named)

    return named


def _live(definition: Definition, tree: Tree) -> Live:
    moves = has_moving_dates(tree)
    return Live(definition, tree, needs(tree), frozenset(edges(tree)), moves, _fingerprint(tree))


def _fingerprint(tree: Tree) -> str:
    return hashlib.sha256(_encode(tree)).hexdigest()


def lists_in(live: Mapping[UUID, Live]) -> set[UUID]:
    return {UUID(one) for each in live.values() for one in each.needs.segments}
