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
from typing import NamedTuple, Protocol

from domain.limits import MAX_IDS_PER_PERSON
from domain.links import (
    Edge,
    Key,
    Outcome,
    Pair,
    Reason,
    Register,
    Settled,
    Side,
    after,
    earliest,
    edges_of,
    is_cut,
    latest,
    pair_of,
    refuses,
    settled,
    with_link,
    with_reason,
)

__all__ = (
    "Id",
    "Key",
    "Network",
    "Outcome",
    "Pair",
    "Reason",
    "Register",
    "Side",
    "Source",
    "edges_of",
    "pair_of",
    "refuses",
)


class Id(NamedTuple):
    """A distinct id. `known_since`: the earliest time at which it was a user id; `newest_link`: the
    latest time at which anything was said about a link of it.
    """

    number: int
    person: int
    known_since: datetime | None
    newest_link: datetime | None


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
        # Of persons, as far as asked: the earliest of `_known`, the latest of `_newest`.
        self._known_of: dict[int, datetime | None] = {}
        self._newest_of: dict[int, datetime | None] = {}
        # Of persons, as far as asked: how many ids are known, and how many have a refused link.
        self._bound_of: dict[int, tuple[int, int]] = {}
        self._refused: set[int] = set()  # ids with a link that is, or was, refused
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
        if number not in self._person:
            self.load([number])
        return self._person[number]

    def loaded(self, number: int) -> int | None:
        """The person of an id that was loaded: no other has changed."""
        return self._person.get(number)

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
        if pair not in self._registers:
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
        members = self._members.setdefault(found.person, set())
        if members:  # else nobody has asked for it
            self._forget(found.person)
        members.add(found.number)

    def _forget(self, person: int) -> None:
        self._known_of.pop(person, None)
        self._newest_of.pop(person, None)
        self._bound_of.pop(person, None)

    def _keep(self, registers: Mapping[Pair, Register]) -> None:
        for pair, register in registers.items():
            if pair not in self._registers:
                self._note_refusals(pair, register)
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
        person = self.person(number)
        if self._known[number] is None:
            self._bound_of.pop(person, None)
        self._known[number] = since
        if person in self._known_of:
            self._known_of[person] = earliest(self._known_of[person], since)
        newest = self._newest_around(person)
        if newest is not None and newest >= since and not self._holds_in_any_order({person}):
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
        register = with_link(register, key, forced=forced)
        ends = {self._person[one], self._person[other]}
        if not self._is_late(key, one, other) or self._holds_in_any_order(ends):
            return self._take(position, Edge(key, pair, forced), register)
        was_one = self._person[one] == self._person[other]
        self._write(pair, register)
        self._heard(pair, key)
        self._settle(position, {one, other})
        return self._outcome(pair, forced=forced, joined=not was_one)

    def unlink(self, position: int, key: Key, pairs: Sequence[Pair]) -> None:
        self.load([number for pair in pairs for number in pair])
        self.load_registers(pairs)
        cut = [pair for pair in pairs if is_cut(self._registers[pair], key)]
        later = self._source.links_after(cut, key) if cut else {}
        for pair in cut:
            self._write(pair, after(later.get(pair, ()), key))
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
        for number in (one, other):
            newest = self._newest_around(self._person[number])
            if newest is not None and newest >= key[0]:
                return True
        return False

    def _holds_in_any_order(self, persons: Collection[int]) -> bool:
        """Whether no guard could refuse any link among them, wherever it stands: they are not too
        many, one of them is a known user at most, and none has a link that was refused.
        """
        if sum(len(self._members[person]) for person in persons) > self._most_ids:
            return False
        bounds = [self._bounds(person) for person in persons]
        return sum(known for known, _ in bounds) <= 1 and not any(refused for _, refused in bounds)

    def _bounds(self, person: int) -> tuple[int, int]:
        if person not in self._bound_of:
            members = self._members[person]
            self._load_around(members)
            known = sum(self._known[number] is not None for number in members)
            self._bound_of[person] = known, len(self._refused & members)
        return self._bound_of[person]

    def _note_refusals(self, pair: Pair, register: Register) -> None:
        if register.linked_reason or register.forced_reason:
            for number in pair:
                self._refused.add(number)
                if number in self._person:
                    self._bound_of.pop(self._person[number], None)

    def _newest_around(self, person: int) -> datetime | None:
        if person not in self._newest_of:
            times = [at for at in map(self._newest.__getitem__, self._members[person]) if at]
            self._newest_of[person] = max(times, default=None)
        return self._newest_of[person]

    def _known_since(self, person: int) -> datetime | None:
        if person not in self._known_of:
            known = [at for at in map(self._known.__getitem__, self._members[person]) if at]
            self._known_of[person] = min(known, default=None)
        return self._known_of[person]

    def _write(self, pair: Pair, register: Register) -> None:
        self._registers[pair] = register
        self._note_refusals(pair, register)
        self._around[pair[0]].add(pair)
        self._around[pair[1]].add(pair)
        self.rewritten.add(pair)

    def _heard(self, pair: Pair, key: Key) -> None:
        for number in pair:
            newest = self._newest[number]
            if newest is None or newest < key[0]:
                self._newest[number] = key[0]
                self.touched.add(number)
                person = self._person[number]
                self._newest_of[person] = latest(self._newest_around(person), key[0])

    def _take(self, position: int, edge: Edge, register: Register) -> Outcome:
        """A link that comes after all others around it: nothing else can change."""
        one, other = self._person[edge.pair[0]], self._person[edge.pair[1]]
        reason = None
        if one != other:
            reason = refuses(edge, self._side(one), self._side(other), most_ids=self._most_ids)
        self._write(edge.pair, register if reason is None else with_reason(register, edge, reason))
        self._heard(edge.pair, edge.key)
        if one == other:
            return "already_linked"
        if reason is None:
            self._move(position, self._members[max(one, other)], min(one, other))
        return reason or "linked"

    def _side(self, person: int) -> Side:
        return Side(len(self._members[person]), self._known_since(person))

    def _move(self, position: int, numbers: Collection[int], person: int) -> None:
        for number in list(numbers):
            before = self._person[number]
            if before == person:
                continue
            self.shaken.update((before, person))
            self._members[before].discard(number)
            self._forget(before)
            self._gain(person, number)
            self._person[number] = person
            self.changes[position, number] = person
            self.touched.add(number)

    def _gain(self, person: int, number: int) -> None:
        self._members.setdefault(person, set()).add(number)
        if person in self._known_of:
            self._known_of[person] = earliest(self._known_of[person], self._known[number])
        if person in self._newest_of:
            self._newest_of[person] = latest(self._newest_of[person], self._newest[number])
        if person in self._bound_of and number in self._complete:
            known, refused = self._bound_of[person]
            known += self._known[number] is not None
            self._bound_of[person] = known, refused + (number in self._refused)
        else:
            self._bound_of.pop(person, None)

    def _settle(self, position: int, start: Collection[int]) -> None:
        """Takes all links of the persons concerned anew, and of those to whom this leads."""
        inside = {n for number in start for n in self._members[self._person[number]]}
        while True:
            registers = self.registers_around(inside)
            found = settled(registers, inside, self._known, self._most_ids)
            if isinstance(found, Settled):
                break
            self.load(found)
            inside |= {n for number in found for n in self._members[self._person[number]]}
        for edge, reason in found.reasons.items():
            register = with_reason(self._registers[edge.pair], edge, reason)
            if register != self._registers[edge.pair]:
                self._write(edge.pair, register)
        for group in found.groups:
            self._move(position, group, min(group))
