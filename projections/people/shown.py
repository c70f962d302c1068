"""What is shown of persons and groups, whether it is read from the tables of now or from a past."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from domain.traits import Trait, Traits

MOST_IDS = 1000  # shown of one person


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An id of a person. `known_since`: its earliest use as a user id."""

    number: int
    distinct_id: str
    messages: int = 0
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    known_since: datetime | None = None


class IdShown(msgspec.Struct, frozen=True, kw_only=True):
    """`known`: it was used as a user id, for the first time at `known_since`; `messages`: how many
    were sent with it.
    """

    distinct_id: str
    known: bool
    known_since: datetime | None
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None


class TraitSource(msgspec.Struct, frozen=True, kw_only=True):
    """The operation that gave a trait its value: its own time, where it is on the log, and the id
    that it came with.
    """

    timestamp: datetime
    position: int
    distinct_id: str


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """`since`: the position of the first message that said so."""

    group_type: str
    group_id: str
    since: int


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """`user_id`: the oldest known id, else the oldest. `ids`: at most MOST_IDS of `ids_total`, the
    oldest, and the one that was asked for. `traits`: name -> value.
    """

    user_id: str
    ids: list[IdShown]
    ids_total: int
    traits: dict[str, Any]
    trait_sources: dict[str, TraitSource]
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None
    groups: list[Membership]


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A person in a list, shorter than a Profile."""

    user_id: str
    ids_total: int
    traits: dict[str, Any]
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None


class Found(NamedTuple):
    """A person on a page; `key` is what it is sorted by, before the number of the person."""

    key: Any
    person: int
    listed: Listed


class Page(NamedTuple):
    """`total`: of all that match, on whatever page."""

    found: list[Found]
    total: int


class GroupShown(msgspec.Struct, frozen=True, kw_only=True):
    """`members`: persons, not ids. `first_seen`, `last_seen`: of what was said of the group."""

    group_type: str
    group_id: str
    traits: dict[str, Any]
    trait_sources: dict[str, TraitSource]
    members: int
    first_seen: datetime
    last_seen: datetime


class MemberShown(msgspec.Struct, frozen=True, kw_only=True):
    """A person of a group. `since`: the position of the first message that said so."""

    user_id: str
    ids_total: int
    traits: dict[str, Any]
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None
    since: int


class Totals(NamedTuple):
    ids: int
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None


def age(member: Member) -> tuple[bool, bool, datetime | None, str]:
    """Sorts ids: the oldest known one first, then the oldest of the others."""
    at = member.known_since or member.first_seen
    return member.known_since is None, at is None, at, member.distinct_id


def totals(members: Collection[Member]) -> Totals:
    return Totals(
        len(members),
        sum(member.messages for member in members),
        min((at for one in members if (at := one.first_seen)), default=None),
        max((at for one in members if (at := one.last_seen)), default=None),
    )


def profile(
    members: Sequence[Member],
    total: Totals,
    traits: Traits,
    *,
    senders: Mapping[int, str],
    groups: Iterable[tuple[str, str, int]],
) -> Profile:
    """`members`: in order of `age`. `senders`: number -> id, of those that gave traits."""
    return Profile(
        user_id=members[0].distinct_id,
        ids=[_shown(member) for member in members],
        ids_total=total.ids,
        traits=values(traits),
        trait_sources=sources(traits, senders),
        messages=total.messages,
        first_seen=total.first_seen,
        last_seen=total.last_seen,
        groups=[
            Membership(group_type=kind, group_id=group, since=since)
            for kind, group, since in groups
        ],
    )


def listed(user_id: str, total: Totals, traits: Traits) -> Listed:
    return Listed(
        user_id=user_id,
        ids_total=total.ids,
        traits=values(traits),
        messages=total.messages,
        first_seen=total.first_seen,
        last_seen=total.last_seen,
    )


def of_group(one: Listed, since: int) -> MemberShown:
    return MemberShown(**msgspec.structs.asdict(one), since=since)


def chosen(members: Iterable[Member], asked: int) -> list[Member]:
    """Those that are shown: the oldest, and the one that was asked for."""
    ordered = sorted(members, key=age)
    if asked in {member.number for member in ordered[:MOST_IDS]}:
        return ordered[:MOST_IDS]
    return ordered[: MOST_IDS - 1] + [one for one in ordered[MOST_IDS - 1 :] if one.number == asked]


def values(traits: Traits) -> dict[str, Any]:
    return {name: msgspec.json.decode(trait.value) for name, trait in _set(traits)}


def sources(traits: Traits, senders: Mapping[int, str]) -> dict[str, TraitSource]:
    return {
        name: TraitSource(
            timestamp=trait.timestamp,
            position=trait.position,
            distinct_id=senders[trait.number],
        )
        for name, trait in _set(traits)
    }


def numbers_in(traits: Traits) -> set[int]:
    """Of the ids that gave them."""
    return {trait.number for _, trait in _set(traits)}


def _set(traits: Traits) -> list[tuple[str, Trait]]:
    return [(name, trait) for name, trait in sorted(traits.items()) if trait.is_set]


def _shown(member: Member) -> IdShown:
    return IdShown(
        distinct_id=member.distinct_id,
        known=member.known_since is not None,
        known_since=member.known_since,
        messages=member.messages,
        first_seen=member.first_seen,
        last_seen=member.last_seen,
    )
