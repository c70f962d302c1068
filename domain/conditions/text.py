"""Criteria as people write them: `parse` and `written` are the inverse of each other.

The grammar is in docs/analytics.md. Here it is a method for each of its rules.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from domain.conditions.properties import Operator, Where
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
    Step,
    Stopped,
    Times,
    Tree,
    Window,
    check_criteria,
)
from domain.conditions.words import FUNCTIONS, KEYWORDS, OPERATORS, Token, tokens, wrong
from domain.conditions.writing import written
from domain.errors import Rejected
from domain.limits import MAX_CRITERIA_CHARS, MAX_CRITERIA_DEPTH

_COMPARISONS = {"equals", "greater", "greater_or_equal", "less", "less_or_equal", "between"}
_DURATIONS = {"in_last", "not_in_last", "in_next"}
_NESTED = 2 * MAX_CRITERIA_DEPTH + 2  # brackets may be more than levels
_MOST_COUNTED = 10**9
T = TypeVar("T")
__all__ = ["parse", "written"]


def parse(text: str) -> Tree:
    """Raises Rejected: for what is not in the grammar with the place in the text, for what breaks a
    rule of the tree with the place in the tree.
    """
    if len(text) > MAX_CRITERIA_CHARS:
        raise Rejected("criteria", f"must have at most {MAX_CRITERIA_CHARS} characters")
    parser = _Parser(text)
    tree = parser.whole()
    check_criteria(tree)
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0
        # What follows these words, where a clause begins.
        self._clauses: dict[str, Callable[[], Tree]] = {
            "not": self._not,
            "(": self._brackets,
            "all (": self._of_all,
            "any (": self._of_any,
            "first did": self._first_did,
            "did": self._did,
            "stopped": self._stopped,
            "in segment": self._member,
            "sample": self._sample,
        }

    def whole(self) -> Tree:
        tree = self._any()
        if self._next.kind != "end":
            raise self._wrong("`and`, `or` or the end")
        return tree

    # --- tokens ------------------------------------------------------------------------------

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _wrong(self, expected: str) -> Rejected:
        return wrong(self._text, self._next.at, expected)

    def _taken(self, words: str) -> bool:
        """All of these words or marks, or none of them."""
        wanted = words.split()
        found = self._tokens[self._at : self._at + len(wanted)]
        if len(found) < len(wanted):
            return False
        for token, word in zip(found, wanted, strict=True):
            if token.kind not in {"name", "mark"} or token.text.lower() != word:
                return False
        self._at += len(wanted)
        return True

    def _need(self, words: str) -> None:
        if not self._taken(words):
            raise self._wrong(f"`{words}`")

    def _take(self) -> Token:
        """The end is never passed."""
        token = self._next
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _name(self, what: str) -> str:
        is_plain = self._next.kind == "name" and self._next.text.lower() not in KEYWORDS
        if is_plain or self._next.kind == "quoted":
            return self._take().text
        raise self._wrong(f"{what}; one that is a word of the grammar stands in backticks")

    def _string(self, what: str) -> str:
        if self._next.kind != "string":
            raise self._wrong(f'{what} in double quotes, such as "pro"')
        return self._take().text

    def _number(self) -> float:
        if self._next.kind != "number":
            raise self._wrong("a number")
        return self._numbered(self._take())

    def _numbered(self, token: Token) -> float:
        """An integer where it is written as one; msgspec tells 5 from 5.0."""
        try:
            found = msgspec.json.decode(token.text, type=int | float)
        except msgspec.DecodeError:
            raise wrong(self._text, token.at, "a number of ±2^53") from None
        return found

    def _count(self) -> int:
        at = self._next.at
        found = self._number()
        if not isinstance(found, int) or not 0 <= found <= _MOST_COUNTED:
            raise wrong(self._text, at, f"a whole number, 0 to {_MOST_COUNTED:,}")
        return found

    def _duration(self) -> str:
        if self._next.kind == "string":  # for what is spelt otherwise, `14days`
            return self._take().text
        if self._next.kind == "number":
            count, unit = self._count(), self._take()
            if unit.kind == "name":
                return f"{count} {unit.text}"
            raise wrong(self._text, unit.at, "minutes, hours, days or weeks")
        raise self._wrong("a length of time, such as 14 days")

    def _moment(self) -> str | int:
        if self._next.kind == "date":
            return self._take().text
        if self._next.kind == "number":
            at = self._next.at
            found = self._number()
            if isinstance(found, int):
                return found
            raise wrong(self._text, at, "a date or a time, such as 2026-01-31")
        return self._string("a date such as 2026-01-31, or a time")

    # --- and, or, not ------------------------------------------------------------------------

    def _any(self) -> Tree:
        parts = self._parts(self._all, "or")
        return parts[0] if len(parts) == 1 else AnyOf(conditions=parts)

    def _all(self) -> Tree:
        parts = self._parts(self._one, "and")
        return parts[0] if len(parts) == 1 else AllOf(conditions=parts)

    def _parts(self, one: Callable[[], T], word: str) -> tuple[T, ...]:
        parts = [one()]
        while self._taken(word):
            parts.append(one())
        return tuple(parts)

    def _one(self) -> Tree:
        self._depth += 1
        if self._depth > _NESTED:
            raise self._wrong(f"no more than {_NESTED} brackets and `not` within each other")
        try:
            return self._clause()
        finally:
            self._depth -= 1

    def _clause(self) -> Tree:
        for words, rule in self._clauses.items():
            if self._taken(words):
                return rule()
        for function in FUNCTIONS:
            if self._taken(f"{function} of"):
                return self._aggregate(function)
        name = self._name("a trait, `did`, `not` or `(`")
        operator, value = self._compared()
        return OfTrait(trait=name, operator=operator, value=value)

    def _not(self) -> Tree:
        return Not(condition=self._one())

    def _brackets(self) -> Tree:
        tree = self._any()
        self._need(")")
        return tree

    def _of_all(self) -> Tree:
        return AllOf(conditions=self._listed())

    def _of_any(self) -> Tree:
        return AnyOf(conditions=self._listed())

    def _listed(self) -> tuple[Tree, ...]:
        """As `all (a, b)`, for what `and` between them would not keep: one part, parts of parts."""
        parts = self._parts(self._any, ",")
        self._need(")")
        return parts

    # --- clauses -----------------------------------------------------------------------------

    def _did(self) -> Tree:
        step = self._step()
        if self._taken("then"):
            return self._sequence(step)
        return Did(event=step.event, where=step.where, times=self._times(), within=self._window())

    def _first_did(self) -> Tree:
        step = self._step()
        return FirstDid(event=step.event, where=step.where, within=self._window())

    def _stopped(self) -> Tree:
        step = self._step()
        self._need("for")
        return Stopped(event=step.event, where=step.where, last=self._duration())

    def _sequence(self, first: Step) -> Tree:
        followed = not self._taken("not")
        then = self._step()
        self._need("within")
        length = self._duration()
        window = self._window()
        return InSequence(first=first, then=then, within=length, followed=followed, window=window)

    def _aggregate(self, function: str) -> Tree:
        name = self._name("a property")
        self._need("over")
        step = self._step()
        at = self._next.at
        operator, value = self._compared()
        if operator not in _COMPARISONS:
            raise wrong(self._text, at, "=, >, >=, <, <= or between")
        given = {"function": function.replace(" ", "_"), "operator": operator, "value": value}
        return Aggregate(
            event=step.event, where=step.where, property=name, within=self._window(), **given
        )

    def _member(self) -> Tree:
        return Member(segment=self._string("the id of a segment"))

    def _sample(self) -> Tree:
        percent = self._number()
        self._need("%")
        return Sample(
            percent=percent, seed=self._take().text if self._next.kind == "string" else ""
        )

    def _step(self) -> Step:
        if self._taken("any event"):
            event = None
        elif self._next.kind == "string":
            event = self._take().text
        else:
            event = self._name("an event")
        if not self._taken("where"):
            return Step(event)
        self._need("(")
        conditions = self._parts(self._where, "and")
        self._need(")")
        return Step(event, conditions)

    def _where(self) -> Where:
        name = self._name("a property")
        operator, value = self._compared()
        return Where(name, operator, value)

    def _times(self) -> Times:
        for words in ("at least", "at most", "exactly"):
            if self._taken(words):
                count = self._count()
                if not self._taken("times"):
                    self._need("time")
                return Times(**{words.replace(" ", "_"): count})
        return Times(at_least=1)

    def _window(self) -> Window | None:
        if self._taken("in"):
            return Window(last=self._duration())
        if self._taken("from"):
            start = self._moment()
            self._need("to")
            return Window(start=start, to=self._moment())
        return None

    # --- comparisons -------------------------------------------------------------------------

    def _compared(self) -> tuple[Operator, Any]:
        for words, operator in OPERATORS:
            if self._taken(words):
                return self._valued(operator)
        raise self._wrong("an operator, such as =, contains, between or is set")

    def _valued(  # noqa: PLR0911  one return for each kind
        self, operator: Operator
    ) -> tuple[Operator, Any]:
        match operator:
            case "is_set" | "is_not_set":
                return operator, None
            case "in" | "not_in":
                return operator, self._list()
            case "between":
                low = self._number()
                self._need("and")
                return operator, [low, self._number()]
            case "before" | "after" | "on":
                return operator, self._moment()
            case "more_than_ago":
                length = self._duration()
                if self._taken("ahead"):
                    return "more_than_ahead", length
                self._need("ago")
                return operator, length
            case _ if operator in _DURATIONS:
                return operator, self._duration()
            case _:
                return operator, self._value()

    def _value(self) -> Any:
        if self._next.kind in {"string", "number"}:
            token = self._take()
            return token.text if token.kind == "string" else self._numbered(token)
        for word in ("true", "false"):
            if self._taken(word):
                return word == "true"
        raise self._wrong('a value: "text", a number, true or false')

    def _list(self) -> Sequence[Any]:
        self._need("(")
        values = self._parts(self._value, ",")
        self._need(")")
        return list(values)
