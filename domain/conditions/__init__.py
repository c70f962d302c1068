"""Conditions on events and persons: on properties (properties.py), and trees of them (tree.py)."""

from domain.conditions.properties import (
    BUILT_IN,
    OPPOSITES,
    Operator,
    Where,
    check,
    check_all,
    check_property,
    key_of,
    lookup,
    matches,
)

__all__ = [
    "BUILT_IN",
    "OPPOSITES",
    "Operator",
    "Where",
    "check",
    "check_all",
    "check_property",
    "key_of",
    "lookup",
    "matches",
]
