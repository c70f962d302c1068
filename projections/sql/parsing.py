"""From text to a tree of which every node is of a kind that we know, with parts that we know.

sqlglot accepts more than ClickHouse does and knows many functions by other names; here it parses
structure only. What a node may have is PARTS: a clause that a later sqlglot understands and that
nobody thought of is refused until it stands there.
"""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.clickhouse import ClickHouse
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.parser import Parser
from sqlglot.parsers.clickhouse import ClickHouseParser
from sqlglot.tokenizer_core import Token, TokenType

from domain.errors import Rejected
from domain.limits import MAX_SQL_BRACKETS, MAX_SQL_DEPTH, MAX_SQL_NODES
from domain.sql import POINTER

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)  # it would log what was asked

_OPEN = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE})
_CLOSE = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE})


class _Parser(ClickHouseParser):
    """Every function is Anonymous, by the name that was written, but CAST and CASE."""

    FUNCTIONS: ClassVar[Any] = {}
    FUNCTION_PARSERS: ClassVar[Any] = {"CAST": Parser.FUNCTION_PARSERS["CAST"]}
    NO_PAREN_FUNCTION_PARSERS: ClassVar[Any] = {"CASE": Parser.NO_PAREN_FUNCTION_PARSERS["CASE"]}
    NO_PAREN_FUNCTIONS: ClassVar[Any] = {}

    def _parse_function(
        self,
        functions: Any = None,
        anonymous: bool = False,  # noqa: FBT001, FBT002  sqlglot's
        optional_parens: bool = True,  # noqa: FBT001, FBT002  sqlglot's
        any_token: bool = False,  # noqa: FBT001, FBT002  sqlglot's
    ) -> Any:
        """`quantile(0.9)(x)` too, which ClickHouse's own would do for aggregates it knows."""
        found = Parser._parse_function(self, functions, anonymous, optional_parens, any_token)  # noqa: SLF001  the one above ClickHouse's
        if not isinstance(found, exp.Anonymous):
            return found
        arguments = self._parse_func_params(found)
        if arguments is None:
            return found
        made = exp.ParameterizedAgg(
            this=found.this, expressions=found.expressions, params=arguments
        )
        return self._parse_window(made)


class Dialect(ClickHouse):
    INDEX_OFFSET = 0  # else it would count array elements from 0
    Parser = _Parser


_BINARY = frozenset({"this", "expression"})
_QUERY = frozenset({"with_", "this", "expression", "distinct"})
PARTS: Mapping[type[exp.Expr], frozenset[str]] = {
    exp.Select: frozenset(
        {
            *("with_", "distinct", "expressions", "from_", "joins", "where", "group", "having"),
            *("qualify", "order", "limit", "offset"),
        }
    ),
    exp.Union: _QUERY,
    exp.Except: _QUERY,
    exp.Intersect: _QUERY,
    exp.With: frozenset({"expressions"}),
    exp.CTE: frozenset({"this", "alias", "scalar"}),
    exp.TableAlias: frozenset({"this"}),
    exp.From: frozenset({"this"}),
    exp.Table: frozenset({"this", "alias"}),
    exp.Subquery: frozenset({"this", "alias"}),
    exp.Join: frozenset({"this", "side", "kind", "on", "using", "expressions"}),
    exp.Where: frozenset({"this"}),
    exp.Having: frozenset({"this"}),
    exp.Qualify: frozenset({"this"}),
    exp.Group: frozenset({"expressions", "all"}),
    exp.Order: frozenset({"expressions"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Limit: frozenset({"expression", "expressions"}),
    exp.Offset: frozenset({"expression"}),
    exp.Distinct: frozenset({"expressions"}),
    exp.Star: frozenset(),
    exp.Alias: frozenset({"this", "alias"}),
    exp.Identifier: frozenset({"this", "quoted"}),
    exp.Column: frozenset({"this", "table"}),
    exp.Dot: _BINARY,
    exp.Literal: frozenset({"this", "is_string"}),
    exp.Boolean: frozenset({"this"}),
    exp.Null: frozenset(),
    exp.Placeholder: frozenset({"this", "kind"}),
    exp.Var: frozenset({"this"}),
    exp.Paren: frozenset({"this"}),
    exp.Tuple: frozenset({"expressions"}),
    exp.Array: frozenset({"expressions"}),
    exp.Bracket: frozenset({"this", "expressions"}),
    exp.Lambda: frozenset({"this", "expressions"}),
    exp.Anonymous: frozenset({"this", "expressions"}),
    exp.ParameterizedAgg: frozenset({"this", "expressions", "params"}),
    exp.Window: frozenset({"this", "partition_by", "order", "spec", "over"}),
    exp.WindowSpec: frozenset({"kind", "start", "start_side", "end", "end_side"}),
    exp.Case: frozenset({"this", "ifs", "default"}),
    exp.If: frozenset({"this", "true", "false"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.DataType: frozenset({"this", "expressions", "nested", "nullable"}),
    exp.DataTypeParam: frozenset({"this"}),
    exp.Interval: frozenset({"this", "unit"}),
    exp.In: frozenset({"this", "expressions", "query", "field"}),
    exp.Between: frozenset({"this", "low", "high"}),
    exp.Exists: frozenset({"this"}),
    exp.Not: frozenset({"this"}),
    exp.Neg: frozenset({"this"}),
    exp.Is: _BINARY,
    exp.Like: _BINARY | {"negate"},
    exp.ILike: _BINARY | {"negate"},
    exp.DPipe: _BINARY | {"safe"},
    exp.Div: _BINARY | {"typed", "safe"},
    **dict.fromkeys(
        (
            *(exp.And, exp.Or, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE),
            *(exp.Add, exp.Sub, exp.Mul, exp.Mod, exp.IntDiv),
        ),
        _BINARY,
    ),
}

# What a refusal calls things whose name here says little.
_WORDS = {
    exp.Command: "this statement",
    exp.Final: "FINAL",
    exp.PreWhere: "PREWHERE",
    exp.TableSample: "SAMPLE",
    exp.Columns: "COLUMNS()",
    exp.WithFill: "WITH FILL",
    "prewhere": "PREWHERE",
    "sample": "SAMPLE",
    "settings": "SETTINGS",
    "format": "FORMAT",
    "into": "INTO",
    "recursive": "WITH RECURSIVE",
    "materialized": "MATERIALIZED",
    "totals": "WITH TOTALS",
    "rollup": "ROLLUP",
    "cube": "CUBE",
    "grouping_sets": "GROUPING SETS",
    "with_fill": "WITH FILL",
    "limit_options": "WITH TIES",
    "global_": "GLOBAL",
    "is_global": "GLOBAL IN",
    "windows": "WINDOW (write the window after OVER)",
    "db": "a name with more than one dot, or of another database,",
    "except_": "* EXCEPT",
    "replace": "* REPLACE",
    "columns": "a list of columns after an alias",
    "method": "NATURAL or GLOBAL JOIN",
    "on": "DISTINCT ON",
}
_SET_WORDS = {"order", "limit", "offset"}  # of a UNION: the engine reads them as of its last part


def parsed(query: str) -> exp.Query:
    """One query, whose nodes are all in PARTS. Raises Rejected."""
    try:
        tokens = Dialect().tokenize(query)
        _check_brackets(tokens)
        statements = [one for one in Dialect().parser().parse(tokens, query) if one is not None]
    except RecursionError:
        raise Rejected("query", "nests too deeply") from None
    except SqlglotError as error:
        raise Rejected(
            "query", f"is not SQL that is understood: {_told(error)}; {POINTER}"
        ) from None
    if len(statements) != 1:
        raise Rejected("query", f"must be one statement; {POINTER}")
    _check(statements[0])
    statement = statements[0]
    if not isinstance(statement, exp.Query):
        raise Rejected("query", f"must be one SELECT; {POINTER}")
    return statement


def _check_brackets(tokens: list[Token]) -> None:
    depth = 0
    for token in tokens:
        depth += (token.token_type in _OPEN) - (token.token_type in _CLOSE)
        if depth > MAX_SQL_BRACKETS:
            raise Rejected("query", f"may have at most {MAX_SQL_BRACKETS} brackets open at once")


def _told(error: SqlglotError) -> str:
    """Where, and what stands there; the parser's own words are of its inside."""
    found = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
    if not found.get("line"):
        return "a string, a name or a comment does not end"
    near = str(found.get("highlight") or "")[:40]
    return f"line {found['line']}, near {near!r}"


def _check(statement: exp.Expr) -> None:
    """Level by level, without recursion."""
    level, seen, depth = [statement], 0, 0
    while level:
        seen += len(level)
        depth += 1
        if seen > MAX_SQL_NODES:
            raise Rejected("query", "is too long; give long lists as parameters")
        if depth > MAX_SQL_DEPTH:
            raise Rejected("query", "nests too deeply, or chains too many operators")
        for node in level:
            _check_parts(node)
        level = [child for node in level for child in node.iter_expressions()]


def _check_parts(node: exp.Expr) -> None:
    allowed = PARTS.get(type(node))
    if allowed is None:
        raise refused(_WORDS.get(type(node)) or node.key.upper())
    for name, value in node.args.items():
        if value and name not in allowed:
            raise _refused_part(node, name)


def _refused_part(node: exp.Expr, name: str) -> Rejected:
    if isinstance(node, exp.SetOperation) and name in _SET_WORDS:
        issue = f"{name.upper()} after a UNION: put the UNION in brackets after FROM"
        return Rejected("query", issue)
    return refused(_WORDS.get(name) or f"{name.strip('_')} of {node.key.upper()}")


def refused(what: str) -> Rejected:
    return Rejected("query", f"{what} can't be used here; {POINTER}")
