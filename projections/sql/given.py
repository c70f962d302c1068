"""Values of parameters: only those that their types can hold. The engine would make another value
of one that does not fit (300 of an Int8 is 44, February 30 is March 2).
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlglot import exp

from domain.errors import Rejected
from domain.moments import known_zone
from domain.sql import Scalar

_T = exp.DType
_WHOLE = re.compile(r"[-+]?[0-9]{1,20}", re.ASCII)
_BITS = {_T.TINYINT: 8, _T.SMALLINT: 16, _T.INT: 32, _T.BIGINT: 64}
_NATURAL_BITS = {_T.UTINYINT: 8, _T.USMALLINT: 16, _T.UINT: 32, _T.UBIGINT: 64}
_DAYS = {
    _T.DATE: (date(1970, 1, 1), date(2149, 6, 6)),
    _T.DATE32: (date(1900, 1, 1), date(2299, 12, 31)),
}
_SECONDS = 2**32  # of DateTime
_DIGITS = (10, 0)  # of a Decimal that does not say
_EXACT = Context(prec=200)


def held(kind: exp.DataType, value: Scalar | list[Scalar], field: str) -> Any:
    """What to bind for it. Raises Rejected."""
    if kind.this in {_T.MAP, _T.STRUCT} or _is_nested(kind):
        issue = "can't be a Map, a Tuple or a list of lists; give single values and lists of them"
        raise Rejected(field, issue)
    if kind.this is _T.ARRAY:
        if not isinstance(value, list):
            raise Rejected(field, "must be a list")
        (inner,) = kind.expressions
        return [_single(inner, one, f"{field}[{place}]") for place, one in enumerate(value)]
    if isinstance(value, list):
        raise Rejected(field, "must not be a list; its type is no Array(...)")
    return _single(kind, value, field)


def _is_nested(kind: exp.DataType) -> bool:
    return kind.this is _T.ARRAY and any(
        one.this in {_T.ARRAY, _T.MAP, _T.STRUCT} for one in kind.expressions
    )


def _single(kind: exp.DataType, value: Scalar, field: str) -> Any:
    if value is None:
        if kind.args.get("nullable"):
            return None
        raise Rejected(field, "is null, which a Nullable(...) takes only")
    try:
        return _READ[kind.this](kind, value)
    except _Wrong as wrong:
        raise Rejected(field, str(wrong)) from None


class _Wrong(ValueError):
    """What it must be."""


def _text(_: exp.DataType, value: Scalar) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be a string")
    return value


def _boolean(_: exp.DataType, value: Scalar) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be true or false")
    return value


def _whole(kind: exp.DataType, value: Scalar) -> int:
    bits = _BITS.get(kind.this)
    low, high = (
        (0, 2 ** _NATURAL_BITS[kind.this]) if bits is None else (-(2**bits // 2), 2**bits // 2)
    )
    issue = f"must be a whole number from {low} to {high - 1}"
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
        raise _Wrong(issue)
    return value


def _number(_: exp.DataType, value: Scalar) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong("must be a number")
    return value


def _decimal(kind: exp.DataType, value: Scalar) -> str:
    digits, places = (*map(_size, kind.expressions), *_DIGITS[len(kind.expressions) :])
    issue = f"must be a number with at most {places} decimals and {digits - places} digits before"
    try:
        found = Decimal("x" if isinstance(value, bool) else str(value))
    except InvalidOperation:
        raise _Wrong(issue) from None
    if not found.is_finite() or abs(found) >= 10 ** (digits - places):
        raise _Wrong(issue)
    if found != found.quantize(Decimal(1).scaleb(-places), context=_EXACT):
        raise _Wrong(issue)
    return f"{found:f}"


def _size(parameter: exp.Expr) -> int:
    return int(str(parameter.this.this))


def _day(kind: exp.DataType, value: Scalar) -> str:
    low, high = _DAYS[kind.this]
    issue = f"must be a date from {low} to {high}, such as 2026-01-31"
    try:
        day = date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise _Wrong(issue) from None
    if not low <= day <= high:
        raise _Wrong(issue)
    return day.isoformat()


def _time(kind: exp.DataType, value: Scalar) -> str | int:
    """Told in the zone of the type, as the engine reads it. Of a DateTime whole seconds."""
    issue = "must be a time such as 2026-01-31 12:00:00 or 2026-01-31T12:00:00+01:00"
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _SECONDS:
        return value
    try:
        at = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise _Wrong(issue) from None
    if at.tzinfo is not None:
        at = at.astimezone(_zone(kind)).replace(tzinfo=None)
    if kind.this is not _T.DATETIME64 and at.microsecond:
        raise _Wrong(f"{issue}; a DateTime has no fractions")
    if not _is_within(kind, at):
        raise _Wrong(f"{issue}, within the years of its type")
    return at.isoformat(sep=" ")


def _is_within(kind: exp.DataType, at: datetime) -> bool:
    if kind.this is _T.DATETIME64:
        return datetime(1900, 1, 1) <= at < datetime(2300, 1, 1)  # noqa: DTZ001  of its zone
    return 0 <= at.replace(tzinfo=UTC).timestamp() < _SECONDS


def _zone(kind: exp.DataType) -> ZoneInfo:
    named = [str(one.this.this) for one in kind.expressions if one.this.is_string]
    return ZoneInfo(known_zone(named[0])) if named else ZoneInfo("UTC")


def _uuid(_: exp.DataType, value: Scalar) -> str:
    try:
        return str(UUID(value if isinstance(value, str) else ""))
    except ValueError:
        raise _Wrong("must be a UUID") from None


_READ: dict[Any, Callable[[exp.DataType, Scalar], Any]] = {
    _T.TEXT: _text,
    _T.UUID: _uuid,
    _T.BOOLEAN: _boolean,
    **dict.fromkeys((*_BITS, *_NATURAL_BITS), _whole),
    _T.FLOAT: _number,
    _T.DOUBLE: _number,
    _T.DECIMAL: _decimal,
    **dict.fromkeys(_DAYS, _day),
    _T.DATETIME: _time,
    _T.TIMESTAMP: _time,
    _T.DATETIME64: _time,
}
