"""Many rows to Postgres in one statement: an array parameter for each column, unnested there."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    func,
    insert,
    select,
    true,
)
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.selectable import FromClause, TableValuedAlias
from sqlalchemy.types import TypeEngine

_BETWEEN, _NONE = "\x1f", "\x1e"  # no JSON has these, and no id
_PART = 1_000  # rows in one statement of insert_rows


@lru_cache(maxsize=20_000)
def _time(value: datetime | None) -> str:
    """The same moment comes twice for whoever is on a page once, and often with others."""
    return "NULL" if value is None else value.isoformat()


def columns(values: Iterable[tuple[Any, ...]], *names: str) -> dict[str, Any]:
    """The parameters of `arrays` from rows that were turned into columns."""
    return {f"given_{name}": _literal(of) for name, of in zip(names, values, strict=True)}


def _literal(values: Sequence[Any]) -> str:
    """An array in Postgres' text form. The driver's own way visits each element with several
    regular expressions, which was two thirds of the cost of a page.
    """
    first = next((value for value in values if value is not None), None)
    match first:
        case str():
            return _quoted(values)
        case datetime():
            return "{" + ",".join([_time(value) for value in values]) + "}"
        case bytes():
            return (
                "{" + ",".join(["NULL" if v is None else f"\\\\x{v.hex()}" for v in values]) + "}"
            )
        case _:  # numbers: Python writes a list of them as Postgres reads one
            return "{" + repr(list(values))[1:-1].replace("None", "NULL") + "}"


def _quoted(values: Sequence[str | None]) -> str:
    """Joined first, so that what has to be escaped is looked for once."""
    try:
        joined = _BETWEEN.join(values)  # type: ignore[arg-type]  # the next line is for those with None
    except TypeError:
        joined = _BETWEEN.join([_NONE if v is None else v for v in values])
    if joined.count(_BETWEEN) != len(values) - 1 or joined.count(_NONE) != values.count(None):
        return "{" + ",".join(["NULL" if v is None else f'"{_escaped(v)}"' for v in values]) + "}"
    quoted = '"' + _escaped(joined).replace(_BETWEEN, '","') + '"'
    return "{" + quoted.replace(f'"{_NONE}"', "NULL") + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def arrays(**types: TypeEngine[Any]) -> TableValuedAlias:
    """Rows from one array parameter a column, and their `ordinal` from 1: one statement whatever
    the number of rows.
    """
    # Not the bare names: an UPDATE would take them for what to set.
    given = [cast(bindparam(f"given_{n}", type_=Text()), ARRAY(kind)) for n, kind in types.items()]
    rows = func.unnest(*given).table_valued(*types, name="given", with_ordinality="ordinal")
    return rows.render_derived()


def each(given: FromClause, found: Select[Any]) -> Select[Any]:
    """What `found` gives for each of the rows `given`, which it names in its conditions: by an
    index, in their order. A plain join is left to the planner, which knows nothing of how many are
    given, nor of a table that has just grown, and reads all of a table for each row at times.
    """
    of_one = found.correlate(given).offset(0).lateral()  # OFFSET keeps it from becoming a join
    return select(*of_one.c).select_from(given.join(of_one, true()))


def insert_statement(table: Table) -> Insert:
    """Inserts rows given as `columns` of all the table's columns."""
    given = arrays(**{column.name: column.type for column in table.columns})
    names = [column.name for column in table.columns]
    return insert(table).from_select(names, select(*(given.c[name] for name in names)))


def insert_rows(connection: Connection, statement: Insert, rows: Iterable[tuple[Any, ...]]) -> None:
    """`rows` as the table's columns are; `statement` from `insert_statement`. In parts: while
    Postgres takes one, the next is made (infrastructure/database.pipelined).
    """
    names = [column.name for column in statement.table.columns]
    left = iter(rows)
    while part := list(islice(left, _PART)):
        connection.execute(statement, columns(zip(*part, strict=True), *names))
