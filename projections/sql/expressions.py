"""Expressions of a checked tree, written anew: names in backticks, strings as bound parameters."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlglot import exp

from domain.errors import Rejected
from domain.limits import MAX_SQL_STRINGS
from domain.nearest import meant
from domain.sql import Scalar
from projections.conditions import Parameters
from projections.sql.functions import AGGREGATES, FUNCTIONS, STARRED, TYPED, WINDOWS
from projections.sql.given import held
from projections.sql.names import name_of, quoted
from projections.sql.parsing import refused
from projections.sql.types import check_type_text, type_name

_NUMBER = re.compile(r"(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
_UNITS = frozenset({"SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"})
_OPERATORS: Mapping[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.IntDiv: "DIV",
    exp.DPipe: "||",
    exp.And: "AND",
    exp.Or: "OR",
}
_LIKES: Mapping[type[exp.Expr], str] = {exp.Like: "LIKE", exp.ILike: "ILIKE"}
_FRAMES = frozenset({"ROWS", "RANGE"})
_BOUNDS = frozenset({"UNBOUNDED", "CURRENT ROW"})
_SIDES = frozenset({"PRECEDING", "FOLLOWING"})


class Expressions(ABC):
    """Every method raises Rejected. `relations` are the names that may stand before a dot."""

    def __init__(
        self, given: Mapping[str, Scalar | list[Scalar]], relations: frozenset[str]
    ) -> None:
        self.bound = Parameters()
        self._strings: dict[str, str] = {}
        self._given = given
        self._used: dict[tuple[str, str], str] = {}
        self._relations = relations

    @abstractmethod
    def query(self, node: exp.Expr | None) -> str:
        """A query without brackets around it."""

    def unused(self) -> set[str]:
        """Parameters that were given and stand nowhere."""
        return set(self._given) - {name for name, _ in self._used}

    def write(self, node: Any) -> str:
        writer = _WRITERS.get(type(node))
        if writer is not None:
            return writer(self, node)
        if type(node) in _OPERATORS:
            return self._operation(node)
        raise refused(node.key.upper() if isinstance(node, exp.Expr) else "an empty place")

    def all_of(self, nodes: Iterable[Any]) -> str:
        return ", ".join(map(self.write, nodes))

    def order(self, node: exp.Expr | None) -> str:
        if node is None:
            return ""
        return f" ORDER BY {', '.join(map(self._ordered, node.expressions))}"

    def _ordered(self, node: exp.Expr) -> str:
        if not isinstance(node, exp.Ordered):
            return self.write(node)
        descending = " DESC" if node.args.get("desc") else ""
        nulls = " NULLS FIRST" if node.args.get("nulls_first") else ""
        return f"{self.write(node.this)}{descending}{nulls}"

    def _operation(self, node: exp.Expr) -> str:
        """Chains of one operator without brackets, so that a long one does not nest."""
        kind = type(node)
        parts = [node.args["expression"]]
        first = node.this
        while type(first) is kind:
            parts.append(first.args["expression"])
            first = first.this
        sign = f" {_OPERATORS[kind]} "
        return f"({sign.join(map(self.write, [first, *reversed(parts)]))})"

    def write_like(self, node: exp.Expr) -> str:
        negated = "NOT " if node.args.get("negate") else ""
        pattern = self.write(node.args["expression"])
        return f"({self.write(node.this)} {negated}{_LIKES[type(node)]} {pattern})"

    def write_column(self, node: exp.Column) -> str:
        relation = node.args.get("table")
        if isinstance(node.this, exp.Literal) and relation is not None:  # the third of a tuple: t.3
            return f"tupleElement({quoted(name_of(relation))}, {_number(node.this)})"
        if relation is None:
            return quoted(name_of(node.this))
        return f"{self.relation(relation)}.{quoted(name_of(node.this))}"

    def relation(self, node: object) -> str:
        name = name_of(node)
        if name not in self._relations:
            raise Rejected("query", f"nothing is called {name} in FROM")
        return quoted(name)

    def write_identifier(self, node: exp.Identifier) -> str:
        return quoted(name_of(node))

    def write_dot(self, node: exp.Dot) -> str:
        if not isinstance(node.expression, exp.Literal):
            raise refused("a name after a dot after an expression")
        return f"tupleElement({self.write(node.this)}, {_number(node.expression)})"

    def write_literal(self, node: exp.Literal) -> str:
        return self._string(str(node.this)) if node.is_string else _number(node)

    def _string(self, text: str) -> str:
        if text not in self._strings:
            if len(self._strings) >= MAX_SQL_STRINGS:
                issue = f"has over {MAX_SQL_STRINGS} strings; give a list as a parameter"
                raise Rejected("query", f"{issue}: IN {{names:Array(String)}}")
            self._strings[text] = self.bound.text(text)
        return self._strings[text]

    def placeholder(self, node: exp.Expr) -> str:
        kind = node.args.get("kind")
        if not isinstance(kind, exp.DataType):
            raise refused("a parameter for a name")
        name, of_type = str(node.name), type_name(kind)
        if name not in self._given:
            raise Rejected(f"parameters.{name[:64]}", "stands in the query and is not given")
        if (name, of_type) not in self._used:
            value = held(kind, self._given[name], f"parameters.{name}")
            self._used[name, of_type] = self.bound.typed(value, of_type)
        return self._used[name, of_type]

    def write_function(self, node: exp.Anonymous) -> str:
        name = _known(node.this, FUNCTIONS)
        if name.lower() in WINDOWS and not isinstance(node.parent, exp.Window):
            raise Rejected("query", f"{name} needs OVER")
        if name in TYPED and len(node.expressions) > 1:
            check_type_text(node.expressions[-1])
        return f"{name}({self._arguments(name, node.expressions)})"

    def _arguments(self, name: str, nodes: list[exp.Expr]) -> str:
        if len(nodes) == 1 and isinstance(nodes[0], exp.Star) and name in STARRED:
            return ""
        if len(nodes) == 1 and isinstance(nodes[0], exp.Distinct) and name.lower() in AGGREGATES:
            return f"DISTINCT {self.all_of(nodes[0].expressions)}"
        return self.all_of(nodes)

    def write_parametric(self, node: exp.ParameterizedAgg) -> str:
        name = _known(node.this, AGGREGATES)
        arguments = self._arguments(name, node.args["params"])
        return f"{name}({self.all_of(node.expressions)})({arguments})"

    def write_window(self, node: exp.Window) -> str:
        if not isinstance(node.this, exp.Anonymous | exp.ParameterizedAgg):
            raise refused("OVER after what is no function")
        if _known(node.this.this, FUNCTIONS).lower() not in {**AGGREGATES, **WINDOWS}:
            raise Rejected("query", f"{node.this.this} has no OVER")
        if str(node.args.get("over")).upper() != "OVER":
            raise refused("such a window")
        by = node.args.get("partition_by") or ()
        partition = f"PARTITION BY {self.all_of(by)}" if by else ""
        order = self.order(node.args.get("order"))
        frame = self._frame(node.args.get("spec"))
        return f"{self.write(node.this)} OVER ({partition}{order}{frame})"

    def _frame(self, node: exp.Expr | None) -> str:
        if node is None:
            return ""
        if node.args.get("kind") not in _FRAMES:
            raise refused("such a frame of a window")
        start, end = self._edge(node, "start"), self._edge(node, "end")
        return f" {node.args['kind']} " + (f"BETWEEN {start} AND {end}" if end else start)

    def _edge(self, node: exp.Expr, name: str) -> str:
        value, side = node.args.get(name), node.args.get(f"{name}_side")
        if value is None:
            return ""
        if side and side not in _SIDES:
            raise refused("such a frame of a window")
        if isinstance(value, str):
            if value not in _BOUNDS:
                raise refused("such a frame of a window")
            return f"{value} {side}" if side else value
        return f"{_number(value)} {side}"

    def write_case(self, node: exp.Case) -> str:
        subject = f" {self.write(node.this)}" if node.this else ""
        cases = "".join(
            f" WHEN {self.write(one.this)} THEN {self.write(one.args['true'])}"
            for one in node.args["ifs"]
        )
        default = node.args.get("default")
        otherwise = f" ELSE {self.write(default)}" if default else ""
        return f"CASE{subject}{cases}{otherwise} END"

    def write_if(self, node: exp.If) -> str:
        branches = (node.this, node.args.get("true"), node.args.get("false"))
        return f"if({self.all_of(branches)})"

    def write_cast(self, node: exp.Cast) -> str:
        return f"CAST({self.write(node.this)} AS {type_name(node.to)})"

    def write_interval(self, node: exp.Interval) -> str:
        unit = str(node.unit).upper().removesuffix("S")
        count = str(node.this.this) if isinstance(node.this, exp.Literal) else ""
        if unit not in _UNITS or not re.fullmatch("[0-9]{1,9}", count):
            raise Rejected("query", "INTERVAL takes a whole number and a unit: INTERVAL 7 DAY")
        return f"INTERVAL {count} {unit}"

    def write_in(self, node: exp.In) -> str:
        subject = self.write(node.this)
        if node.args.get("query"):
            return f"({subject} IN {self.write_in_brackets(node.args['query'])})"
        field = node.args.get("field")
        members = [field] if field else node.expressions
        for member in members:
            # The engine takes a lone name there for that of a table.
            if isinstance(member.unnest(), exp.Column | exp.Identifier):
                issue = "IN takes values, a parameter or (SELECT ...), not a name"
                raise Rejected("query", issue)
        if field and not isinstance(field, exp.Placeholder):
            raise Rejected("query", "put what follows IN into brackets")
        return f"({subject} IN ({self.all_of(members)}))"

    def write_in_brackets(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Subquery) and node.args.get("alias"):
            raise refused("an alias of a subquery here")
        return f"({self.query(node.this if isinstance(node, exp.Subquery) else node)})"

    def write_between(self, node: exp.Between) -> str:
        low, high = self.write(node.args["low"]), self.write(node.args["high"])
        return f"({self.write(node.this)} BETWEEN {low} AND {high})"

    def write_is(self, node: exp.Is) -> str:
        if not isinstance(node.expression, exp.Null):
            raise refused("IS with anything but NULL")
        return f"({self.write(node.this)} IS NULL)"

    def write_lambda(self, node: exp.Lambda) -> str:
        if not isinstance(node.parent, exp.Anonymous):
            raise refused("-> outside of a function")
        names = ", ".join(quoted(name_of(one)) for one in node.expressions)
        return f"({names}) -> {self.write(node.this)}"

    def write_alias(self, node: exp.Alias) -> str:
        return f"({self.write(node.this)} AS {quoted(name_of(node.args['alias']))})"

    def write_bracket(self, node: exp.Bracket) -> str:
        if len(node.expressions) != 1:
            raise refused("more than one thing in [ ]")
        return f"arrayElement({self.write(node.this)}, {self.write(node.expressions[0])})"


def _known(name: object, among: Mapping[str, str]) -> str:
    """As the engine spells it."""
    if not isinstance(name, str):
        raise refused("a function's name in quotation marks")
    found = among.get(name.lower())
    if found is None:
        near = meant(sorted(set(among.values())), name)
        raise Rejected("query", f"the function {name[:64]} is not available{near}")
    return found


def _number(node: Any) -> str:
    text = str(node.this) if isinstance(node, exp.Literal) and not node.is_string else ""
    if not _NUMBER.fullmatch(text):
        raise refused("such a number")
    return text


Write = Callable[[Any, Any], str]
_WRITERS: Mapping[type[exp.Expr], Write] = {
    exp.Column: Expressions.write_column,
    exp.Identifier: Expressions.write_identifier,
    exp.Dot: Expressions.write_dot,
    exp.Literal: Expressions.write_literal,
    exp.Boolean: lambda _, node: "true" if node.this else "false",
    exp.Null: lambda _, _node: "NULL",
    exp.Placeholder: Expressions.placeholder,
    exp.Paren: lambda self, node: f"({self.write(node.this)})",
    exp.Tuple: lambda self, node: f"tuple({self.all_of(node.expressions)})",
    exp.Array: lambda self, node: f"array({self.all_of(node.expressions)})",
    exp.Bracket: Expressions.write_bracket,
    exp.Lambda: Expressions.write_lambda,
    exp.Anonymous: Expressions.write_function,
    exp.ParameterizedAgg: Expressions.write_parametric,
    exp.Window: Expressions.write_window,
    exp.Case: Expressions.write_case,
    exp.If: Expressions.write_if,
    exp.Cast: Expressions.write_cast,
    exp.Interval: Expressions.write_interval,
    exp.In: Expressions.write_in,
    exp.Between: Expressions.write_between,
    exp.Exists: lambda self, node: f"(EXISTS {self.write_in_brackets(node.this)})",
    exp.Subquery: Expressions.write_in_brackets,
    exp.Not: lambda self, node: f"(NOT {self.write(node.this)})",
    exp.Neg: lambda self, node: f"(-{self.write(node.this)})",
    exp.Is: Expressions.write_is,
    exp.Like: Expressions.write_like,
    exp.ILike: Expressions.write_like,
    exp.Alias: Expressions.write_alias,
}
