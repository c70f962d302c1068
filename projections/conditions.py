"""The conditions of domain/conditions.py as ClickHouse SQL with bound parameters."""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from domain.conditions import BUILT_IN, OPPOSITES, Where, key_of
from domain.conditions.dates import FORM, SECONDS, Span, is_of_dates, micros_of, span
from domain.conditions.patterns import re2

_COMPARISONS = {"greater": ">", "greater_or_equal": ">=", "less": "<", "less_or_equal": "<="}
_PLAIN = re.compile(r"[A-Za-z0-9 _.:@+-]+", re.ASCII)
_MAX_SEARCHED = 200  # the engine's limit is 255
_SEARCHES = {
    "contains": "position({text}, {value}) > 0",
    "starts_with": "startsWith({text}, {value})",
    "ends_with": "endsWith({text}, {value})",
}


class Parameters(dict[str, object]):
    """Collects values, named prefix0, prefix1, ..., and gives back what stands for each in SQL, for
    the same value the same. `now`: what relative dates are reckoned from; None: the engine's clock.
    """

    def __init__(self, prefix: str = "p", *, now: datetime | None = None) -> None:
        super().__init__()
        self._prefix = prefix
        self._now = now
        self._known: dict[tuple[str, str], str] = {}

    @property
    def now(self) -> str:
        """Microseconds since 1970."""
        if self._now is None:
            return "toUnixTimestamp64Micro(now64(6, 'UTC'))"
        return f"toInt64({micros_of(self._now):d})"

    def text(self, value: str) -> str:
        return self._bound(value, "String")

    def number(self, value: float) -> str:
        """By its bits: the engine reads a decimal fraction fast rather than exactly."""
        bits = int.from_bytes(struct.pack(">d", float(value) + 0.0), "big")
        return f"reinterpretAsFloat64({self._bound(bits, 'UInt64')})"

    def typed(self, value: object, kind: str) -> str:
        """`kind` is a type of the engine; what the value is is between the two."""
        return self._bound(value, kind)

    def _bound(self, value: object, kind: str) -> str:
        key = kind, repr(value)
        if key not in self._known:
            name = f"{self._prefix}{len(self)}"
            self[name] = value
            self._known[key] = f"{{{name}:{kind}}}"
        return self._known[key]


def column(name: str) -> str | None:
    """The column that holds a built-in fact; None for a property."""
    return name.removeprefix("$") if name in BUILT_IN else None


def columns(names: Iterable[str]) -> set[str]:
    """Where these facts and properties are."""
    return {column(name) or "properties" for name in names}


def raw(name: str, parameters: Parameters) -> str:
    """The JSON text of a property; '' where there is none."""
    name = key_of(name)
    whole = f"JSONExtractRaw(properties, {parameters.text(name)})"
    if "." not in name:
        return whole
    path = ", ".join(parameters.text(key) for key in name.split("."))
    return f"if({whole} != '', {whole}, JSONExtractRaw(properties, {path}))"


def number_of(name: str, parameters: Parameters) -> str:
    """A property's number; NULL where it is none."""
    json = raw(name, parameters)
    return f"if({is_number(json)}, JSONExtractFloat({json}), NULL)"


def group_key(name: str, parameters: Parameters) -> str:
    """What to group rows by: cheap, and `typed` makes of it what tells values apart."""
    return column(name) or raw(name, parameters)


def typed(name: str, key: str) -> str:
    """Of a group's key, text that is the same where the values are: of a string a quotation mark
    and the string, of a number its shortest form, of all else the JSON; NULL where not set.
    """
    if column(name) is not None:
        return f"if({key} = '', NULL, concat('\"', {key}))"
    # Minus zero is zero: adding zero makes it so.
    return (
        f"multiIf({key} IN ('', 'null'), NULL,"
        f" startsWith({key}, '\"'), concat('\"', JSONExtractString({key})),"
        f" {is_number(key)}, toString(JSONExtractFloat({key}) + 0), {key})"
    )


def value_of(text: str) -> Any:
    """The value that `typed` wrote; a number that is whole is an int."""
    if text.startswith('"'):
        return text[1:]
    value = msgspec.json.decode(text)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def all_of(conditions: Iterable[Where], parameters: Parameters) -> list[str]:
    return [_condition(where, parameters) for where in conditions]


def happened(event: str | None, where: Iterable[Where], parameters: Parameters) -> str:
    """That it is this event, or any, and all conditions hold."""
    conditions = all_of(where, parameters)
    if event is not None:
        conditions.insert(0, f"event = {parameters.text(event)}")
    return f"({' AND '.join(conditions) or '1'})"


def _condition(where: Where, parameters: Parameters) -> str:
    if where.operator in OPPOSITES:
        positive = Where(where.property, OPPOSITES[where.operator], where.value)
        return f"NOT {_condition(positive, parameters)}"
    held = column(where.property)
    if held is not None:
        return _on_column(where, held, parameters)
    return _on_json(where, raw(where.property, parameters), parameters)


def _on_column(where: Where, held: str, parameters: Parameters) -> str:
    """Columns hold strings, and '' where the fact is not known."""
    match where.operator:
        case "is_set":
            return f"({held} != '')"
        case "equals" | "in":
            values = where.value if where.operator == "in" else [where.value]
            return f"({held} IN ({', '.join(map(parameters.text, values))}))"
        case "matches":
            return f"({held} != '' AND match({held}, {parameters.text(re2(where.value))}))"
        case operator:  # none that compares numbers: domain/conditions.py
            value = parameters.text(where.value)
            return f"({_SEARCHES[operator].format(text=held, value=value)})"


def _on_json(  # noqa: PLR0911  one return for each kind
    where: Where, json: str, parameters: Parameters
) -> str:
    match where.operator:
        case "is_set":
            return f"({json} NOT IN ('', 'null'))"
        case "equals" | "in":
            values = where.value if where.operator == "in" else [where.value]
            return f"({' OR '.join(_one_of(json, values, parameters))})"
        case operator if operator in _SEARCHES:
            value = parameters.text(where.value)
            found = _SEARCHES[operator].format(text=f"JSONExtractString({json})", value=value)
            return f"(startsWith({json}, '\"') AND {found})"
        case "matches":
            found = f"match(JSONExtractString({json}), {parameters.text(re2(where.value))})"
            return f"(startsWith({json}, '\"') AND {found})"
        case "between":
            low, high = map(parameters.number, where.value)
            return f"({is_number(json)} AND JSONExtractFloat({json}) BETWEEN {low} AND {high})"
        case operator if is_of_dates(operator):
            return _in_span(json, span(operator, where.value), parameters)
        case operator:
            value = parameters.number(where.value)
            return (
                f"({is_number(json)} AND JSONExtractFloat({json}) {_COMPARISONS[operator]} {value})"
            )


def _one_of(json: str, values: Sequence[Any], parameters: Parameters) -> Iterator[str]:
    """One test per type of value that is there."""
    if any(isinstance(value, bool) for value in values):
        texts = {"'true'" if value else "'false'" for value in values if isinstance(value, bool)}
        yield f"{json} IN ({', '.join(sorted(texts))})"
    strings = [value for value in values if isinstance(value, str)]
    if strings and all(map(_PLAIN.fullmatch, strings)):
        # The engine has parsed what `json` is and written it again: plain text is as it stands.
        found = ", ".join(parameters.text(f'"{value}"') for value in strings)
        yield f"({_may_say(strings, parameters)}{json} IN ({found}))"
    elif strings:
        found = f"JSONExtractString({json}) IN ({', '.join(map(parameters.text, strings))})"
        yield f"(startsWith({json}, '\"') AND {found})"
    numbers = [
        parameters.number(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if numbers:
        # IN compares bits, and minus zero has others than zero; adding zero makes it zero.
        found = f"JSONExtractFloat({json}) + 0 IN ({', '.join(numbers)})"
        yield f"({is_number(json)} AND {found})"


def _may_say(wanted: Sequence[str], parameters: Parameters) -> str:
    """A cheap look at the whole text, which spares most rows from being parsed: in JSON plain
    characters stand as themselves, or as escapes that begin with a backslash and a u.
    """
    if len(wanted) > _MAX_SEARCHED:
        return ""
    searched = ", ".join(map(parameters.text, wanted))
    return f"multiSearchAny(properties, ['\\\\u', {searched}]) AND "


def is_number(json: str) -> str:
    return f"(ascii({json}) BETWEEN 45 AND 57)"  # begins with a digit or a minus


def _in_span(json: str, wanted: Span, parameters: Parameters) -> str:
    """As domain/conditions/dates.py reads a date."""
    at = _instant(json, parameters)
    since = f"{parameters.now} + " if wanted.is_relative else ""
    low, high = wanted.low, wanted.high
    if low is None or high is None:
        end = f">= {since}toInt64({low:d})" if low is not None else f"< {since}toInt64({high:d})"
        return f"ifNull({at} {end}, 0)"
    return f"ifNull({at} BETWEEN {since}toInt64({low:d}) AND {since}toInt64({high - 1:d}), 0)"


def _instant(json: str, parameters: Parameters) -> str:
    """Microseconds since 1970; NULL for what is no date."""
    groups = f"extractGroups(JSONExtractString({json}), {parameters.text(FORM)})"
    numbers = [f"toInt64OrZero({groups}[{place}])" for place in range(1, 9)]
    _, hour, minute, second, _, _, hours, minutes = numbers
    seconds = (
        f"toInt64(toInt32(toDate32OrNull({groups}[1]))) * 86400"
        f" + {hour} * 3600 + {minute} * 60 + {second}"
        f" + if({groups}[6] = '-', 1, -1) * ({hours} * 3600 + {minutes} * 60)"
    )
    fraction = f"toInt64OrZero(substring(concat({groups}[5], '000000'), 1, 6))"
    number = f"JSONExtractFloat({json})"
    in_range = f"{is_number(json)} AND {number} >= {SECONDS[0]} AND {number} < {SECONDS[1]}"
    return (
        f"multiIf(startsWith({json}, '\"'), ({seconds}) * 1000000 + {fraction},"
        f" {in_range}, toInt64(floor({number} * 1000000.)), NULL)"
    )
