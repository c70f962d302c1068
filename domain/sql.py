"""A question in SQL: what may stand in it before anybody parses it."""

import re
from typing import Literal

import msgspec

from domain.errors import Rejected
from domain.limits import (
    MAX_NAME_CHARS,
    MAX_SQL_CHARS,
    MAX_SQL_PARAMETER_LIST,
    MAX_SQL_PARAMETERS,
)
from domain.questions import Asked, check_position

EXAMPLE = "SELECT event, count() FROM events GROUP BY event"
POINTER = f"see docs/analytics.md, SQL; for example {EXAMPLE}"

Scalar = str | int | float | bool | None

_COMMENTS = re.compile(r"\s+|--[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_FIRST_WORD = re.compile(r"[^\W\d]\w*")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ASKS = ("SELECT", "WITH", "FROM")
# What ClickHouse has beside, and what other databases call so.
_STATEMENTS = frozenset(
    {
        *("ALTER", "ANALYZE", "ATTACH", "BACKUP", "BEGIN", "CALL", "CHECK", "COMMIT", "COPY"),
        *("CREATE", "DELETE", "DESC", "DESCRIBE", "DETACH", "DROP", "EXCHANGE", "EXECUTE"),
        *("EXISTS", "EXPLAIN", "GRANT", "INSERT", "KILL", "MERGE", "MOVE", "OPTIMIZE", "PRAGMA"),
        *("RENAME", "REPLACE", "RESTORE", "REVOKE", "ROLLBACK", "SET", "SHOW", "SYSTEM", "TABLE"),
        *("TRUNCATE", "UNDROP", "UPDATE", "USE", "VACUUM", "VALUES", "WATCH"),
    }
)


class Question(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`query` is ClickHouse SQL; `{name:Type}` in it stands for `parameters["name"]`. `app_id` may
    be left out: it is that of the key.
    """

    query: str
    format: Literal["json", "csv"] = "json"
    app_id: str | None = None
    parameters: dict[str, Scalar | list[Scalar]] = msgspec.field(default_factory=dict)


def check(question: Question) -> None:
    """Raises Rejected, naming the field."""
    check_position(question)
    if question.explain and question.format == "csv":
        raise Rejected("explain", "is told in JSON; leave format out")
    if len(question.query) > MAX_SQL_CHARS:
        raise Rejected("query", f"must have at most {MAX_SQL_CHARS} characters")
    _check_words(question.query)
    if len(question.parameters) > MAX_SQL_PARAMETERS:
        raise Rejected("parameters", f"must be at most {MAX_SQL_PARAMETERS}")
    for name, value in question.parameters.items():
        _check_parameter(name, value)


def _check_words(query: str) -> None:
    if "\0" in query:
        raise Rejected("query", "must not have a zero character")
    at = 0
    while (skipped := _COMMENTS.match(query, at)) is not None:
        at = skipped.end()
    while query.startswith("(", at):
        at = at + 1 + len(query[at + 1 :]) - len(query[at + 1 :].lstrip())
    word = _FIRST_WORD.match(query, at)
    first = word[0].upper() if word else ""
    if first in _ASKS:
        return
    if not query[at:].strip():
        raise Rejected("query", f"is empty; {POINTER}")
    if first in _STATEMENTS:
        raise Rejected("query", f"must be one SELECT: {first} is not available; {POINTER}")
    raise Rejected(
        "query",
        f"questions in natural language are not available: ask in ClickHouse SQL; {POINTER}",
    )


def _check_parameter(name: str, value: Scalar | list[Scalar]) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        issue = "names of parameters are letters, digits and _, and begin with no digit"
        raise Rejected("parameters", issue)
    if isinstance(value, list) and len(value) > MAX_SQL_PARAMETER_LIST:
        raise Rejected(f"parameters.{name}", f"must have at most {MAX_SQL_PARAMETER_LIST} values")
