"""Conditions on an event's properties: what may be asked, and the answer in memory.

projections/conditions.py says the same to ClickHouse; tests hold the two against each other.

A property is a key of the event's JSON properties; `a.b` is the key `a.b` if the object has it
(null too), else `b` within `a`. A name of BUILT_IN is a fact about the event itself; no other name
begins with one `$`, so that a mistyped fact is not taken for a property. A property whose own name
begins with `$` is written with one more: `$$plan` is the key `$plan`.

Types are JSON's and are never converted: the number 5 is not the string "5". An absent property and
one that is null are the same: not set. Strings compare by code point, case and all. The negative
operators are the exact opposite of the positive ones, so they hold where the property is not set.
"""

import math
import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, get_args

import msgspec

from domain.conditions.automata import automaton
from domain.conditions.dates import ABSOLUTE, RELATIVE, check_date, lies_in, span
from domain.conditions.patterns import check_pattern
from domain.errors import Rejected
from domain.json_objects import TOO_BIG
from domain.limits import MAX_KEY_CHARS, MAX_NUMBER, MAX_WHERE, MAX_WHERE_CHARS, MAX_WHERE_LIST
from domain.nearest import told

Operator = Literal[
    "equals",  # a string, a number, true or false
    "not_equals",
    "in",  # a list of those
    "not_in",
    "contains",  # strings
    "not_contains",
    "starts_with",
    "ends_with",
    "greater",  # numbers
    "greater_or_equal",
    "less",
    "less_or_equal",
    "between",  # [low, high], both included
    "matches",  # a pattern: domain/conditions/patterns.py
    "not_matches",
    "before",  # a date or a time: domain/conditions/dates.py
    "after",
    "on",
    "in_last",  # a length of time such as "14 days"
    "not_in_last",
    "in_next",
    "more_than_ago",
    "more_than_ahead",
    "is_set",  # no value
    "is_not_set",
]
OPPOSITES: dict[str, Operator] = {
    "not_equals": "equals",
    "not_in": "in",
    "not_contains": "contains",
    "not_matches": "matches",
    "not_in_last": "in_last",
    "is_not_set": "is_set",
}
BUILT_IN = (
    "$event",
    "$kind",
    "$source",
    "$message_id",
    "$distinct_id",
    "$user_id",
    "$anonymous_id",
    "$country",
    "$browser",
    "$os",
    "$device",
)
# Facts are neither numbers nor dates.
_OF_NUMBERS = ("greater", "greater_or_equal", "less", "less_or_equal", "between")
_OF_DATES = (*ABSOLUTE, *RELATIVE, "not_in_last")


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    property: str
    operator: Operator
    value: Any = None


def check_all(conditions: tuple[Where, ...], field: str = "where") -> None:
    """Raises Rejected, naming the field."""
    if len(conditions) > MAX_WHERE:
        raise Rejected(field, f"at most {MAX_WHERE} conditions")
    for place, where in enumerate(conditions):
        check(where, f"{field}[{place}]")


def check(where: Where, field: str) -> None:
    check_property(where.property, f"{field}.property")
    if where.operator not in get_args(Operator):
        raise Rejected(f"{field}.operator", f"must be one of {', '.join(get_args(Operator))}")
    is_fact = where.property in BUILT_IN
    if is_fact and where.operator in (*_OF_NUMBERS, *_OF_DATES):
        kind = "numbers" if where.operator in _OF_NUMBERS else "dates"
        issue = f"compares {kind}, and {where.property} is text"
        raise Rejected(f"{field}.operator", issue)
    _check_value(OPPOSITES.get(where.operator, where.operator), where.value, f"{field}.value")
    if is_fact and where.value is not None:
        _check_text(where, f"{field}.value")


def check_property(name: str, field: str) -> None:
    if not name or len(name) > MAX_KEY_CHARS:
        raise Rejected(field, f"must have 1 to {MAX_KEY_CHARS} characters")
    if name.startswith("$") and not name.startswith("$$") and name not in BUILT_IN:
        hint = f"{told(BUILT_IN, name)}. A property of that name is `${name}`"
        raise Rejected(field, f"is no fact of an event{hint}")


def _check_text(where: Where, field: str) -> None:
    """What a fact is compared with: anything else would never hold."""
    values = where.value if isinstance(where.value, list | tuple) else [where.value]
    if not all(isinstance(value, str) for value in values):
        raise Rejected(field, f"must be text, as {where.property} is")
    if "" in values:
        raise Rejected(field, "is empty text, which no fact is; ask with is_not_set")


def _check_value(name: Operator, value: Any, field: str) -> None:  # noqa: C901, PLR0912  one case for each kind
    match name:
        case "between":
            _check_pair(value, field)
        case "matches":
            if not isinstance(value, str):
                raise Rejected(field, "must be a pattern, such as `^[a-z]+@acme\\.com$`")
            check_pattern(value, field)
        case name if name in _OF_DATES:
            check_date(name, value, field)
        case "equals":
            _check_scalar(value, field)
        case "in":
            _check_list(value, field)
        case "contains" | "starts_with" | "ends_with":
            if not isinstance(value, str) or not 1 <= len(value) <= MAX_WHERE_CHARS:
                raise Rejected(field, f"must be a string of 1 to {MAX_WHERE_CHARS} characters")
        case "is_set":
            if value is not None:
                raise Rejected(field, "must be left out")
        case _:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise Rejected(field, "must be a number")
            _check_number(value, field, "compare with one within these")


def _check_pair(value: Any, field: str) -> None:
    if not isinstance(value, list | tuple) or len(value) != len(("low", "high")):
        raise Rejected(field, "must be a list of two numbers: the lowest and the highest")
    for place, one in enumerate(value):
        _check_value("greater", one, f"{field}[{place}]")
    if value[1] < value[0]:
        raise Rejected(field, "must have the lower number first")


def _check_number(value: float, field: str, mend: str = "send it as a string") -> None:
    """As of what is sent: a rounded number would hold for another one."""
    if not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise Rejected(field, f"{TOO_BIG}, which cannot be kept exactly; {mend}")


def _check_list(value: Any, field: str) -> None:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_WHERE_LIST:
        raise Rejected(field, f"must be a list of 1 to {MAX_WHERE_LIST} values")
    for place, one in enumerate(value):
        _check_scalar(one, f"{field}[{place}]")


def _check_scalar(value: Any, field: str) -> None:
    if not isinstance(value, str | int | float):
        raise Rejected(field, "must be a string, a number, true or false")
    if not isinstance(value, str):
        _check_number(value, field)
    elif len(value) > MAX_WHERE_CHARS:
        raise Rejected(field, f"at most {MAX_WHERE_CHARS} characters")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def matches(
    where: Where,
    properties: Mapping[str, Any],
    facts: Mapping[str, str],
    now: datetime | None = None,
) -> bool:
    """`properties` is the decoded JSON, `facts` those of BUILT_IN ("" for one not known). `now` is
    what relative dates are reckoned from; without it one raises ValueError.
    """
    if where.operator in OPPOSITES:
        positive = Where(where.property, OPPOSITES[where.operator], where.value)
        return not matches(positive, properties, facts, now)
    found = lookup(where.property, properties, facts)
    if found is None:
        return False
    if where.operator in _OF_DATES:
        return lies_in(_span(where.operator, where.value), found, now)
    return _holds(where.operator, found, where.value)


_span = lru_cache(maxsize=1024)(span)


def lookup(name: str, properties: Mapping[str, Any], facts: Mapping[str, str]) -> Any:
    """None: not set."""
    if name in BUILT_IN:
        return facts.get(name) or None
    name = key_of(name)
    if name in properties:
        return properties[name]
    found: Any = properties
    for key in name.split("."):
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def key_of(name: str) -> str:
    """The key that a name means which is no fact's."""
    return name.removeprefix("$") if name.startswith("$$") else name


def _holds(name: Operator, found: Any, value: Any) -> bool:  # noqa: PLR0911  one for each kind
    match name:
        case "is_set":
            return True
        case "equals":
            return _equal(found, value)
        case "in":
            return any(_equal(found, one) for one in value)
        case "contains" | "starts_with" | "ends_with":
            return isinstance(found, str) and _TEXT[name](found, value)
        case "matches":
            return isinstance(found, str) and automaton(value).found_in(found)
        case "between":
            return _is_number(found) and float(value[0]) <= float(found) <= float(value[1])
        case _:
            return _is_number(found) and _NUMBER[name](float(found), float(value))


def _equal(found: Any, value: Any) -> bool:
    if _is_number(found) and _is_number(value):
        return float(found) == float(value)
    return type(found) is type(value) and bool(found == value)


_TEXT: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "starts_with": lambda text, part: text.startswith(part),
    "ends_with": lambda text, part: text.endswith(part),
}
_NUMBER: dict[str, Callable[[float, float], bool]] = {
    "greater": operator.gt,
    "greater_or_equal": operator.ge,
    "less": operator.lt,
    "less_or_equal": operator.le,
}
