"""Traits: what is said of a person, folded into what is so.

Everything said of a trait is an operation with a key, (the event's own timestamp, its id), and with
the distinct id that it came with. The value is the fold of the operations of all ids of the person
in the order of their keys, so neither the order of arrival nor a merge and its undoing changes it.

set        the value, whatever it was (a null sets null)
set_once   the value, if there is none
increment  plus a number; of no value or one that is no number, from 0; it ends at ±2^53
append     a list, with this at its end; no list: a list of what was there first
union      the same for each value that is not in the list
unset      no value

A person, or a group, has the MAX_TRAITS traits that were spoken of last; what was known of another
one is gone, as if nothing had been said of it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from domain.limits import MAX_NUMBER, MAX_TRAIT_LIST, MAX_TRAIT_LIST_BYTES, MAX_TRAITS
from domain.tracking import EMPTY

OPERATIONS = ("set_once", "increment", "append", "union", "unset")


class Said(NamedTuple):
    """What one message said: `traits` are set, `operations` as domain/tracking.Identified has them.
    `number` is that of the distinct id that it came with.
    """

    timestamp: datetime
    event_id: bytes
    position: int
    number: int
    traits: bytes | str | msgspec.Raw = EMPTY
    operations: bytes | str | msgspec.Raw = EMPTY

    @property
    def key(self) -> tuple[datetime, bytes]:
        return self.timestamp, self.event_id


class Trait(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a trait is. `value` is JSON and means nothing unless `is_set`. `timestamp`, `position`
    and `number` are those of the operation that made it so; `last_timestamp` and `last_event` the
    key of the last one that spoke of it. `plain`: it was only ever set and unset.
    """

    value: msgspec.Raw
    is_set: bool
    timestamp: datetime
    position: int
    number: int
    last_timestamp: datetime
    last_event: bytes
    plain: bool = True


Traits = dict[str, Trait]
_NULL = msgspec.Raw(b"null")

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_lists = msgspec.json.Decoder(dict[str, list[msgspec.Raw]]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode
_encode = msgspec.json.Encoder().encode


def fold(said: Iterable[Said]) -> Traits:
    traits: Traits = {}
    for one in sorted(said, key=_key):
        take(traits, one)
    return traits


def _key(said: Said) -> tuple[datetime, bytes]:
    return said.timestamp, said.event_id


def merged(parts: Sequence[Traits]) -> Traits | None:
    """What the fold of all that was said in these folds would be. None: that can't be told from
    them, because a trait of two of them was not only set, or one may have been forgotten.
    """
    found: Traits = {}
    for part in parts:
        for name in found.keys() & part.keys():
            if not (found[name].plain and part[name].plain):
                return None
        newer = {
            name: trait
            for name, trait in part.items()
            if name not in found or _last(found[name]) < _last(trait)
        }
        found |= newer
    return found if len(found) < MAX_TRAITS else None


def _last(trait: Trait) -> tuple[datetime, bytes]:
    return trait.last_timestamp, trait.last_event


def _forget_oldest(traits: Traits) -> None:
    if len(traits) > MAX_TRAITS:
        newest_first = sorted(traits, key=lambda name: (*_last(traits[name]), name), reverse=True)
        for name in newest_first[MAX_TRAITS:]:
            del traits[name]


def take(traits: Traits, said: Said, *, only_set: bool = False) -> bool:
    """Changes the traits by what was said. False: it comes too late, they must be folded anew, and
    are as they were. `only_set`: no trait of these is ever anything but set, so nothing is late.
    """
    changed: Traits = {}
    for name, plain, step in _steps(said):
        before = changed.get(name) or traits.get(name)
        if before is not None and said.key < _last(before):
            if not (before.plain and plain):
                return False
            continue
        changed[name] = _next(before, said, plain=plain, step=step)
    has_room = len(traits) + len(changed) < MAX_TRAITS
    if not (has_room or only_set or _is_last(traits, changed, said)):
        return False
    traits |= changed
    _forget_oldest(traits)
    return True


def _is_last(traits: Traits, changed: Traits, said: Said) -> bool:
    """Or that does not matter, because none was forgotten. Of one that was, nobody knows whether it
    was only set.
    """
    if len(traits.keys() | changed.keys()) < MAX_TRAITS:
        return True
    return all(_last(trait) <= said.key for trait in traits.values())


def operations_in(said: Said) -> list[tuple[str, str, msgspec.Raw | None]]:
    """(operation, trait, what it said of it), in the order in which they are done; `unset` says
    nothing.
    """
    found: list[tuple[str, str, msgspec.Raw | None]] = []
    if said.traits is not EMPTY:
        found += [("set", name, value) for name, value in _decode_object(said.traits).items()]
    if said.operations is EMPTY:
        return found
    operations = _decode_object(said.operations)
    for kind in OPERATIONS:
        if kind == "unset" and kind in operations:
            found += [(kind, name, None) for name in _decode_names(operations[kind])]
        elif kind in operations:
            told = _decode_object(operations[kind])
            found += [(kind, name, value) for name, value in told.items()]
    return found


Step = Callable[[msgspec.Raw | None], msgspec.Raw | None]


def _steps(said: Said) -> Iterable[tuple[str, bool, Step]]:
    """(trait, whether it is set or unset, value before -> value after)."""
    if said.traits is not EMPTY:
        for name, value in _decode_object(said.traits).items():
            yield name, True, _set(value)
    if said.operations is EMPTY:
        return
    operations = _decode_object(said.operations)
    for kind in OPERATIONS:
        if kind in operations:
            yield from _READ[kind](operations[kind])


def _next(before: Trait | None, said: Said, *, plain: bool, step: Step) -> Trait:
    old = before.value if before is not None and before.is_set else None
    new = step(old)
    if before is not None and not plain and new is old:
        return msgspec.structs.replace(
            before, last_timestamp=said.timestamp, last_event=said.event_id, plain=False
        )
    plain = plain and (before is None or before.plain)
    return Trait(
        value=_NULL if new is None else new,
        is_set=new is not None,
        timestamp=said.timestamp,
        position=said.position,
        number=said.number,
        last_timestamp=said.timestamp,
        last_event=said.event_id,
        plain=plain,
    )


def _set(value: msgspec.Raw) -> Step:
    return lambda _before: value


def _read_set_once(raw: msgspec.Raw) -> Iterable[tuple[str, bool, Step]]:
    for name, value in _decode_object(raw).items():
        yield name, False, lambda before, value=value: before if before is not None else value  # type: ignore[misc]  # mypy does not type a lambda's default


def _read_increment(raw: msgspec.Raw) -> Iterable[tuple[str, bool, Step]]:
    for name, value in _decode_object(raw).items():
        yield name, False, _plus(msgspec.json.decode(value))


def _plus(number: float) -> Step:
    def step(before: msgspec.Raw | None) -> msgspec.Raw:
        value: Any = None if before is None else msgspec.json.decode(before)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        total = (value if is_number else 0) + number
        return msgspec.Raw(_encode(max(-MAX_NUMBER, min(total, MAX_NUMBER))))

    return step


def _read_append(raw: msgspec.Raw) -> Iterable[tuple[str, bool, Step]]:
    for name, value in _decode_object(raw).items():
        yield name, False, _with([value], only_new=False)


def _read_union(raw: msgspec.Raw) -> Iterable[tuple[str, bool, Step]]:
    for name, values in _decode_lists(raw).items():
        yield name, False, _with(values, only_new=True)


def _with(values: Sequence[msgspec.Raw], *, only_new: bool) -> Step:
    def step(before: msgspec.Raw | None) -> msgspec.Raw:
        found: Any = [] if before is None else msgspec.json.decode(before)
        items = found if isinstance(found, list) else [found]
        told = {_same(item) for item in items} if only_new else set()
        for value in map(msgspec.json.decode, values):
            if not only_new or _same(value) not in told:
                items.append(value)
                told.add(_same(value))
        return _newest(items)

    return step


def _newest(items: Sequence[Any]) -> msgspec.Raw:
    """JSON of so many as a list may have, those at its end."""
    items = items[-MAX_TRAIT_LIST:]
    encoded = _encode(items)
    if len(encoded) > MAX_TRAIT_LIST_BYTES:
        ends = accumulate(len(_encode(item)) + 1 for item in reversed(items))
        count = bisect_left(list(ends), MAX_TRAIT_LIST_BYTES)
        encoded = _encode(items[len(items) - max(count, 1) :])
    return msgspec.Raw(encoded)


def _same(value: Any) -> bytes:
    """Equal for what is the same in JSON, which has one kind of number: 1.0 is 1."""
    whole = isinstance(value, float) and value.is_integer()
    return _encode(int(value) if whole else value)


def _read_unset(raw: msgspec.Raw) -> Iterable[tuple[str, bool, Step]]:
    for name in _decode_names(raw):
        yield name, True, lambda _before: None


_READ: dict[str, Callable[[msgspec.Raw], Iterable[tuple[str, bool, Step]]]] = {
    "set_once": _read_set_once,
    "increment": _read_increment,
    "append": _read_append,
    "union": _read_union,
    "unset": _read_unset,
}
