r"""Regular expressions of conditions: the part of RE2's syntax that every back end reads alike.

Literals, `.` (any character, a line's end too), `^` and `$` (the text's ends), groups `( )` and
`(?: )`, `|`, classes such as `[a-z_]` and `[^@]`, the escapes `\d \w \s \D \W \S` (of ASCII),
`\n \r \t` and a backslash before a mark, the repetitions `* + ? {2} {2,} {2,5}`, lazy ones too
(which is the same where the question is only whether anything matches), and `(?i)` at the very
beginning: the letters A to Z in either case, no others. A pattern is searched for anywhere in the
text.

In memory it runs as in automata.py. The engines get what the parser understood, written out in
their own dialect (`re2`, `postgres`).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

from domain.errors import Rejected
from domain.limits import MAX_PATTERN_CHARS, MAX_PATTERN_REPEAT, MAX_PATTERN_SIZE

_LAST = 0x10FFFF
_LONGEST_COUNT = 4  # digits
Ranges: TypeAlias = tuple[tuple[int, int], ...]
_DIGIT: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
_KNOWN = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
_CONTROLS = {"n": 10, "r": 13, "t": 9}


class Characters(NamedTuple):
    ranges: Ranges
    negated: bool = False

    def has(self, character: str) -> bool:
        code = ord(character)
        return any(low <= code <= high for low, high in self.ranges) != self.negated


class Edge(NamedTuple):
    """Of the text: its start or its end."""

    mark: Literal["^", "$"]


_EDGES = {"^": Edge("^"), "$": Edge("$")}


class Sequence(NamedTuple):
    parts: "tuple[Node, ...]"


class Choice(NamedTuple):
    branches: "tuple[Node, ...]"


class Repeat(NamedTuple):
    """`most` None: as often as there is."""

    part: "Node"
    least: int
    most: int | None


Node: TypeAlias = Characters | Edge | Sequence | Choice | Repeat


def check_pattern(pattern: str, field: str) -> None:
    """Raises Rejected."""
    if not 1 <= len(pattern) <= MAX_PATTERN_CHARS:
        raise Rejected(field, f"must have 1 to {MAX_PATTERN_CHARS} characters")
    try:
        size = _size(parsed(pattern))
    except PatternError as error:
        raise Rejected(field, f"is no pattern that can be asked for: {error}") from None
    if size > MAX_PATTERN_SIZE:
        issue = f"comes to {size} characters and more with its repetitions written out;"
        raise Rejected(field, f"{issue} at most {MAX_PATTERN_SIZE}")


class PatternError(ValueError):
    """Says what is wrong with a pattern, and at which character of it."""


@lru_cache(maxsize=256)
def parsed(pattern: str) -> Node:
    """Raises PatternError."""
    folded = pattern.startswith("(?i)")
    parser = _Parser(pattern, 4 if folded else 0, folded=folded)
    node = parser.choice()
    if parser.at < len(pattern):
        raise parser.wrong("`)` that nothing opens")
    return node


def _size(node: Node) -> int:
    match node:
        case Sequence(parts) | Choice(parts):
            return 1 + sum(map(_size, parts))
        case Repeat(part, least, most):
            return _size(part) * max(least + 1 if most is None else most, 1)
        case _:
            return 1


class _Parser:
    def __init__(self, pattern: str, at: int, *, folded: bool) -> None:
        self.at = at
        self._pattern = pattern
        self._folded = folded

    def wrong(self, what: str) -> PatternError:
        return PatternError(f"{what}, at character {self.at + 1}")

    def _next(self, count: int = 1) -> str:
        return self._pattern[self.at : self.at + count]

    def _taken(self, text: str) -> bool:
        if self._pattern.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def choice(self) -> Node:
        branches = [self._sequence()]
        while self._taken("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else Choice(tuple(branches))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._next() not in {"", "|", ")"}:
            parts.append(self._repeated())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self) -> Node:
        began = self._next()
        if began in {"*", "+", "?"} or (began == "{" and self._next(2)[1:].isdecimal()):
            raise self.wrong(f"`{began}` has nothing before it to repeat")
        part = self._one()
        times = self._times()
        if times is None:
            return part
        if isinstance(part, Edge):
            raise self.wrong("an end of the text is not repeated")
        self._taken("?")  # lazy
        if self._next() in {"*", "+", "?"} or (self._next() == "{" and self._times() is not None):
            raise self.wrong("one repetition after another; possessive ones are not known")
        return Repeat(part, *times)

    def _times(self) -> tuple[int, int | None] | None:
        for mark, times in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._taken(mark):
                return times
        if not self._taken("{"):
            return None
        end = self._pattern.find("}", self.at)
        low, comma, high = self._pattern[self.at : max(end, self.at)].partition(",")
        if not _is_count(low) or not (high == "" or _is_count(high)):
            raise self.wrong("`{` begins no repetition such as {2,5}; for the mark write \\{")
        self.at = end + 1
        least, most = int(low), int(high) if high else (None if comma else int(low))
        if max(least, most or 0) > MAX_PATTERN_REPEAT or (most is not None and most < least):
            raise self.wrong(
                f"a repetition is of 0 to {MAX_PATTERN_REPEAT}, the lower number first"
            )
        return least, most

    def _one(self) -> Node:
        mark = self._next()
        if mark == "(":
            return self._group()
        if mark == "[":
            return self._class()
        if mark == "\\":
            ranges, negated = self._escaped()
            return Characters(self._both_cases(ranges), negated)
        self.at += 1
        if mark == ".":
            return Characters((), negated=True)
        if mark in _EDGES:
            return _EDGES[mark]
        return Characters(self._both_cases(self._literal(mark)))

    def _literal(self, character: str) -> Ranges:
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise self.wrong("a character that no text has")
        return ((ord(character), ord(character)),)

    def _group(self) -> Node:
        self.at += 1
        if self._next() == "?" and not self._taken("?:"):
            issue = (
                "`(?` begins something else than (?:; lookarounds, names and flags are not known"
            )
            raise self.wrong(f"{issue}, but for (?i) at the very beginning")
        inner = self.choice()
        if not self._taken(")"):
            raise self.wrong("a `)` is missing")
        return inner

    def _escaped(self) -> tuple[Ranges, bool]:
        letter = self._next(2)[1:]
        if letter.lower() in _KNOWN:
            self.at += 2
            return _KNOWN[letter.lower()], letter.isupper()
        if letter in _CONTROLS:
            self.at += 2
            return ((_CONTROLS[letter], _CONTROLS[letter]),), False
        if not letter or not letter.isascii() or letter.isalnum() or _is_control(letter):
            raise self.wrong(f"`\\{letter}` is none of \\d \\w \\s \\D \\W \\S \\n \\r \\t")
        self.at += 2
        return self._literal(letter), False

    def _class(self) -> Node:
        self.at += 1
        negated = self._taken("^")
        ranges: list[tuple[int, int]] = []
        while not self._taken("]"):
            ranges += self._member()
        if not ranges:
            raise self.wrong("an empty class; for the mark write \\]")
        return Characters(self._both_cases(tuple(ranges)), negated)

    def _member(self) -> Ranges:
        low, is_single = self._of_class()
        if self._next() != "-" or self._next(2) == "-]":
            return low
        self.at += 1
        high, ends_single = self._of_class()
        if not is_single or not ends_single or high[0][0] < low[0][0]:
            raise self.wrong("a range in a class goes from one character up to another")
        return ((low[0][0], high[0][0]),)

    def _of_class(self) -> tuple[Ranges, bool]:
        mark = self._next()
        if mark == "":
            raise self.wrong("a `]` is missing")
        if mark == "\\":
            ranges, negated = self._escaped()
            return (
                (_rest(ranges), False) if negated else (ranges, len(ranges) == 1 and _one(ranges))
            )
        if mark == "[" or (mark in "&|~-" and self._next(2) == mark * 2):
            raise self.wrong(f"`{mark}` in a class is written \\{mark}")
        self.at += 1
        return self._literal(mark), True

    def _both_cases(self, ranges: Ranges) -> Ranges:
        if not self._folded:
            return ranges
        found = list(ranges)
        for low, high in ranges:
            for first, last, shift in ((65, 90, 32), (97, 122, -32)):
                if max(low, first) <= min(high, last):
                    found.append((max(low, first) + shift, min(high, last) + shift))
        return tuple(found)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_COUNT


def _is_control(character: str) -> bool:
    return character < " " or character == "\x7f"


def _one(ranges: Ranges) -> bool:
    return ranges[0][0] == ranges[0][1]


def _rest(ranges: Ranges) -> Ranges:
    """All other characters."""
    found, at = [], 0
    for low, high in sorted(ranges):
        if at < low:
            found.append((at, low - 1))
        at = high + 1
    return (*found, (at, _LAST))


# --- for the engines -------------------------------------------------------------------------


def re2(pattern: str) -> str:
    """As ClickHouse reads it, where `.` is any character."""
    return _written(parsed(pattern), lambda code: f"\\x{{{code:x}}}", 0)


def postgres(pattern: str) -> str:
    """As an advanced regular expression."""
    return _written(parsed(pattern), lambda code: f"\\U{code:08x}", 1)


def _written(  # noqa: PLR0911  one return for each kind of node
    node: Node, escape: Callable[[int], str], least_code: int
) -> str:
    match node:
        case Edge(mark):
            return mark
        case Sequence(parts):
            return f"(?:{''.join(_written(one, escape, least_code) for one in parts)})"
        case Choice(branches):
            return f"(?:{'|'.join(_written(one, escape, least_code) for one in branches)})"
        case Repeat(part, least, most):
            times = f"{{{least},{'' if most is None else most}}}"
            return f"(?:{_written(part, escape, least_code)}){times}"
        case Characters((), _):
            return "."
        case Characters(ranges, negated):
            if len(ranges) == 1 and _one(ranges) and not negated:
                return _plain(chr(ranges[0][0]), escape)
            pairs = [(max(low, least_code), high) for low, high in ranges]
            inner = "".join(f"{escape(low)}-{escape(high)}" for low, high in pairs)
            return f"[{'^' if negated else ''}{inner}]"


def _plain(character: str, escape: Callable[[int], str]) -> str:
    if _is_control(character):
        return escape(ord(character))
    is_mark = character.isascii() and not character.isalnum() and character not in "_ "
    return f"\\{character}" if is_mark else character
