"""Which links an un-merge has to cut."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from domain.identity import Key, Network, Pair, Register, pair_of

_TICK = timedelta(microseconds=1)


def cut_alias(network: Network, number: int, alias: int, key: Key) -> list[Pair]:
    """The links that join `alias`, and what hangs on it alone, with `number`; they are cut in
    `network`. Empty: they are not the same person, or the same id.

    A refused link may hold once another is cut, so this goes on until the two are apart. `key` is
    later than everything said of these links (later_than_all), or they would not be.
    """
    cut: list[Pair] = []
    while number != alias and network.person(number) == network.person(alias):
        found = [pair for pair in _between(network, number, alias) if pair not in cut]
        if not found:
            break
        network.unlink(0, key, found)
        cut += found
    return cut


def _between(network: Network, number: int, alias: int) -> list[Pair]:
    members = network.members(network.person(number))
    neighbours = _neighbours(network.registers_around(members), members)
    reached = _reached(neighbours, number, without=alias)
    return [pair_of(alias, other) for other in sorted(neighbours[alias] & reached)]


def _neighbours(
    registers: Mapping[Pair, Register], members: Collection[int]
) -> dict[int, set[int]]:
    found: dict[int, set[int]] = defaultdict(set)
    for (low, high), register in registers.items():
        if (register.linked or register.forced) and low in members and high in members:
            found[low].add(high)
            found[high].add(low)
    return found


def _reached(neighbours: Mapping[int, set[int]], start: int, *, without: int) -> set[int]:
    reached, todo = {start}, [start]
    while todo:
        for other in neighbours.get(todo.pop(), set()) - reached - {without}:
            reached.add(other)
            todo.append(other)
    return reached


def later_than_all(now: datetime, links: Iterable[datetime | None]) -> datetime:
    """The time of an un-merge: a link whose clock was ahead must not outlive it."""
    return max([now, *(at + _TICK for at in links if at is not None)])
