"""Who is the same person: links between distinct ids, and the persons that follow from them.

What is said of a pair of ids is a register: the first link after the last un-merge holds. Persons
are found by taking the links that hold in the order of their keys, each if no guard refuses it:

junk_id          one id is a placeholder that many senders use ("null", "undefined", "0", ...)
cycle            an id linked to itself
two_known_users  both sides had a user id by then; only a forced link joins them
too_many_ids     the person would have more than MAX_IDS_PER_PERSON ids

A key is (the event's own timestamp, its id), so the order in which events arrive, their batches and
their repetition change nothing. A refused link stays: it may hold once another is cut.
`Network` gives what taking all links anew would give, touching only the persons concerned.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from domain.limits import MAX_IDS_PER_PERSON

Reason = Literal["junk_id", "cycle", "two_known_users", "too_many_ids", "unmerged_later"]
Outcome = Literal["linked", "already_linked"] | Reason
Key = tuple[datetime, bytes]  # timestamp, id of the event
Pair = tuple[int, int]  # numbers of two distinct ids, the lower one first


def pair_of(one: int, other: int) -> Pair:
    return (one, other) if one < other else (other, one)


class Id(NamedTuple):
    """A distinct id. `known_since`: the earliest time at which it was a user id; `newest_link`: the
    latest time at which anything was said about a link of it.
    """

    number: int
    person: int
    known_since: datetime | None
    newest_link: datetime | None


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


class Source(Protocol):
    """Where a Network finds what it does not hold yet."""

    def persons_of(self, numbers: Collection[int]) -> Iterable[Id]:
        """Those ids and all others of their persons."""

    def registers(self, pairs: Collection[Pair]) -> Mapping[Pair, Register]: ...

    def registers_around(self, numbers: Collection[int]) -> Mapping[Pair, Register]:
        """All with one of these ids."""

    def links_after(
        self, pairs: Collection[Pair], key: Key
    ) -> Mapping[Pair, Sequence[tuple[Key, bool]]]:
        """Every link that was said of one of the pairs with a later key: (key, forced). There may
        be other pairs among them.
        """


class Network:
    """Links and persons of one app, as far as they were needed; changes are kept for the caller.

    `known_before`: what `known_since` was where the source has a later state already. `fresh`: ids
    that the source knows nothing of. `persons`: those of other ids, where they are known, so that
    nothing has to be asked for what changes nothing.
    """

    def __init__(
        self,
        source: Source,
        known_before: Mapping[int, datetime | None] | None = None,
        *,
        fresh: Collection[int] = (),
        persons: Mapping[int, int] | None = None,
        most_ids: int = MAX_IDS_PER_PERSON,
    ) -> None:
        self._source = source
        self._known_before = known_before or {}
        self._persons = persons or {}
        self._fresh = frozenset(fresh)
        self._most_ids = most_ids
        self._known: dict[int, datetime | None] = {}
        self._newest: dict[int, datetime | None] = {}
        self._person: dict[int, int] = {}
        self._members: dict[int, set[int]] = {}
        self._registers: dict[Pair, Register] = {}
        self._around: dict[int, set[Pair]] = defaultdict(set)
        self._origin: dict[int, int] = {}  # the persons that there were before
        self._complete = set(fresh)  # ids whose registers are all here
        self.changes: dict[tuple[int, int], int] = {}  # (position, number) -> person
        self.touched: set[int] = set()  # ids with another person or newest link
        self.rewritten: set[Pair] = set()
        self.shaken: set[int] = set()  # persons that lost or gained an id
        for number in fresh:
            self._add(Id(number, number, None, None))

    # --- reading ---------------------------------------------------------------------------

    def load(self, numbers: Iterable[int]) -> None:
        """Their persons, in one question."""
        missing = [number for number in numbers if number not in self._person]
        if not missing:
            return
        for found in self._source.persons_of(missing):
            self._add(found)
        for number in missing:
            if number not in self._person:
                self._add(Id(number, number, None, None))

    def load_registers(self, pairs: Iterable[Pair]) -> None:
        missing = [pair for pair in pairs if pair not in self._registers]
        stored = [pair for pair in missing if self._fresh.isdisjoint(pair)]
        if stored:
            self._keep(self._source.registers(stored))
        for pair in missing:
            self._registers.setdefault(pair, Register())

    def person(self, number: int) -> int:
        self.load([number])
        return self._person[number]

    def has(self, number: int) -> bool:
        """Whether it was loaded: no other has changed."""
        return number in self._person

    def now(self, number: int) -> int:
        """The person, without loading all of it where it is known."""
        if number in self._person or number not in self._persons:
            return self.person(number)
        return self._persons[number]

    def sources(self) -> dict[int, set[int] | None]:
        """Of each person that was shaken and has ids: the persons there were before whose ids it
        has, all of each. None: of one of them it has some only.
        """
        found = {p: {self._origin[n] for n in self._members[p]} for p in self.shaken}
        ends = Counter(origin for origins in found.values() for origin in origins)
        return {
            person: origins if all(ends[origin] == 1 for origin in origins) else None
            for person, origins in found.items()
            if origins
        }

    def members(self, person: int) -> frozenset[int]:
        self.load([person])
        return frozenset(self._members[person])

    def newest_link(self, number: int) -> datetime | None:
        return self._newest[number]

    def register(self, pair: Pair) -> Register:
        self.load_registers([pair])
        return self._registers[pair]

    def registers_around(self, numbers: Collection[int]) -> dict[Pair, Register]:
        self._load_around(numbers)
        pairs = {pair for number in numbers for pair in self._around[number]}
        return {pair: self._registers[pair] for pair in pairs}

    def _add(self, found: Id) -> None:
        if found.number in self._person:
            return
        known = self._known_before.get(found.number, found.known_since)
        self._known[found.number] = known
        self._newest[found.number] = found.newest_link
        self._person[found.number] = self._origin[found.number] = found.person
        self._members.setdefault(found.person, set()).add(found.number)

    def _keep(self, registers: Mapping[Pair, Register]) -> None:
        for pair, register in registers.items():
            self._registers.setdefault(pair, register)
            self._around[pair[0]].add(pair)
            self._around[pair[1]].add(pair)

    def _load_around(self, numbers: Collection[int]) -> None:
        missing = [number for number in numbers if number not in self._complete]
        if missing:
            self._keep(self._source.registers_around(missing))
            self._complete.update(missing)

    # --- writing ---------------------------------------------------------------------------

    def become_known(self, position: int, number: int, since: datetime) -> None:
        """Used as a user id at `since`, earlier than was known."""
        self.load([number])
        self._known[number] = since
        newest = self._newest_around(self._person[number])
        if newest is not None and newest >= since:
            self._settle(position, {number})

    def link(self, position: int, key: Key, one: int, other: int, *, forced: bool) -> Outcome:
        """`one` and `other` are no junk."""
        if one == other:
            return "cycle"
        pair = pair_of(one, other)
        register = self.register(pair)
        if register.unlinked is not None and key < register.unlinked:
            return "unmerged_later"
        before = register.forced if forced else register.linked
        if before is not None and before <= key:
            return self._outcome(pair, forced=forced, joined=False)
        self.load(pair)
        was_one = self._person[one] == self._person[other]
        late = self._is_late(key, one, other)
        self._write(pair, _with_link(register, key, forced=forced))
        self._heard(pair, key)
        if late:
            self._settle(position, {one, other})
        else:
            self._take(position, Edge(key, pair, forced))
        return self._outcome(pair, forced=forced, joined=not was_one)

    def unlink(self, position: int, key: Key, pairs: Sequence[Pair]) -> None:
        self.load([number for pair in pairs for number in pair])
        self.load_registers(pairs)
        cut = [pair for pair in pairs if _is_cut(self._registers[pair], key)]
        later = self._source.links_after(cut, key) if cut else {}
        for pair in cut:
            self._write(pair, _after(later.get(pair, ()), key))
        for pair in pairs:
            self._heard(pair, key)
        self._settle(position, {number for pair in pairs for number in pair})

    def _outcome(self, pair: Pair, *, forced: bool, joined: bool) -> Outcome:
        register = self._registers[pair]
        reason = register.forced_reason if forced else register.linked_reason
        if self.now(pair[0]) == self.now(pair[1]):
            return "linked" if joined else "already_linked"
        return reason or "linked"

    def _is_late(self, key: Key, one: int, other: int) -> bool:
        """Whether something that was said already comes after it, so that its place is not last."""
        ends = (self._person[one], self._person[other])
        newest = [at for at in map(self._newest_around, ends) if at is not None]
        return bool(newest) and max(newest) >= key[0]

    def _newest_around(self, person: int) -> datetime | None:
        times = [at for at in map(self._newest.__getitem__, self._members[person]) if at]
        return max(times, default=None)

    def _write(self, pair: Pair, register: Register) -> None:
        self._registers[pair] = register
        self._around[pair[0]].add(pair)
        self._around[pair[1]].add(pair)
        self.rewritten.add(pair)

    def _heard(self, pair: Pair, key: Key) -> None:
        for number in pair:
            newest = self._newest[number]
            if newest is None or newest < key[0]:
                self._newest[number] = key[0]
                self.touched.add(number)

    def _take(self, position: int, edge: Edge) -> None:
        """A link that comes after all others around it: nothing else can change."""
        one, other = (self._person[number] for number in edge.pair)
        sides = [
            Side(len(self._members[side]), self._known_of(side)) for side in sorted({one, other})
        ]
        reason = None if one == other else refuses(edge, *sides, most_ids=self._most_ids)
        self._write(edge.pair, _with_reason(self._registers[edge.pair], edge, reason))
        if one != other and reason is None:
            self._move(position, self._members[max(one, other)], min(one, other))

    def _known_of(self, person: int) -> datetime | None:
        known = [at for at in map(self._known.__getitem__, self._members[person]) if at]
        return min(known, default=None)

    def _move(self, position: int, numbers: Collection[int], person: int) -> None:
        for number in list(numbers):
            before = self._person[number]
            if before == person:
                continue
            self.shaken.update((before, person))
            self._members[before].discard(number)
            self._members.setdefault(person, set()).add(number)
            self._person[number] = person
            self.changes[position, number] = person
            self.touched.add(number)

    def _settle(self, position: int, start: Collection[int]) -> None:
        """Takes all links of the persons concerned anew, and of those to whom this leads."""
        inside = {n for number in start for n in self._members[self._person[number]]}
        while True:
            registers = self.registers_around(inside)
            found = _settled(registers, inside, self._known, self._most_ids)
            if isinstance(found, _Settled):
                break
            self.load(found)
            inside |= {n for number in found for n in self._members[self._person[number]]}
        for edge, reason in found.reasons.items():
            register = _with_reason(self._registers[edge.pair], edge, reason)
            if register != self._registers[edge.pair]:
                self._write(edge.pair, register)
        for group in found.groups:
            self._move(position, group, min(group))


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


class _Settled(NamedTuple):
    groups: list[set[int]]
    reasons: dict[Edge, Reason | None]


def edges_of(registers: Mapping[Pair, Register]) -> list[Edge]:
    """The links that hold but for the guards, in order."""
    found = [Edge(r.linked, pair, False) for pair, r in registers.items() if r.linked]
    found += [Edge(r.forced, pair, True) for pair, r in registers.items() if r.forced]
    return sorted(found)


def _settled(
    registers: Mapping[Pair, Register],
    inside: Collection[int],
    known: Mapping[int, datetime | None],
    most_ids: int,
) -> _Settled | set[int]:
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
    return reached or _Settled(list(groups.values()), reasons)


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


def _is_cut(register: Register, key: Key) -> bool:
    return register.unlinked is None or register.unlinked < key


def _after(later: Sequence[tuple[Key, bool]], key: Key) -> Register:
    """The register as it is after an un-merge: links said later hold on."""
    return Register(
        linked=min((found for found, forced in later if not forced), default=None),
        forced=min((found for found, forced in later if forced), default=None),
        unlinked=key,
    )


def _with_link(register: Register, key: Key, *, forced: bool) -> Register:
    if forced:
        return register._replace(forced=key, forced_reason=None)
    return register._replace(linked=key, linked_reason=None)


def _with_reason(register: Register, edge: Edge, reason: Reason | None) -> Register:
    if edge.forced:
        return register._replace(forced_reason=reason)
    return register._replace(linked_reason=reason)
