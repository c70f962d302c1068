"""The types that a caller's SQL may name."""

import re

from sqlglot import exp

from domain.errors import Rejected
from projections.sql.parsing import refused

_T = exp.DType
_PLAIN = {
    _T.TEXT: "String",
    _T.UUID: "UUID",
    _T.BOOLEAN: "Bool",
    _T.TINYINT: "Int8",
    _T.SMALLINT: "Int16",
    _T.INT: "Int32",
    _T.BIGINT: "Int64",
    _T.UTINYINT: "UInt8",
    _T.USMALLINT: "UInt16",
    _T.UINT: "UInt32",
    _T.UBIGINT: "UInt64",
    _T.FLOAT: "Float32",
    _T.DOUBLE: "Float64",
    _T.DATE: "Date",
    _T.DATE32: "Date32",
    _T.DATETIME: "DateTime",
    _T.TIMESTAMP: "DateTime",
    _T.DATETIME64: "DateTime64",
    _T.DECIMAL: "Decimal",
}
_NESTED = {_T.ARRAY: "Array", _T.MAP: "Map", _T.STRUCT: "Tuple"}
_WITH_PARAMETERS = frozenset({"DateTime", "DateTime64", "Decimal"})
_ZONE = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
_WORD = re.compile(r"[A-Za-z]\w*", re.ASCII)
_NAMED = frozenset({*_PLAIN.values(), *_NESTED.values(), "Nullable"})
_TEXT = re.compile(r"[A-Za-z0-9_(), ]{1,200}")


def type_name(node: exp.DataType) -> str:
    """As the engine spells it. Raises Rejected."""
    nested = _NESTED.get(node.this)
    if nested is not None:
        inner = ", ".join(map(_inner, node.expressions))
        return f"{nested}({inner})"
    plain = _PLAIN.get(node.this)
    if plain is None:
        raise refused(f"the type {getattr(node.this, 'value', node.this)}")
    if node.expressions:
        if plain not in _WITH_PARAMETERS:
            raise refused(f"{plain} with parameters")
        plain += f"({', '.join(map(_parameter, node.expressions))})"
    return f"Nullable({plain})" if node.args.get("nullable") else plain


def _inner(node: exp.Expr) -> str:
    if not isinstance(node, exp.DataType):
        raise refused("a type with named parts")
    return type_name(node)


def _parameter(node: exp.Expr) -> str:
    value = node.this if isinstance(node, exp.DataTypeParam) else None
    if isinstance(value, exp.Literal):
        text = str(value.this)
        if value.is_string and _ZONE.fullmatch(text):
            return f"'{text}'"
        if not value.is_string and text.isascii() and text.isdigit():
            return text
    raise refused("such a parameter of a type")


def check_type_text(node: exp.Expr) -> None:
    """Of a type that is given as a string. Raises Rejected."""
    text = str(node.this) if isinstance(node, exp.Literal) and node.is_string else ""
    if not _TEXT.fullmatch(text) or not set(_WORD.findall(text)) <= _NAMED:
        issue = "the last argument of JSONExtract must be a type such as 'Array(String)'"
        raise Rejected("query", issue)
