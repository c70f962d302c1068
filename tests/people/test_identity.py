"""Persons follow from what was said, whatever the order, repetition and batches it came in."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.identity import (
    Id,
    Network,
    Register,
    Side,
    edges_of,
    pair_of,
    refuses,
)
from domain.junk import is_junk

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
MOST = 5  # ids of one person, in these tests
numbers = st.integers(1, 9)
times = st.integers(0, 12)
facts = st.one_of(
    st.tuples(st.just("link"), numbers, numbers, times),
    st.tuples(st.just("link"), numbers, numbers, times),
    st.tuples(st.just("force"), numbers, numbers, times),
    st.tuples(st.just("unlink"), numbers, numbers, times),
    st.tuples(st.just("known"), numbers, numbers, times),
)
EASY = settings(max_examples=600, deadline=None)


class Memory:
    """A source that holds what a network has written."""

    def __init__(self):
        self.ids = {}
        self.found = {}
        self.said = []

    def persons_of(self, numbers):
        persons = {self.ids[n].person for n in numbers if n in self.ids}
        return [one for one in self.ids.values() if one.person in persons]

    def registers(self, pairs):
        return {pair: self.found[pair] for pair in pairs if pair in self.found}

    def registers_around(self, numbers):
        return {p: r for p, r in self.found.items() if set(p) & set(numbers)}

    def links_after(self, pairs, key):
        return {
            pair: [(k, forced) for p, k, forced in self.said if p == pair and k > key]
            for pair in pairs
        }

    def keep(self, network):
        for number in list(network._person):
            person = network.person(number)
            known = network._known[number]
            self.ids[number] = Id(number, person, known, network.newest_link(number))
        for pair in network.rewritten:
            self.found[pair] = network.register(pair)


def _key(number, hour):
    return NOON + timedelta(hours=hour), bytes([number])


def tell(batches):
    """Batches of (event's number, fact); the memory after them."""
    memory, positions = Memory(), count(1)
    for batch in batches:
        network = Network(memory, most_ids=MOST)
        for event, (kind, one, other, hour) in batch:
            _tell(network, memory, next(positions), (kind, one, other, _key(event, hour)))
        memory.keep(network)
    return memory


def _tell(network, memory, position, fact):
    kind, one, other, key = fact
    if kind == "known":
        network.load([one])
        before = network._known[one]
        if before is None or key[0] < before:
            network.become_known(position, one, key[0])
    elif kind == "unlink":
        if one != other:
            network.unlink(position, key, [pair_of(one, other)])
    else:
        network.link(position, key, one, other, forced=kind == "force")
        if one != other:
            memory.said.append((pair_of(one, other), key, kind == "force"))


def persons(memory):
    groups = {}
    for one in memory.ids.values():
        groups.setdefault(one.person, set()).add(one.number)
    assert all(min(group) == person for person, group in groups.items())
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def recounted(told):
    """The same from the definition, all at once."""
    known, registers = {}, {}
    keyed = [(kind, one, other, _key(event, hour)) for event, (kind, one, other, hour) in told]
    for kind, one, _, key in keyed:
        if kind == "known":
            known[one] = min(known.get(one, key[0]), key[0])
    for pair in {pair_of(f[1], f[2]) for f in keyed if f[0] != "known" and f[1] != f[2]}:
        about = [(f[0], f[3]) for f in keyed if pair_of(f[1], f[2]) == pair]
        cut = max((key for kind, key in about if kind == "unlink"), default=None)
        after = [(kind, key) for kind, key in about if cut is None or key > cut]
        registers[pair] = Register(
            linked=min((key for kind, key in after if kind == "link"), default=None),
            forced=min((key for kind, key in after if kind == "force"), default=None),
        )
    groups = {}
    for edge in edges_of(registers):
        one, other = (groups.get(n, {n}) for n in edge.pair)
        if one is other or one == other:
            continue
        if refuses(edge, _side(one, known), _side(other, known), most_ids=MOST) is None:
            joined = one | other
            groups.update(dict.fromkeys(joined, joined))
    return {frozenset(group) for group in groups.values()}


def _side(group, known):
    return Side(len(group), min((known[n] for n in group if n in known), default=None))


def _batches(draw, told):
    cuts = sorted(draw(st.sets(st.integers(1, max(len(told), 1)))))
    return [told[a:b] for a, b in zip([0, *cuts], [*cuts, len(told)], strict=True)]


@EASY
@given(said=st.lists(facts, max_size=25), data=st.data())
def test_any_order_any_batches_and_any_repetition_give_the_same_persons(said, data):
    told = list(enumerate(said))
    again = data.draw(st.lists(st.sampled_from(told), max_size=5)) if told else []
    shuffled = data.draw(st.permutations(told + again))
    expected = recounted(told)
    assert persons(tell([told])) == expected
    assert persons(tell(_batches(data.draw, shuffled))) == expected


@EASY
@given(said=st.lists(facts.filter(lambda fact: fact[0] in {"link", "force", "known"}), max_size=20))
def test_after_all_is_unmerged_nobody_is_linked(said):
    told = list(enumerate(said))
    pairs = {pair_of(f[1], f[2]) for f in said if f[0] != "known" and f[1] != f[2]}
    cut = [(100 + n, ("unlink", *pair, 20)) for n, pair in enumerate(sorted(pairs))]
    assert persons(tell([told, cut])) == set()


@EASY
@given(
    before=st.lists(facts, max_size=12), merged=st.lists(st.tuples(numbers, numbers), max_size=6)
)
def test_a_merge_that_is_undone_leaves_what_there_was(before, merged):
    told = list(enumerate(before))
    known_pairs = {pair_of(f[1], f[2]) for f in before if f[0] != "known"}
    fresh = sorted({pair_of(*p) for p in merged if p[0] != p[1]} - known_pairs)
    links = [(50 + n, ("force", *pair, 14)) for n, pair in enumerate(fresh)]
    cut = [(100 + n, ("unlink", *pair, 15)) for n, pair in enumerate(fresh)]
    assert persons(tell([told, links, cut])) == persons(tell([told]))


@EASY
@given(said=st.lists(facts, max_size=25))
def test_changes_lead_from_position_to_position_to_the_persons_that_there_are(said):
    memory = Memory()
    network = Network(memory, most_ids=MOST)
    for position, (event, fact) in enumerate(enumerate(said), start=1):
        kind, one, other, hour = fact
        _tell(network, memory, position, (kind, one, other, _key(event, hour)))
    standing = {n: n for n in network._person}
    for (_, number), person in sorted(network.changes.items()):
        standing[number] = person
    assert standing == {n: network.person(n) for n in network._person}


def _linked(*facts):
    network = Network(Memory(), most_ids=MOST)
    return [
        network.link(n, _key(n, hour), one, other, forced=forced)
        for n, (one, other, hour, forced) in enumerate(facts)
    ]


def test_every_link_has_one_outcome_from_the_list():
    assert _linked((1, 2, 1, False), (1, 2, 2, False), (1, 1, 3, False)) == [
        "linked",
        "already_linked",
        "cycle",
    ]


def test_two_known_users_are_joined_by_force_only():
    network = Network(Memory())
    network.become_known(1, 1, NOON)
    network.become_known(2, 2, NOON)
    assert network.link(3, _key(3, 1), 1, 2, forced=False) == "two_known_users"
    assert network.person(1) != network.person(2)
    assert network.link(4, _key(4, 2), 1, 2, forced=True) == "linked"
    assert network.person(1) == network.person(2)


def test_an_id_that_becomes_a_user_later_keeps_its_links():
    network = Network(Memory())
    network.become_known(1, 1, NOON)
    network.link(2, _key(2, 1), 1, 2, forced=False)
    network.become_known(3, 2, NOON + timedelta(hours=5))
    assert network.person(1) == network.person(2)


def test_a_person_has_no_more_ids_than_the_cap():
    chain = [(n, n + 1, n, False) for n in range(1, MOST + 1)]
    assert _linked(*chain) == ["linked"] * (MOST - 1) + ["too_many_ids"]


def test_a_link_from_before_an_unmerge_does_not_hold():
    network = Network(Memory())
    network.link(1, _key(1, 1), 1, 2, forced=False)
    network.unlink(2, _key(2, 5), [(1, 2)])
    assert network.link(3, _key(3, 4), 1, 2, forced=False) == "unmerged_later"
    assert network.person(1) != network.person(2)
    assert network.link(4, _key(4, 6), 1, 2, forced=False) == "linked"


def test_on_a_shared_device_the_first_user_keeps_it_and_the_next_gets_it_after_an_unmerge():
    network = Network(Memory())
    device, ada, bob = 3, 1, 2
    for number in (ada, bob):
        network.become_known(number, number, NOON)
    network.link(4, _key(4, 1), ada, device, forced=False)
    assert network.link(5, _key(5, 2), bob, device, forced=False) == "two_known_users"
    network.unlink(6, _key(6, 3), [(ada, device)])
    assert (network.person(device), network.person(ada)) == (bob, ada)


@pytest.mark.parametrize(
    "junk",
    [
        "null",
        "NULL",
        " undefined ",
        "0",
        "000",
        "[object Object]",
        "NaN",
        "None",
        '"null"',
        "-",
        "00000000-0000-0000-0000-000000000000",
        "anonymous",
        "guest",
        "false",
    ],
)
def test_placeholders_are_junk(junk):
    assert is_junk(junk)


@pytest.mark.parametrize("good", ["1", "ada", "null@example.com", "10", "user 0", "Ann", "0x1"])
def test_ids_that_somebody_may_have_are_not(good):
    assert not is_junk(good)
