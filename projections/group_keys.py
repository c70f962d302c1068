"""What a breakdown keeps of each event until persons are grouped.

Text costs much while rows are put together by person. A built-in fact has few values, which the
rollups know: it is carried as its place among them. A property is carried as its JSON.
"""

from typing import NamedTuple

from domain.questions import Breakdown
from projections.conditions import Parameters, column, group_key, typed

_VALUES = """(
    SELECT groupArray(CAST({column} AS String)) FROM (
        SELECT {column} FROM {table} WHERE app_number = {app} GROUP BY {column}
    )) AS known_facts"""


class GroupKey(NamedTuple):
    """`carried`: SQL of a row's key, and `nothing` of none. `scalars`: what follows WITH, for that.
    `conditions`: of the rows of which it can be told; those it leaves out came while the question
    was asked. `has_variants`: several may stand for one value, as 1 and 1.0.
    """

    breakdown: Breakdown | None
    carried: str
    nothing: str
    scalars: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    has_variants: bool = False

    def typed(self, key: str) -> str:
        """Of what was carried, text that is the same where the values are; NULL where not set."""
        assert self.breakdown is not None
        name = self.breakdown.property
        return typed(name, key if column(name) is None else f"known_facts[{key}]")


def carried_key(
    breakdown: Breakdown | None, parameters: Parameters, *, app_number: int, table: str
) -> GroupKey:
    if breakdown is None:
        return GroupKey(None, "''", "''")
    name = column(breakdown.property)
    if name is None:
        json = group_key(breakdown.property, parameters)
        return GroupKey(breakdown, json, "''", has_variants=True)
    values = _VALUES.format(column=name, table=table, app=f"{app_number:d}")
    place = f"transform({name}, known_facts, arrayEnumerate(known_facts), toUInt32(0))"
    return GroupKey(breakdown, place, "toUInt32(0)", (values,), (f"{place} > 0",))
