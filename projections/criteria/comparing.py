"""What clauses compare with, as SQL."""

from domain.conditions.dates import micros_of
from domain.conditions.judging import millionths
from domain.conditions.tree import Aggregate, Bounds, Times


def often(times: Times, count: str) -> str:
    if times.at_least is not None:
        return f"{count} >= {times.at_least:d}"
    if times.at_most is not None:
        return f"{count} <= {times.at_most:d}"
    return f"{count} = {times.exactly:d}"


def lies_in(micros: str, limits: Bounds) -> str:
    held = f"{micros} < {micros_of(limits.high)}"
    return held if limits.low is None else f"{held} AND {micros} >= {micros_of(limits.low)}"


_COMPARISONS = {
    "greater": ">",
    "greater_or_equal": ">=",
    "less": "<",
    "less_or_equal": "<=",
    "equals": "=",
}


def compared(node: Aggregate, millions: str, count: str) -> str:
    given = node.value if node.operator == "between" else [node.value]
    low, *high = (f"toInt128('{millionths(one):d}') * {count}" for one in given)
    if high:
        return f"{millions} BETWEEN {low} AND {high[0]}"
    return f"{millions} {_COMPARISONS[node.operator]} {low}"
