"""Breakdowns: the values with most, what is left over, and what has none."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from domain.trends import NONE, OTHER, Kind
from projections.conditions import value_of
from projections.group_keys import GroupKey

# NULL is no value: it is not ranked among them, and stays on its own.
_RANKED = """
SELECT value IS NOT NULL AND rank > {limit} AS other, if(other, NULL, value) AS shown, {merged}
FROM (
    SELECT {value} AS value, {counted},
        row_number() OVER (PARTITION BY value IS NULL ORDER BY {by} DESC, value ASC) AS rank
    FROM ({persons}) GROUP BY {alike}
) GROUP BY other, shown"""


def ranked(persons: str, key: GroupKey, *, counted: str, merged: str, by: str, limit: int) -> str:
    """Rows (other, value as projections/conditions.typed writes it, `merged`...): of the rows of
    `persons`, grouped by the value of their `key`, `counted`; those whose `by` is not among the
    first `limit` are merged into one.
    """
    return _RANKED.format(
        persons=persons,
        value=key.typed("key"),
        alike="value" if key.has_variants else "key",
        counted=counted,
        merged=merged,
        by=by,
        limit=limit,
    )


def ranked_cells(
    cells: Iterable[tuple[int, str | None, int]], limit: int
) -> Iterator[tuple[bool, str | None, list[tuple[int, int]], int]]:
    """Rows (other, value, [(bucket, count)], total) of cells (bucket, value, count). To rank a few
    of them the engine would need as long again.
    """
    found: defaultdict[str | None, Counter[int]] = defaultdict(Counter)
    for bucket, value, count in cells:
        found[value][bucket] += count
    totals = {value: counts.total() for value, counts in found.items()}
    by_total = sorted(
        (value for value in found if value is not None), key=lambda one: (-totals[one], one)
    )
    rest: Counter[int] = Counter()
    for value in by_total[limit:]:
        rest.update(found[value])
    for value in (*by_total[:limit], *({None} & found.keys())):
        yield False, value, [*found[value].items()], totals[value]
    if rest:
        yield True, None, [*rest.items()], rest.total()


def told(row: Sequence[Any]) -> tuple[str, Kind, Any]:
    """Label, kind and value of a row that begins with (other, value)."""
    if row[0]:
        return OTHER, "other", None
    if row[1] is None:
        return NONE, "none", None
    value = value_of(row[1])
    return (value if isinstance(value, str) else row[1]), "value", value
