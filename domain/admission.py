"""The rules that decide whether a message is taken. Each breach is a Rejected with its field.

This is the hot path: the common case is decided in C by msgspec and a few byte counts; whatever
looks unusual goes to the exact reading in domain/json_objects.py, which names the place.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from unicodedata import is_normalized

import msgspec
from msgspec import Meta

from domain.errors import Rejected
from domain.json_objects import examine
from domain.limits import (
    MAX_CLOCK_AHEAD_SECONDS,
    MAX_EVENT_BYTES,
    MAX_ID_CHARS,
    MAX_KEY_CHARS,
    MAX_KEYS,
    MAX_NAME_CHARS,
    MAX_NUMBER,
    MAX_YEAR,
    MIN_YEAR,
)
from domain.tracking import EMPTY, Client

Clock = datetime | int | float | None  # a time as it comes over the wire

EARLIEST = datetime(MIN_YEAR, 1, 1, tzinfo=UTC)
LATEST = datetime(MAX_YEAR, 1, 1, tzinfo=UTC)
_AHEAD = timedelta(seconds=MAX_CLOCK_AHEAD_SECONDS)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # where reset clocks begin; skew correction mends them
_MILLISECONDS = 100_000_000_000  # an epoch number from here on is milliseconds (as such: 1973)
_JOINERS = str.maketrans("", "", "\u200c\u200d")  # needed inside words and emoji; not "printable"


class Arrival(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is common to the messages of one request. Make it with `arrived`.

    `kind` is the call that the path named (track, page, ...); None: the message says it itself.
    `suspect`: `may_hold_nul` of the request.
    `shift` is received_at - sent_at, `latest` the last moment that a timestamp may name.
    """

    received_at: datetime
    client: Client
    new_id: Callable[[], str]
    latest: datetime
    kind: str | None = None
    sent_at: datetime | None = None
    shift: timedelta | None = None
    suspect: bool = True


def arrived(
    *,
    received_at: datetime,
    client: Client,
    new_id: Callable[[], str],
    kind: str | None = None,
    sent_at: datetime | None = None,
    suspect: bool = True,
) -> Arrival:
    """`received_at` and `sent_at` in UTC; `new_id` names messages that have no id of their own."""
    return Arrival(
        received_at=received_at,
        client=client,
        new_id=new_id,
        latest=min(received_at + _AHEAD, LATEST),
        kind=kind,
        sent_at=sent_at,
        shift=None if sent_at is None else received_at - sent_at,
        suspect=suspect,
    )


def sent(arrival: Arrival, sent_at: Clock, field: str) -> Arrival:
    """The arrival of a message that says itself when it was sent; what the request says is closer
    to the sending, so it goes first.
    """
    if arrival.sent_at is not None or sent_at is None:
        return arrival
    when = read_clock(sent_at, field)
    return msgspec.structs.replace(arrival, sent_at=when, shift=arrival.received_at - when)


# --- ids and names -------------------------------------------------------------------------


def checked_id(value: str, field: str) -> str:
    if 0 < len(value) <= MAX_ID_CHARS and value.isprintable() and not value.isspace():
        if value.isascii() or is_normalized("NFC", value):
            return value
        raise Rejected(field, "is not in Unicode normal form C; normalise it (NFC)")
    raise Rejected(field, _id_issue(value))


def _id_issue(value: str) -> str:
    if len(value) > MAX_ID_CHARS:
        return f"is longer than {MAX_ID_CHARS} characters"
    if not value or value.isspace():
        return "is empty; leave it out or send an id"
    return "holds characters that do not print, such as controls; remove them"


def checked_name(value: str | None, field: str) -> str:
    """The name of an event, a page or a screen."""
    if value and len(value) <= MAX_NAME_CHARS and value.isprintable() and not value.isspace():
        return value
    if not value or value.isspace():
        raise Rejected(field, "is missing; name what happened")
    if len(value) > MAX_NAME_CHARS:
        raise Rejected(field, f"has over {MAX_NAME_CHARS} characters; details go into properties")
    if not value.translate(_JOINERS).isprintable():
        raise Rejected(field, "holds characters that do not print (line breaks?); remove them")
    return value


def check_size(body: msgspec.Raw | bytes) -> None:
    if len(body) > MAX_EVENT_BYTES:
        issue = f"is {len(body)} bytes; an event may have {MAX_EVENT_BYTES}"
        raise Rejected("message", issue)


# --- JSON objects --------------------------------------------------------------------------

_Integer = Annotated[int, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
_Float = Annotated[float, Meta(ge=-float(MAX_NUMBER), le=float(MAX_NUMBER))]
_Scalar: Any = None | bool | _Integer | _Float | str
_SPACES = b" \n\r\t"  # all that JSON allows
_QUICK_DEPTH = 4  # msgspec builds 2^depth nodes; deeper objects take the exact reading


def _nested(depth: int) -> Any:
    value = _Scalar
    for _ in range(depth - 1):
        value = _Scalar | list.__class_getitem__(value) | dict.__class_getitem__((str, value))
    return dict.__class_getitem__((str, value))


# Keys are left unconstrained: msgspec then takes them from its cache, 0.6 µs an event less.
_decode_flat = msgspec.json.Decoder(_nested(1)).decode
_decode_nested = msgspec.json.Decoder(_nested(_QUICK_DEPTH)).decode
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)  # what a decoder may raise


def may_hold_nul(body: bytes) -> bool:
    """Whether a string in `body` may hold an escaped NUL: one look at the whole request spares
    each object its own. (A NUL that is not escaped is no JSON.)
    """
    return b"\\" in body and b"\\u0000" in body


def checked_object(raw: msgspec.Raw, field: str, suspect: bool) -> msgspec.Raw:  # noqa: FBT001  positional: the hot path
    """`raw` itself, or EMPTY for null. It is an object within the limits on depth, keys, numbers
    and characters, and no key in it comes twice. `suspect`: `may_hold_nul` of the request.
    """
    if raw is EMPTY:
        return raw
    body = bytes(raw)
    flat = True
    try:
        found = _decode_flat(body)
        keys = len(found)
        good = "" not in found and not _may_hold_long_key(body, found)
    except UNREADABLE:
        flat = False
        try:
            found = _decode_nested(body)
        except UNREADABLE:
            return _examined(raw, body, field)
        keys, good = _survey(found)
    if not good or keys > MAX_KEYS or not _all_keys_differ(body, keys, flat=flat):
        return _examined(raw, body, field)
    if suspect and may_hold_nul(body):
        return _examined(raw, body, field)
    return raw


def _examined(raw: msgspec.Raw, body: bytes, field: str) -> msgspec.Raw:
    if body == b"null":
        return EMPTY
    examine(body, field)
    return raw


def _may_hold_long_key(body: bytes, found: dict[str, Any]) -> bool:
    others = 6 * (len(found) - 1)  # the least that another member takes: "k":1,
    return len(body) - others > MAX_KEY_CHARS and max(map(len, found)) > MAX_KEY_CHARS


def _survey(found: dict[str, Any]) -> tuple[int, bool]:
    """How many keys at all depths, and whether each has a good length."""
    keys = 0
    todo: list[Any] = [found]
    while todo:
        value = todo.pop()
        if value.__class__ is dict:
            keys += len(value)
            if "" in value or (value and max(map(len, value)) > MAX_KEY_CHARS):
                return keys, False
            value = value.values()
        todo.extend(v for v in value if v.__class__ is dict or v.__class__ is list)
    return keys, True


def may_lack_keys(body: bytes, found: dict[str, Any]) -> bool:
    """Whether `found`, which a decoder made of `body`, may lack members whose key comes twice.
    `domain.json_objects.examine` knows.
    """
    keys, _ = _survey(found)
    return not _all_keys_differ(body, keys, flat=False)


def _all_keys_differ(body: bytes, keys: int, *, flat: bool) -> bool:
    """False also when in doubt. A decoder drops the first of two equal keys, so `keys` (those
    that it kept) is less than the keys written. Each of these is followed by a colon, and all but
    the last member of a flat object by a comma; strings can only add to what is counted here.
    """
    if body.count(b":") == keys or (flat and body.count(b",") == keys - 1):
        return True
    return body.translate(None, _SPACES).count(b'":') == keys


# --- time ----------------------------------------------------------------------------------


def read_clock(value: datetime | float, field: str) -> datetime:
    """UTC. Numbers are epoch seconds or milliseconds; a time without an offset is UTC."""
    if value.__class__ is not datetime:
        value = _from_epoch(value, field)  # type: ignore[arg-type]  # not a datetime
    elif value.tzinfo is not UTC:
        value = _in_utc(value)
    if not _EPOCH <= value < LATEST:
        raise Rejected(field, f"must lie between 1970 and {MAX_YEAR}")
    return value


def _from_epoch(value: float, field: str) -> datetime:
    seconds = value / 1000 if abs(value) >= _MILLISECONDS else value
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        raise Rejected(field, "must be epoch seconds or milliseconds") from None


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # within a day of year 1 or 9999
        return value.replace(tzinfo=UTC)


def happened_at(original: datetime | None, arrival: Arrival) -> datetime:
    """When it happened by our clock: the sender's clock is off by what lies between its sent_at
    and our received_at (Segment's spec). A correction that leads out of the range that the
    uncorrected time is in was no clock's fault and is not made.
    """
    if original is None:
        return arrival.received_at
    if arrival.shift is not None:
        corrected = original + arrival.shift
        if EARLIEST <= corrected <= arrival.latest:
            return corrected
    if EARLIEST <= original <= arrival.latest:
        return original
    raise Rejected("timestamp", _time_issue(original))


def _time_issue(original: datetime) -> str:
    if original < EARLIEST:
        return f"lies before {MIN_YEAR}"
    return "lies more than 24 hours in the future"
