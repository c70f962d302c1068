"""Formulas over metrics: `orders / visits * 100`.

    sum     = product , { ( "+" | "-" ) , product } ;
    product = one , { ( "*" | "/" ) , one } ;
    one     = number | name | "-" , one | "(" , sum , ")" ;

Arithmetic is that of doubles (IEEE 754). What has no value, is divided by zero or grows beyond the
largest double is nothing, and so is whatever is reckoned from it.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from domain.errors import Rejected
from domain.limits import MAX_FORMULA_CHARS, MAX_FORMULA_DEPTH

_WORD = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z_][A-Za-z0-9_]*)|([-+*/()]))", re.ASCII)
_EXAMPLE = "such as `orders / visits * 100`"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

Value = float | None
Reckon = Callable[[Mapping[str, Value]], Value]


class Formula(NamedTuple):
    """`names`: of the metrics that it reckons with, in the order in which they stand there."""

    names: tuple[str, ...]
    reckon: Reckon


def parse(text: str, field: str = "formula") -> Formula:
    """Raises Rejected, which tells the place."""
    if not 1 <= len(text) <= MAX_FORMULA_CHARS:
        raise Rejected(field, f"must have 1 to {MAX_FORMULA_CHARS} characters, {_EXAMPLE}")
    return _Parser(text, field).whole()


class _Parser:
    def __init__(self, text: str, field: str) -> None:
        self._text = text
        self._field = field
        self._at = 0
        self._depth = 0
        self._names: dict[str, None] = {}

    def whole(self) -> Formula:
        reckon = self._sum()
        if self._next() is not None or self._text[self._at :].strip():
            raise self._wrong("+, -, *, / or the end")
        return Formula(tuple(self._names), reckon)

    def _sum(self) -> Reckon:
        found = self._product()
        while (sign := self._next()) in {"+", "-"}:
            self._take()
            found = _both(found, self._product(), _plus if sign == "+" else _minus)
        return found

    def _product(self) -> Reckon:
        found = self._one()
        while (sign := self._next()) in {"*", "/"}:
            self._take()
            found = _both(found, self._one(), _times if sign == "*" else _over)
        return found

    def _one(self) -> Reckon:
        word = self._next()
        if word is None or word in {"+", "*", "/", ")"}:
            raise self._wrong("a number, a name or (")
        self._deeper()
        self._take()
        if word == "-":
            found = _both(_number(0.0), self._one(), _minus)
        elif word == "(":
            found = self._sum()
            if self._next() != ")":
                raise self._wrong(")")
            self._take()
        elif word[0].isdigit():
            found = _number(self._constant(word))
        else:
            self._names[word] = None
            found = _named(word)
        self._depth -= 1
        return found

    def _constant(self, word: str) -> float:
        value = float(word)
        if not math.isfinite(value):
            issue = f"has a number that is too large, {word[:20]}...; take a smaller one"
            raise Rejected(self._field, issue)
        return value

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_FORMULA_DEPTH:
            raise Rejected(self._field, f"nests deeper than {MAX_FORMULA_DEPTH} levels")

    def _next(self) -> str | None:
        found = _WORD.match(self._text, self._at)
        return None if found is None else found[found.lastindex or 0]

    def _take(self) -> None:
        found = _WORD.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _wrong(self, expected: str) -> Rejected:
        rest = self._text[self._at :]
        column = self._at + len(rest) - len(rest.lstrip()) + 1
        return Rejected(self._field, f"column {column}: expected {expected}, {_EXAMPLE}")


def _number(value: float) -> Reckon:
    return lambda _: value


def _named(name: str) -> Reckon:
    return lambda values: values[name]


def _both(one: Reckon, other: Reckon, how: Callable[[float, float], Value]) -> Reckon:
    def reckon(values: Mapping[str, Value]) -> Value:
        left, right = one(values), other(values)
        if left is None or right is None:
            return None
        found = how(left, right)
        return found if found is not None and math.isfinite(found) else None

    return reckon


def _plus(one: float, other: float) -> float:
    return float(one) + other


def _minus(one: float, other: float) -> float:
    return float(one) - other


def _times(one: float, other: float) -> float:
    return float(one) * other


def _over(one: float, other: float) -> Value:
    return None if other == 0 else float(one) / other
