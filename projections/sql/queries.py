"""Queries of a checked tree, written anew: every table in them is a view behind the fence, or a CTE
of the query's own under a name that no table has.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sqlglot import exp

from domain.errors import Rejected
from domain.limits import MAX_SQL_TABLES
from domain.sql import Scalar
from projections.sql.expressions import Expressions
from projections.sql.names import name_of, name_of_relation, no_such_table, quoted, shown
from projections.sql.parsing import refused
from projections.sql.views import NAMES, Fence

# Whatever the engine makes of the name of a CTE, it is never that of a table of ours.
CTE = "cte_"
_ROWS = re.compile("[0-9]{1,18}")
_SIDES = {"": "", "LEFT": "LEFT ", "RIGHT": "RIGHT ", "FULL": "FULL "}
_STRICTNESS = {"": "", "INNER": "INNER ", "OUTER": "", "ANY": "ANY ", "ALL": "ALL "}
_STRICTNESS |= {"SEMI": "SEMI ", "ANTI": "ANTI ", "ASOF": "ASOF "}
_SET_OPERATIONS: Mapping[type[exp.Expr], str] = {
    exp.Union: "UNION",
    exp.Except: "EXCEPT",
    exp.Intersect: "INTERSECT",
}


class _Cte(NamedTuple):
    tables: int  # that are read when it is used


class Queries(Expressions):
    """`tables` is how many tables the engine reads for what was written."""

    def __init__(
        self,
        fence: Fence,
        given: Mapping[str, Scalar | list[Scalar]],
        relations: frozenset[str],
    ) -> None:
        super().__init__(given, relations)
        self._fence = fence
        self._ctes: list[dict[str, _Cte]] = []
        self.tables = 0

    def outermost(self, node: exp.Query, texts: list[str]) -> str:
        """`texts`: what was written for each of the columns."""
        if isinstance(node, exp.Subquery):
            return self.outermost(_inside(node), texts)
        if isinstance(node, exp.SetOperation):
            return f"SELECT * FROM ({self._set_operation(node, texts)})"
        return self._select(node, texts)

    def query(self, node: exp.Expr | None) -> str:
        if isinstance(node, exp.Subquery):
            return self.query(_inside(node))
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node)
        return self._select(node)

    def _select(self, node: exp.Expr | None, texts: list[str] | None = None) -> str:
        if not isinstance(node, exp.Select):
            raise refused("what is no SELECT, in the place of one,")
        self._ctes.append({})
        try:
            self._count(1)
            parts = [
                self._with(node),
                "SELECT ",
                self._distinct(node),
                self._columns(node, texts),
                self._from(node),
                *map(self._join, node.args.get("joins") or ()),
                self._clauses(node),
            ]
        finally:
            self._ctes.pop()
        return "".join(parts)

    def _clauses(self, node: exp.Select) -> str:
        parts = [
            self._condition(node, "where", " WHERE "),
            self._group(node.args.get("group")),
            self._condition(node, "having", " HAVING "),
            self._condition(node, "qualify", " QUALIFY "),
            self.order(node.args.get("order")),
            self._limit(node),
        ]
        return "".join(parts)

    def _set_operation(self, node: exp.Expr, texts: list[str] | None = None) -> str:
        """Chains without brackets. The names of the columns are those of the first part."""
        self._ctes.append({})
        try:
            parts = [self._with(node)]
            chain = [node]
            while type(chain[-1].this) is type(node) and not chain[-1].this.args.get("with_"):
                chain.append(chain[-1].this)
            parts.append(self._operand(chain[-1].this, texts))
            parts += [
                f" {_set_word(one)} {self._operand(one.args['expression'])}"
                for one in reversed(chain)
            ]
        finally:
            self._ctes.pop()
        return "".join(parts)

    def _operand(self, node: exp.Expr, texts: list[str] | None = None) -> str:
        """Brackets only where there were: the engine wants a bare SELECT after WITH."""
        if isinstance(node, exp.Select) and not node.args.get("with_"):
            return self._select(node, texts)
        if isinstance(node, exp.Subquery):
            return self._operand_in_brackets(_inside(node), texts)
        return self._operand_in_brackets(node, texts)

    def _operand_in_brackets(self, node: exp.Expr, texts: list[str] | None) -> str:
        if isinstance(node, exp.Subquery):
            return self._operand_in_brackets(_inside(node), texts)
        if isinstance(node, exp.SetOperation):
            return f"({self._set_operation(node, texts)})"
        return f"({self._select(node, texts)})"

    def _with(self, node: exp.Expr) -> str:
        clause = node.args.get("with_")
        if clause is None:
            return ""
        return f"WITH {', '.join(map(self._cte, clause.expressions))} "

    def _cte(self, node: exp.Expr) -> str:
        """It sees those before it, and not itself."""
        alias = node.args["alias"]
        if node.args.get("scalar"):
            return f"{self.write(node.this)} AS {quoted(name_of(alias.this))}"
        name = name_of_relation(alias.this)
        if any(name in scope for scope in self._ctes):
            raise Rejected("query", f"there are two CTEs called {name}")
        before, self.tables = self.tables, 0
        sql = self.query(node.this)
        self._ctes[-1][name] = _Cte(self.tables)
        self.tables = before
        return f"{quoted(CTE + name)} AS ({sql})"

    @staticmethod
    def _distinct(node: exp.Select) -> str:
        distinct = node.args.get("distinct")
        if distinct is None:
            return ""
        if distinct.expressions:
            raise refused("DISTINCT ON")
        return "DISTINCT "

    def _columns(self, node: exp.Select, texts: list[str] | None) -> str:
        if not node.expressions:
            raise Rejected("query", "SELECT needs columns")
        written = []
        for place, one in enumerate(node.expressions):
            text = self._star(one) or self._named(one, texts[place] if texts else None, place + 1)
            written.append(text)
        return ", ".join(written)

    def _star(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Star):
            return "*"
        if isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
            return f"{self.relation(node.args['table'])}.*"
        return ""

    def _named(self, node: exp.Expr, text: str | None, place: int) -> str:
        """Outermost, everything has a name: the engine's own would show how it was rewritten."""
        if isinstance(node, exp.Alias):
            return f"{self.write(node.this)} AS {quoted(name_of(node.args['alias']))}"
        sql = self.write(node)
        if text is None or (isinstance(node, exp.Column) and node.args.get("table") is None):
            return sql
        is_name = isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier)
        return f"{sql} AS {quoted(name_of(node.this) if is_name else shown(text, place))}"

    def _from(self, node: exp.Select) -> str:
        clause = node.args.get("from_")
        return "" if clause is None else f" FROM {self._relation(clause.this)}"

    def _relation(self, node: exp.Expr) -> str:
        alias = node.args.get("alias")
        if isinstance(node, exp.Subquery):
            named = f" AS {quoted(name_of_relation(alias.this))}" if alias else ""
            return f"({self.query(node.this)}){named}"
        if not isinstance(node, exp.Table):
            raise refused(f"{node.key.upper()} in FROM")
        if not isinstance(node.this, exp.Identifier):
            raise Rejected("query", f"there are no table functions: {_head(node.this)}")
        name = name_of(node.this)
        called = name if alias is None else name_of_relation(alias.this)
        return f"{self._source(name)} AS {quoted(called)}"

    def _source(self, name: str) -> str:
        for scope in reversed(self._ctes):
            if name in scope:
                self._count(scope[name].tables)
                return quoted(CTE + name)
        view = next((one for one in NAMES if one == name), None)
        if view is None:
            raise no_such_table(name)
        self._count(1)
        return self._fence.view(view)

    def _count(self, tables: int) -> None:
        self.tables += tables
        if self.tables > MAX_SQL_TABLES:
            issue = f"reads over {MAX_SQL_TABLES} tables, each use of a CTE counted"
            raise Rejected("query", issue)

    def _join(self, node: exp.Expr) -> str:
        side, kind = str(node.args.get("side") or ""), str(node.args.get("kind") or "")
        if kind.upper() == "ARRAY":
            return self._array_join(node, side.upper())
        right, condition = self._relation(node.this), self._join_condition(node)
        if kind.upper() == "CROSS":
            if condition or side:
                raise refused("CROSS JOIN with a condition")
            return f" CROSS JOIN {right}"
        if side.upper() not in _SIDES or kind.upper() not in _STRICTNESS:
            raise refused(f"{kind} JOIN")
        if not condition:
            raise Rejected("query", "JOIN needs ON or USING")
        return f" {_SIDES[side.upper()]}{_STRICTNESS[kind.upper()]}JOIN {right}{condition}"

    def _array_join(self, node: exp.Expr, side: str) -> str:
        if side not in ("", "LEFT") or self._join_condition(node):
            raise refused("such an ARRAY JOIN")
        columns = [node.this, *node.expressions]
        written = ", ".join(self._named(one, None, 0) for one in columns)
        return f" {_SIDES[side]}ARRAY JOIN {written}"

    def _join_condition(self, node: exp.Expr) -> str:
        on, using = node.args.get("on"), node.args.get("using")
        if using:
            return f" USING ({', '.join(quoted(name_of(one)) for one in using)})"
        return f" ON {self.write(on)}" if on else ""

    def _condition(self, node: exp.Select, part: str, word: str) -> str:
        clause = node.args.get(part)
        return "" if clause is None else f"{word}{self.write(clause.this)}"

    def _group(self, node: exp.Expr | None) -> str:
        if node is None:
            return ""
        return f" GROUP BY {'ALL' if node.args.get('all') else self.all_of(node.expressions)}"

    def _limit(self, node: exp.Select) -> str:
        limit, offset = node.args.get("limit"), node.args.get("offset")
        written = ""
        if limit is not None:
            by = limit.expressions
            written += f" LIMIT {self._rows(limit.expression)}"
            written += f" BY {self.all_of(by)}" if by else ""
        if offset is not None:
            written += f" OFFSET {self._rows(offset.expression)}"
        return written

    def _rows(self, node: exp.Expr) -> str:
        if isinstance(node, exp.Placeholder):
            return self.placeholder(node)
        text = str(node.this) if isinstance(node, exp.Literal) and not node.is_string else ""
        if not _ROWS.fullmatch(text):
            raise Rejected("query", "LIMIT and OFFSET take whole numbers")
        return text


def _set_word(node: exp.Expr) -> str:
    word, distinct = _SET_OPERATIONS[type(node)], node.args.get("distinct")
    if word == "UNION" and distinct is None:
        raise Rejected("query", "say UNION ALL or UNION DISTINCT")
    every = " ALL" if word == "UNION" else ""
    return f"{word} DISTINCT" if distinct else f"{word}{every}"


def _inside(node: exp.Subquery) -> exp.Query:
    if node.args.get("alias") or not isinstance(node.this, exp.Query):
        raise refused("such brackets")
    return node.this


def _head(node: exp.Expr) -> str:
    return str(node.this)[:64] if isinstance(node.this, str) else "this one"
