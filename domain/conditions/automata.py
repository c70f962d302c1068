"""Patterns in memory, as sets of states: none takes more than linear time."""

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from domain.conditions.patterns import (
    Characters,
    Choice,
    Edge,
    Node,
    Repeat,
    Sequence,
    parsed,
)

_MOST_KNOWN = 10_000  # steps of one automaton that are remembered
_States: TypeAlias = frozenset[int]


class Automaton:
    """A nondeterministic automaton; a state is its number."""

    def __init__(self, node: Node) -> None:
        self._steps: list[list[tuple[Characters, int]]] = []
        self._empty: list[list[tuple[str, int]]] = []
        self._start, self._accepting = self._state(), self._state()
        self._known: dict[tuple[_States, str], _States] = {}
        self._build(node, self._start, self._accepting)

    def found_in(self, text: str) -> bool:
        at = self._closed([self._start], "^" if text else "^$")
        for character in text:
            if self._accepting in at:
                return True
            at = self._after(at, character)
        return self._accepting in (self._closed(at, "$") if text else at)

    def _after(self, at: _States, character: str) -> _States:
        following = self._known.get((at, character))
        if following is None:
            reached = [to for one in at for of, to in self._steps[one] if of.has(character)]
            following = self._closed([*reached, self._start], "")
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[at, character] = following
        return following

    def _closed(self, states: Iterable[int], edges: str) -> _States:
        found = set(states)
        waiting = list(found)
        while waiting:
            for mark, to in self._empty[waiting.pop()]:
                if mark in edges and to not in found:
                    found.add(to)
                    waiting.append(to)
        return frozenset(found)

    def _state(self) -> int:
        self._steps.append([])
        self._empty.append([])
        return len(self._steps) - 1

    def _build(self, node: Node, begin: int, end: int) -> None:
        match node:
            case Characters():
                self._steps[begin].append((node, end))
            case Edge(mark):
                self._empty[begin].append((mark, end))
            case Sequence(parts):
                self._in_turn(parts, begin, end)
            case Choice(branches):
                for branch in branches:
                    self._build(branch, begin, end)
            case Repeat(part, least, most):
                self._in_turn((part,) * least, begin, between := self._state())
                self._further(part, between, end, None if most is None else most - least)

    def _in_turn(self, parts: tuple[Node, ...], begin: int, end: int) -> None:
        for part in parts:
            begin, before = self._state(), begin
            self._build(part, before, begin)
        self._empty[begin].append(("", end))

    def _further(self, part: Node, begin: int, end: int, most: int | None) -> None:
        self._empty[begin].append(("", end))
        if most is None:
            # A state of its own, so that going round does not pass through `begin`.
            around = self._state()
            self._empty[begin].append(("", around))
            self._build(part, around, around)
            self._empty[around].append(("", end))
            return
        for _ in range(most):
            begin, before = self._state(), begin
            self._build(part, before, begin)
            self._empty[begin].append(("", end))


@lru_cache(maxsize=256)
def automaton(pattern: str) -> Automaton:
    """Of a pattern that was checked."""
    return Automaton(parsed(pattern))
