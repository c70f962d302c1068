"""Links between two ids, and the guards that may refuse one; domain/identity.py has the rules."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

Reason = Literal["junk_id", "cycle", "two_known_users", "too_many_ids", "unmerged_later"]
Outcome = Literal["linked", "already_linked"] | Reason
Key = tuple[datetime, bytes]  # timestamp, id of the event
Pair = tuple[int, int]  # numbers of two distinct ids, the lower one first


def pair_of(one: int, other: int) -> Pair:
    return (one, other) if one < other else (other, one)


class Register(NamedTuple):
    """What holds for a pair. `linked` and `forced` are the first of their kind after `unlinked`;
    the reasons are those for which the guards refuse them.
    """

    linked: Key | None = None
    forced: Key | None = None
    unlinked: Key | None = None
    linked_reason: Reason | None = None
    forced_reason: Reason | None = None


class Edge(NamedTuple):
    """A link that holds, in the order in which links are taken."""

    key: Key
    pair: Pair
    forced: bool


class Side(NamedTuple):
    """A person, as the guards see them. `known_since`: the earliest of the ids'."""

    size: int
    known_since: datetime | None


def refuses(edge: Edge, one: Side, other: Side, *, most_ids: int) -> Reason | None:
    """Of two different persons."""
    if not edge.forced and _is_known(one, edge) and _is_known(other, edge):
        return "two_known_users"
    return "too_many_ids" if one.size + other.size > most_ids else None


def _is_known(side: Side, edge: Edge) -> bool:
    return side.known_since is not None and side.known_since <= edge.key[0]


class Settled(NamedTuple):
    groups: list[set[int]]
    reasons: dict[Edge, Reason | None]


def edges_of(registers: Mapping[Pair, Register]) -> list[Edge]:
    """The links that hold but for the guards, in order."""
    found = [Edge(r.linked, pair, False) for pair, r in registers.items() if r.linked]
    found += [Edge(r.forced, pair, True) for pair, r in registers.items() if r.forced]
    return sorted(found)


def settled(
    registers: Mapping[Pair, Register],
    inside: Collection[int],
    known: Mapping[int, datetime | None],
    most_ids: int,
) -> Settled | set[int]:
    """Or the ids outside to which a link may now hold, so that their persons belong to it too."""
    groups = {number: {number} for number in inside}
    since = {number: known[number] for number in inside}  # of a group, under its own number
    name = {number: number for number in inside}
    reasons: dict[Edge, Reason | None] = {}
    reached: set[int] = set()
    for edge in edges_of(registers):
        ends = [number for number in edge.pair if number in groups or number in name]
        if len(ends) == 1:
            side = Side(0, since[name[ends[0]]])
            if not _stays_refused(registers[edge.pair], edge, side):
                reached.update(set(edge.pair) - set(ends))
            continue
        one, other = name[edge.pair[0]], name[edge.pair[1]]
        if one == other:
            reasons[edge] = None
            continue
        sides = (Side(len(groups[one]), since[one]), Side(len(groups[other]), since[other]))
        reasons[edge] = refuses(edge, *sides, most_ids=most_ids)
        if reasons[edge] is None:
            _join(one, other, groups=groups, since=since, name=name)
    return reached or Settled(list(groups.values()), reasons)


def _stays_refused(register: Register, edge: Edge, side: Side) -> bool:
    """A link to somebody outside, whose side has not changed: still two known users?"""
    reason = register.forced_reason if edge.forced else register.linked_reason
    return reason == "two_known_users" and _is_known(side, edge)


def _join(
    one: int,
    other: int,
    *,
    groups: dict[int, set[int]],
    since: dict[int, datetime | None],
    name: dict[int, int],
) -> None:
    if len(groups[one]) < len(groups[other]):
        one, other = other, one
    moved = groups.pop(other)
    groups[one] |= moved
    name.update(dict.fromkeys(moved, one))
    known = [at for at in (since[one], since[other]) if at is not None]
    since[one] = min(known, default=None)


def is_cut(register: Register, key: Key) -> bool:
    return register.unlinked is None or register.unlinked < key


def after(later: Sequence[tuple[Key, bool]], key: Key) -> Register:
    """The register as it is after an un-merge: links said later hold on."""
    return Register(
        linked=min((found for found, forced in later if not forced), default=None),
        forced=min((found for found, forced in later if forced), default=None),
        unlinked=key,
    )


def with_link(register: Register, key: Key, *, forced: bool) -> Register:
    if forced:
        return register._replace(forced=key, forced_reason=None)
    return register._replace(linked=key, linked_reason=None)


def with_reason(register: Register, edge: Edge, reason: Reason | None) -> Register:
    if edge.forced:
        return register._replace(forced_reason=reason)
    return register._replace(linked_reason=reason)


def earliest(one: datetime | None, other: datetime | None) -> datetime | None:
    return one or other if one is None or other is None else min(one, other)


def latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return one or other if one is None or other is None else max(one, other)
