"""Callers' own SQL, behind a fence: parsed, checked node by node, written anew, limited.

What the engine gets is written here from the checked tree; no text of the caller's is in it but
names in backticks. Behind that stand filters that the engine puts on every read of a table, and
`readonly`.
"""

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID

from sqlglot import exp

from domain.errors import Rejected
from domain.limits import MAX_SQL_ANSWER_BYTES, MAX_SQL_ROWS
from domain.past import Past
from domain.sql import Question
from projections.sql.names import name_of
from projections.sql.parsing import Dialect, parsed
from projections.sql.queries import Queries
from projections.sql.views import Fence

_MEBIBYTE = 1024 * 1024


class Plan(NamedTuple):
    sql: str
    parameters: dict[str, object]
    settings: dict[str, object]


def plan(
    question: Question,
    *,
    app_number: int,
    past: Past,
    seconds: float,
    segments: Mapping[UUID, str] | None = None,
) -> Plan:
    """One row more than may be answered tells that there are more. `segments`: names of those that
    there were then; None where the query does not read them. Raises Rejected.
    """
    tree = parsed(question.query)
    fence = Fence(app_number, past, _reads_traits(question.query), segments or {})
    writing = Queries(fence, question.parameters, _relations(tree))
    try:
        sql = writing.outermost(tree, _texts(tree))
    except RecursionError:
        raise Rejected("query", "nests too deeply") from None
    for name in sorted(writing.unused()):
        raise Rejected(f"parameters.{name}", f"stands nowhere in the query as {{{name}:Type}}")
    # In the query, because a connection that was once set to read only stays so.
    limited = f"{sql} SETTINGS readonly = 1"
    bound = dict(writing.bound) | (fence.parameters() if reads_segments(question) else {})
    return Plan(limited, bound, _settings(fence, seconds))


def reads_segments(question: Question) -> bool:
    """Whether it may."""
    return "segments" in question.query.lower()


def _reads_traits(query: str) -> bool:
    """Whether it may; where a star stands, it may be one of columns."""
    return "*" in query or "traits" in query.lower()


def _relations(tree: exp.Query) -> frozenset[str]:
    """Names that may stand before a dot: those in FROM."""
    found = set()
    for node in tree.find_all(exp.Table, exp.Subquery):
        alias = node.args.get("alias")
        if alias is not None:
            found.add(name_of(alias.this))
        elif isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            found.add(name_of(node.this))
    return frozenset(found)


def _texts(tree: exp.Query) -> list[str]:
    """What was written for each of the outermost columns."""
    first: exp.Expr = tree
    while not isinstance(first, exp.Select):
        first = first.this
    return [one.sql(dialect=Dialect) for one in first.expressions]


def _settings(fence: Fence, seconds: float) -> dict[str, object]:
    """Memory is limited by the engine's host, or by the profile of the server's user."""
    filters = ", ".join(f"'{table}': '{sql}'" for table, sql in fence.filters().items())
    return {
        "additional_table_filters": f"{{{filters}}}",
        "limit": MAX_SQL_ROWS + 1,
        "max_execution_time": seconds,
        "max_block_size": 8192,  # time is looked at between blocks, and arrayJoin makes them long
        "max_joined_block_size_rows": 8192,
        "max_result_bytes": MAX_SQL_ANSWER_BYTES,
        "result_overflow_mode": "throw",
        "max_query_size": 4 * _MEBIBYTE,
        "max_subquery_depth": 100,
        "max_rows_in_join": 10_000_000,
        "max_bytes_in_join": 512 * _MEBIBYTE,
        "max_rows_in_set": 10_000_000,
        "max_bytes_in_set": 512 * _MEBIBYTE,
        "function_range_max_elements_in_block": 10_000_000,
        "allow_introspection_functions": 0,
        # Rows of others are never looked at with a caller's condition: see views.py.
        "optimize_move_to_prewhere": 0,
        "optimize_use_projections": 0,
        "optimize_use_implicit_projections": 0,
        "output_format_json_quote_64bit_integers": 0,
        "output_format_json_quote_denormals": 0,
        "output_format_json_quote_decimals": 0,
        "output_format_json_validate_utf8": 1,
        "output_format_json_named_tuples_as_objects": 1,
        "date_time_output_format": "iso",
    }
