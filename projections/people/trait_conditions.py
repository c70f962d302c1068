"""The conditions of domain/conditions.py on traits: as SQL over persons.traits.

Traits are jsonb, and NULL for a person without any. There are no facts as events have them.
"""

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Date,
    Float,
    Numeric,
    Text,
    and_,
    case,
    cast,
    extract,
    false,
    func,
    literal,
    not_,
    null,
    or_,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement

from domain.conditions import BUILT_IN, OPPOSITES, Where, check_all, key_of
from domain.conditions.dates import FORM, SECONDS, Span, is_of_dates, micros_of, span
from domain.conditions.patterns import postgres
from domain.errors import Rejected

_encode = msgspec.json.Encoder().encode
_LEAST = "2.5e-324"  # what lies nearer to 0 is 0 as a double
_Sql = ColumnElement[Any]


def check_traits(conditions: tuple[Where, ...]) -> None:
    """Raises Rejected, naming the field."""
    check_all(conditions)
    for place, where in enumerate(conditions):
        if where.property in BUILT_IN:
            issue = f"is a fact of an event; a trait of that name is `${where.property}`"
            raise Rejected(f"where[{place}].property", issue)


def all_of(conditions: Iterable[Where], traits: _Sql, *, now: datetime | None = None) -> list[_Sql]:
    """`now`: what relative dates are reckoned from; None: the database's clock."""
    return [_condition(where, traits, now) for where in conditions]


def _condition(where: Where, traits: _Sql, now: datetime | None) -> _Sql:
    if where.operator in OPPOSITES:
        positive = Where(where.property, OPPOSITES[where.operator], where.value)
        return not_(_condition(positive, traits, now))
    found = _value(where.property, traits)
    if is_of_dates(where.operator):
        held = _in_span(found, span(where.operator, where.value), now)
    else:
        held = _holds(where, found)
    return func.coalesce(held, false())


def _value(name: str, traits: _Sql) -> _Sql:
    """The trait, NULL where there is none."""
    name = key_of(name)
    if "\0" in name:  # which Postgres can't be asked for, and no trait's name has
        return null().cast(JSONB)
    whole = _member(traits, name)
    if "." not in name:
        return whole
    inner = traits
    for key in name.split("."):
        inner = _member(inner, key)
    return case((func.jsonb_exists(traits, literal(name, Text())), whole), else_=inner)


def _member(of: _Sql, key: str) -> _Sql:
    """By a text key, so that an array has none."""
    return of.op("->", return_type=JSONB())(literal(key, Text()))


def _holds(where: Where, found: _Sql, /) -> _Sql:  # noqa: PLR0911  one for each kind
    match where.operator:
        case "is_set":
            return func.jsonb_typeof(found) != "null"
        case "equals":
            return _equal(found, where.value)
        case "in":
            return or_(*(_equal(found, value) for value in where.value))
        case "contains" | "starts_with" | "ends_with":
            return _searched(found, where.operator, where.value)
        case "matches":
            pattern = literal(postgres(where.value), Text())
            return and_(_is(found, "string"), _text(found).op("~", is_comparison=True)(pattern))
        case "between":
            low, high = (literal(float(one), Float(53)) for one in where.value)
            return and_(_is(found, "number"), _number(found) >= low, _number(found) <= high)
        case operator:
            compared = _COMPARED[operator](_number(found), literal(float(where.value), Float(53)))
            return and_(_is(found, "number"), compared)


def _equal(found: _Sql, value: Any) -> _Sql:
    match value:
        case bool():
            return found == cast(literal("true" if value else "false", Text()), JSONB)
        case str():
            if "\0" in value:
                return false()
            return found == cast(literal(_encode(value).decode(), Text()), JSONB)
        case _:
            number = literal(float(value), Float(53))
            return and_(_is(found, "number"), _number(found) == number)


def _searched(found: _Sql, operator: str, value: str) -> _Sql:
    if "\0" in value:
        return false()
    part = literal(value, Text())
    text = _text(found)
    match operator:
        case "contains":
            held = func.strpos(text, part) > 0
        case "starts_with":
            held = func.starts_with(text, part)
        case _:
            held = func.right(text, func.length(part)) == part
    return and_(_is(found, "string"), held)


def _is(found: _Sql, kind: str) -> _Sql:
    return func.jsonb_typeof(found) == kind


def _text(found: _Sql) -> _Sql:
    return found.op("#>>", return_type=Text())(cast(literal("{}", Text()), ARRAY(Text())))


def _number(found: _Sql) -> _Sql:
    """As a double; of what is no number NULL, and no error."""
    exact = case((_is(found, "number"), cast(_text(found), Numeric)))
    tiny = and_(exact != 0, func.abs(exact) < cast(literal(_LEAST, Text()), Numeric))
    return cast(case((tiny, literal(0, Numeric)), else_=exact), Float(53))


_COMPARED: dict[str, Any] = {
    "greater": lambda one, other: one > other,
    "greater_or_equal": lambda one, other: one >= other,
    "less": lambda one, other: one < other,
    "less_or_equal": lambda one, other: one <= other,
}


def _in_span(found: _Sql, wanted: Span, now: datetime | None) -> _Sql:
    at = _instant(found)
    since = _micros_now(now) if wanted.is_relative else literal(0, BigInteger)
    match wanted.low, wanted.high:
        case None, high:
            return at < since + high
        case low, None:
            return at >= since + low
        case low, high:
            return at.between(since + low, since + high - 1)


def _micros_now(now: datetime | None) -> _Sql:
    if now is not None:
        return literal(micros_of(now), BigInteger)
    return cast(extract("epoch", func.now()) * 1_000_000, BigInteger)


def _instant(found: _Sql) -> _Sql:
    """As domain/conditions/dates.py reads a date: microseconds since 1970; NULL: none."""
    text = case((_is(found, "string"), _text(found)))
    groups = func.regexp_match(text, literal(FORM, Text()), type_=ARRAY(Text()))
    day, *clock, fraction, sign, hours, minutes = (groups[place] for place in range(1, 9))
    hour, minute, second, hours, minutes = (
        func.coalesce(cast(one, BigInteger), 0) for one in (*clock, hours, minutes)
    )
    seconds = cast(cast(day, Date) - literal(date(1970, 1, 1), Date), BigInteger) * 86_400
    offset = case((sign == "-", literal(1, BigInteger)), else_=-1) * (hours * 3600 + minutes * 60)
    micros = cast(func.rpad(func.coalesce(fraction, ""), 6, "0"), BigInteger)
    told = (seconds + hour * 3600 + minute * 60 + second + offset) * 1_000_000 + micros
    number = _number(found)
    is_date = and_(_is(found, "number"), number >= SECONDS[0], number < SECONDS[1])
    counted = case((is_date, cast(func.floor(number * 1_000_000.0), BigInteger)))
    return func.coalesce(told, counted)
