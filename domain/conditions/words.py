"""The words of criteria as text: tokens with their places, and how names and values are written."""

import re
from typing import Literal, NamedTuple

import msgspec

from domain.conditions.properties import Operator
from domain.errors import Rejected

Kind = Literal["name", "quoted", "string", "date", "number", "mark", "end"]

# None of these words is read as a name, unless it stands in backticks.
KEYWORDS = frozenset(
    {"all", "and", "any", "at", "avg", "between", "count", "did", "exactly", "false", "first"}
    | {"for", "from", "in", "is", "max", "min", "not", "of", "on", "or", "over", "sample"}
    | {"stopped", "sum", "then", "to", "true", "where", "within"}
)
# The longer ones first.
OPERATORS: tuple[tuple[str, Operator], ...] = (
    ("!=", "not_equals"),
    (">=", "greater_or_equal"),
    ("<=", "less_or_equal"),
    ("=", "equals"),
    (">", "greater"),
    ("<", "less"),
    ("is not set", "is_not_set"),
    ("is set", "is_set"),
    ("not in last", "not_in_last"),
    ("in last", "in_last"),
    ("in next", "in_next"),
    ("not in", "not_in"),
    ("in", "in"),
    ("does not contain", "not_contains"),
    ("contains", "contains"),
    ("does not match", "not_matches"),
    ("matches", "matches"),
    ("starts with", "starts_with"),
    ("ends with", "ends_with"),
    ("between", "between"),
    ("before", "before"),
    ("after", "after"),
    ("on", "on"),
    ("more than", "more_than_ago"),  # or more_than_ahead, by the word at the end
)
FUNCTIONS = ("sum", "avg", "min", "max", "count distinct")
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<name>[^\W\d][\w$]*(?:\.[\w$]+)*|\$+[\w$]+(?:\.[\w$]+)*)
    |`(?P<quoted>(?:[^`]|``)+)`
    |(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")
    |(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]+(?:Z|[-+][0-9:]+)?)?)(?![\w.])
    |(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?![\w.])
    |(?P<mark>!=|>=|<=|[=<>()\[\],%])
    |(?P<end>$)
    )""",
    re.VERBOSE | re.DOTALL,
)
_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[-+][0-9:]+)?)?")
_DURATION = re.compile("(0|[1-9][0-9]*) (second|minute|hour|day|week)s?")
_PLAIN = re.compile(r"[^\W\d][\w$]*(?:\.[\w$]+)*|\$+[\w$]+(?:\.[\w$]+)*")
_SHOWN = 60  # characters of a line around the place
EXAMPLE = '`plan = "pro" and did purchase at least 3 times in 14 days`'


class Token(NamedTuple):
    """`text` of a quoted name or a string is what is in it. `at`: where it begins."""

    kind: Kind
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """Raises Rejected."""
    found: list[Token] = []
    at = 0
    while not found or found[-1].kind != "end":
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            begins = re.compile(r"\s*").match(text, at)
            raise wrong(text, begins.end() if begins else at, "a name, a value or a mark")
        found.append(_token(match))
        at = match.end()
    return found


def _token(match: re.Match[str]) -> Token:
    kind: Kind = match.lastgroup  # type: ignore[assignment]  # the groups are named as the kinds
    text = match[kind]
    if kind == "string":
        text = _decoded(match)
    elif kind == "quoted":
        text = text.replace("``", "`")
    begins = match.start(kind) - (kind == "quoted")
    return Token(kind, text, begins)


def _decoded(match: re.Match[str]) -> str:
    try:
        text = msgspec.json.decode(match["string"], type=str)
        text.encode()
    except (msgspec.DecodeError, UnicodeEncodeError):
        place = match.start("string")
        raise wrong(match.string, place, "text of whole Unicode characters") from None
    return text


def wrong(text: str, at: int, expected: str) -> Rejected:
    """With the line, the column and a caret below the place."""
    begins = text.rfind("\n", 0, at) + 1
    line = text[begins:].split("\n", 1)[0]
    first = max(0, at - begins - _SHOWN // 2)
    shown = line[first : first + _SHOWN].replace("\t", " ").replace("\r", " ")
    caret = " " * (at - begins - first) + "^"
    number = text.count("\n", 0, at) + 1
    return Rejected(
        "criteria",
        f"line {number}, column {at - begins + 1}: expected {expected}\n  {shown}\n  {caret}\n"
        f"such as {EXAMPLE}",
    )


def written_name(name: str) -> str:
    if _PLAIN.fullmatch(name) and name.lower() not in KEYWORDS:
        return name
    return f"`{name.replace('`', '``')}`"


def written_value(value: object) -> str:
    """Strings and numbers as JSON has them."""
    return msgspec.json.encode(value).decode()


def written_moment(given: str | int) -> str:
    is_plain = isinstance(given, str) and _DATE.fullmatch(given)
    return str(given) if is_plain else written_value(given)


def written_duration(given: str) -> str:
    return given if _DURATION.fullmatch(given) else written_value(given)
