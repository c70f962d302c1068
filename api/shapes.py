"""What msgspec finds wrong with a value, told by its field and with what would be right there."""

import re
from typing import Any, Literal, get_args, get_origin

import msgspec

from api.dialects.request import in_words
from domain.errors import Rejected
from domain.json_objects import NOT_EXACT, ROOT, TOO_BIG, examine
from domain.limits import MAX_NAME_CHARS
from domain.nearest import told

_NAMED = re.compile(r"Object (contains unknown|missing required) field `(.*)`$", re.DOTALL)
_PLACE = re.compile(r" - at `\$([^`]*)`$")
_OWN = re.compile(r"\w+|criteria\..*(?<!\bvalue)(?<!\])")  # a list's values end in ]
_TAG = "type"
_STEP = re.compile(r"\[[^]]*\]|[^.\[\]]+")


def refusal(
    error: msgspec.ValidationError, kind: Any, field: str, value: object = None
) -> Rejected:
    """`error` came from decoding a `value` of type `kind`, which callers know as `field`."""
    place = _PLACE.search(str(error))
    path = place[1] if place else ""
    return told_at(_PLACE.sub("", str(error)), kind, path, field=field, value=value)


def told_at(issue: str, kind: Any, path: str, *, field: str = "", value: object = None) -> Rejected:
    """`path`: where in it, such as `[0].operator`; empty for the whole of it. `value`: what was
    sent, which tells of several kinds the one that was meant.
    """
    here, inner = _type_at(kind, path, value)
    whole = f"{field}{path if field else path.lstrip('.')}"
    named = _NAMED.match(issue)
    if named is not None:
        return _misnamed(named, here, inner, whole)
    if issue.startswith("Invalid ") and (choices := _choices(here)):
        return Rejected(whole, f"must be one of {', '.join(choices)}")
    return Rejected(whole or "body", in_words(issue))


def _misnamed(named: re.Match[str], kind: Any, value: object, whole: str) -> Rejected:
    name = named[2][:MAX_NAME_CHARS]
    missing = named[1].startswith("missing")
    wrong = (
        "is missing" if missing else f"is no field here{told(_names(_meant(kind, value)), name)}"
    )
    if missing and name == _TAG and _tagged(kind):
        wrong = f"is missing; it is one of {', '.join(_tagged(kind))}"
    return Rejected(f"{whole}.{name}" if whole else name, wrong)


def check_body(body: bytes, kind: Any) -> None:
    """Raises Rejected for what the framework lets pass when it reads a `kind`: types of JSON that
    it converts, a key that comes twice, a number that it rounds.
    """
    try:
        examine(body, "")
        msgspec.json.decode(body, type=kind)
    except Rejected as error:
        field = "body" if error.field == ROOT else error.field
        # A field of ours takes such a number as a string neither; a value to compare with does.
        is_own = error.issue == NOT_EXACT and _OWN.fullmatch(field) is not None
        raise Rejected(field, TOO_BIG if is_own else error.issue) from None
    except msgspec.ValidationError as error:
        raise refusal(error, kind, "", msgspec.json.decode(body)) from None


def _type_at(kind: Any, path: str, value: object) -> tuple[Any, object]:
    """And what was sent there. None where it can't be told."""
    for step in _STEP.findall(path):
        kind, value = _inner(_meant(kind, value), step, kind), _part(value, step)
    return _plain(kind), value


def _inner(kind: Any, step: str, union: Any) -> Any:
    if step.startswith("["):
        return next(iter(get_args(kind)), None)
    if step == _TAG and (tags := _tagged(union)):
        return Literal[tuple(tags)]
    return next((f.type for f in _fields(kind) if f.encode_name == step), None)


def _part(value: object, step: str) -> object:
    if isinstance(value, dict):
        return value.get(step)
    place = step.strip("[]")
    if isinstance(value, list) and place.isdigit() and int(place) < len(value):
        return value[int(place)]
    return None


def _tagged(kind: Any) -> dict[str, Any]:
    """Of a union of kinds that are told apart by their `type`."""
    if get_origin(kind) in (Literal, tuple, list):
        return {}
    structs = [one for one in get_args(kind) if _fields(one)]
    return {one.__struct_config__.tag: one for one in structs if one.__struct_config__.tag}


def _meant(kind: Any, value: object) -> Any:
    """Of several kinds the one that the value says it is."""
    tags = _tagged(kind)
    tag = value.get(_TAG) if isinstance(value, dict) else None
    return tags[tag] if isinstance(tag, str) and tag in tags else _plain(kind)


def _plain(kind: Any) -> Any:
    """Of `X | None` the X."""
    if isinstance(kind, type) or get_origin(kind) in (Literal, tuple, list) or _tagged(kind):
        return kind
    return next((one for one in get_args(kind) if one is not type(None)), kind)


def _fields(kind: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return msgspec.structs.fields(kind) if is_struct else ()


def _names(kind: Any) -> list[str]:
    return [field.encode_name for field in _fields(kind)]


def _choices(kind: Any) -> list[str]:
    return [str(one) for one in get_args(kind)] if get_origin(kind) is Literal else []
