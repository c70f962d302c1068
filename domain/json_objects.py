"""The exact reading of a JSON object from outside: every rule, and the path of what breaks one.

Slow (tens of microseconds). domain/admission.py calls it when its quick look finds anything
unusual; what is accepted there must be accepted here (tests/ingest_rules checks it).
"""

import json
import math
import re
from typing import Any, NamedTuple

import msgspec

from domain.errors import Rejected
from domain.limits import MAX_DEPTH, MAX_KEY_CHARS, MAX_KEYS, MAX_NUMBER

_TOKENS = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_LONGEST_NUMBER = 400  # digits; int() is quadratic beyond
TOO_BIG = "is a number outside ±2^53"
NOT_EXACT = f"{TOO_BIG}, which cannot be kept exactly; send it as a string"
ROOT = "message"  # what the path is called when it is the whole message


class _Members(list[tuple[str, Any]]):
    """An object as pairs, so that a name that comes twice is seen."""


class _Place(NamedTuple):
    path: str
    value: Any


def examine(body: bytes, field: str) -> None:
    """Raises Rejected with the path of the first breach; `field` is the path of `body` itself,
    empty for a whole message.
    """
    text = _text(body, field)
    _check_depth(text, field)
    members = _parsed(text, field)
    if not isinstance(members, _Members):
        raise Rejected(field or ROOT, "must be a JSON object")
    _walk(members, field)
    _confirm(body, field)


def _text(body: bytes, field: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        issue = f"is not valid UTF-8 (byte {error.start}); encode the request as UTF-8"
        raise Rejected(field or ROOT, issue) from None


def _check_depth(text: str, field: str) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH + (not field):
                issue = f"nests deeper than {MAX_DEPTH} levels; flatten it"
                raise Rejected(field or ROOT, issue)
        elif first in "]}":
            depth -= 1


def _parsed(text: str, field: str) -> Any:
    try:
        return json.loads(
            text,
            object_pairs_hook=_Members,
            parse_int=_integer,
            parse_constant=lambda _: math.nan,
        )
    except json.JSONDecodeError as error:
        issue = f"is not valid JSON: {error.msg} at character {error.pos}"
        raise Rejected(field or ROOT, issue) from None


def _integer(digits: str) -> float:
    return int(digits) if len(digits) < _LONGEST_NUMBER else math.inf


def _walk(members: _Members, field: str) -> None:
    places = [_Place(field, members)]
    keys = 0
    while places:
        path, value = places.pop()
        if isinstance(value, _Members):
            keys += len(value)
            if keys > MAX_KEYS and field:  # a whole message may hold several such objects
                raise Rejected(field, f"has more than {MAX_KEYS} keys, counting nested ones")
            places.extend(reversed(_members_checked(value, path)))
        elif isinstance(value, list):
            places.extend(_Place(f"{path}[{i}]", v) for i, v in reversed(list(enumerate(value))))
        else:
            _check_scalar(value, path)


def _members_checked(members: _Members, path: str) -> list[_Place]:
    seen: set[str] = set()
    places = []
    for key, value in members:
        _check_text(key, path or ROOT, "a key")
        here = f"{path}.{key}" if path else key
        if not key or len(key) > MAX_KEY_CHARS:
            issue = f"has a key that is not 1 to {MAX_KEY_CHARS} characters long"
            raise Rejected(path or ROOT, issue)
        if key in seen:
            raise Rejected(here, "comes twice in one object; send each key once")
        seen.add(key)
        places.append(_Place(here, value))
    return places


def _check_scalar(value: str | float | None, path: str) -> None:
    if isinstance(value, str):
        _check_text(value, path, "the string")
    elif value is not None and not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise Rejected(path, NOT_EXACT)


def _check_text(text: str, path: str, what: str) -> None:
    if "\0" in text:
        raise Rejected(path, f"{what} holds \\u0000, which cannot be stored; remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        issue = f"{what} holds half of a surrogate pair; send whole Unicode characters"
        raise Rejected(path, issue) from None


def _confirm(body: bytes, field: str) -> None:
    """The reader that everything behind the log uses must agree."""
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rejected(field or ROOT, f"is not valid JSON: {error}") from None
