"""The rules for operations on traits: what besides setting them a message may ask for.

As stored: {"set_once": {name: value}, "increment": {name: number}, "append": {name: value},
"union": {name: [value, ...]}, "unset": [name, ...]}, of each only what the message has. What they
do is in domain/traits.py.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw

from domain.admission import UNREADABLE, checked_object
from domain.errors import Rejected
from domain.limits import MAX_KEY_CHARS, MAX_KEYS
from domain.tracking import EMPTY

_OBJECTS = ("set_once", "increment", "append", "union")
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_names = msgspec.json.Decoder(list[str]).decode
_encode = msgspec.json.Encoder().encode


def checked_operations(
    given: Mapping[str, Raw], *, unset: Sequence[str] = (), suspect: bool = True
) -> Raw:
    """`given`: operation -> what the sender wrote, EMPTY or null for none; `unset`: names to unset
    besides. EMPTY when nothing is left. Raises Rejected; together they are an object within the
    limits of one. `suspect`: domain.admission.may_hold_nul of the request.
    """
    found: dict[str, object] = {}
    for kind in _OBJECTS:
        operation = checked_object(given.get(kind, EMPTY), kind, suspect)
        if operation is not EMPTY and _checked_members(kind, _members(operation)):
            found[kind] = operation
    names = [*_checked_names(given.get("unset", EMPTY)), *unset]
    if names:
        found["unset"] = list(dict.fromkeys(names))
    return checked_object(Raw(_encode(found)), "operations", suspect) if found else EMPTY


def _checked_members(kind: str, members: dict[str, Raw]) -> int:
    """How many there are. Numbers are within the limits already."""
    for name, value in members.items():
        first = bytes(value)[:1]
        if kind == "increment" and first not in b"-0123456789":
            raise Rejected(f"increment.{name}", "must be a number")
        if kind == "union" and first != b"[":
            raise Rejected(f"union.{name}", "must be a list; append adds a single value")
    return len(members)


def _checked_names(raw: Raw) -> list[str]:
    if raw is EMPTY or bytes(raw) == b"null":
        return []
    try:
        names = _names(raw)
    except UNREADABLE:
        raise Rejected("unset", "must be a list of the names of traits") from None
    if len(names) > MAX_KEYS:
        raise Rejected("unset", f"has more than {MAX_KEYS} names")
    for place, name in enumerate(names):
        if not 0 < len(name) <= MAX_KEY_CHARS or "\0" in name:
            issue = f"is not the name of a trait: 1 to {MAX_KEY_CHARS} characters, no \\u0000"
            raise Rejected(f"unset[{place}]", issue)
    return names
