"""What the dialects share: taking a request apart, and saying what msgspec found in plain words.

One bad message never sinks the others. So a batch is opened as raw items, and when even that
fails because of something inside an item (a half surrogate pair, 100,000 brackets), the items are
cut out by their brackets and each is judged alone.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from domain.admission import UNREADABLE, Clock, may_hold_nul, read_clock
from domain.errors import Rejected, TooLarge
from domain.json_objects import examine
from domain.limits import MAX_REQUEST_EVENTS

Item = msgspec.Raw | bytes
T = TypeVar("T")
NO_BODY = ("body", "is missing; send a JSON object")


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """A request taken apart, nothing judged yet. `kind` is the call that the path named, for the
    dialects that have one path per call; `sent_at` that of the whole request; `suspect`: see
    domain.admission.may_hold_nul.
    """

    items: Sequence[Item]
    kind: str | None = None
    write_key: str | None = None
    sent_at: datetime | None = None
    suspect: bool = True


class Answer(NamedTuple):
    """An HTTP status and a JSON body."""

    status: int
    body: bytes


def check_count(items: Sequence[Item], noun: str = "events") -> None:
    if len(items) > MAX_REQUEST_EVENTS:
        message = f"a request may have {MAX_REQUEST_EVENTS} {noun}, this one has {len(items)}"
        raise TooLarge(message, limit_events=MAX_REQUEST_EVENTS)


def united(snake: T | None, camel: T, field: str) -> T:
    """Of a field that has two spellings."""
    if snake is not None and snake != camel:
        raise Rejected(field, "comes in both spellings with different values; send one")
    return camel


# --- opening a batch -----------------------------------------------------------------------


class BatchBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What stands around the items of a batch of our own; where they are, the dialect adds."""

    sent_at: Clock = None
    sent_at_camel: Clock = msgspec.field(name="sentAt", default=None)


def open_batch(body: bytes, name: str, decode: Callable[[bytes], BatchBody]) -> Parsed:
    """`name`: of the list of items, in the struct that `decode` makes. Raises Rejected when the
    request as a whole can't be read, TooLarge for too many items.
    """
    items: Sequence[Item] | None = None
    try:
        batch = decode(body)
    except msgspec.ValidationError as error:
        raise _of_batch(body, name, explained(error)) from None
    except UNREADABLE:
        items, rest = cut_out(body, name)
        try:
            batch = decode(rest)
        except UNREADABLE as error:
            raise refusal(rest, error) from None
    items = getattr(batch, name) if items is None else items
    check_count(items, name)
    sent_at = batch.sent_at
    if batch.sent_at_camel is not None:
        sent_at = united(sent_at, batch.sent_at_camel, "sent_at")
    return Parsed(
        items=items,
        sent_at=None if sent_at is None else read_clock(sent_at, "sent_at"),
        suspect=may_hold_nul(body),
    )


def _of_batch(body: bytes, name: str, said: Rejected) -> Rejected:
    """What is wrong with the object around the items."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).keys()
    except UNREADABLE:
        return said
    if name not in fields:
        return Rejected(name, f'is missing; send {{"{name}": [...]}}')
    if said.field in fields - {name, "sent_at", "sentAt"}:
        return Rejected(said.field, f"is not a field of a batch; put it into its {name}")
    return said


_TOKENS = re.compile(rb'"(?:[^"\\]+|\\.)*+"?|[\[{]+|[\]}]+|[,:]', re.DOTALL)
_MOST_TOKENS = 200_000  # some 50 ms; a body of punctuation only is not worth more


def cut_out(body: bytes, name: str) -> tuple[list[bytes], bytes]:
    """The items of the array `name` in the object `body`, by their brackets, and `body` with that
    array emptied. Raises Rejected when there is no such array.
    """
    if not body.strip():
        raise Rejected(*NO_BODY)
    start, end, cuts = _array(body, b'"' + name.encode() + b'"')
    borders = zip([start, *cuts], [*cuts, end], strict=True)
    items = [body[a + 1 : b].strip() for a, b in borders]
    return ([] if items == [b""] else items), body[: start + 1] + body[end:]


def _array(body: bytes, name: bytes) -> tuple[int, int, list[int]]:
    """Where the array begins and ends, and the commas between its items."""
    depth = 0
    start = -1
    cuts: list[int] = []
    before = (b"", b"")
    for count, found in enumerate(_TOKENS.finditer(body)):
        token = found[0]
        if count > _MOST_TOKENS:
            break
        if token[0] in b"[{":
            if depth == 1 and before == (name, b":") and token[0] == b"["[0]:  # of the outermost
                start = found.start()
            depth += len(token)
        elif token[0] in b"]}":
            if start >= 0 and depth - len(token) <= 1:
                return start, found.start() + depth - 2, cuts
            depth -= len(token)
        elif start >= 0 and depth == 2 and token == b",":  # noqa: PLR2004  between the items
            cuts.append(found.start())
        before = (before[1], token)
    raise Rejected("body", "is not valid JSON")


# --- plain words ---------------------------------------------------------------------------

_WORDS = (("str", "string"), ("int", "integer"), ("bool", "boolean"), ("float", "number"))
_PATH = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`")
_MISSING = re.compile(r"Object missing required field `(.*?)`")
A_TIME = "must be a time: ISO 8601 such as 2026-01-31T12:00:00Z, or epoch seconds or milliseconds"


IN_PROPERTIES = "is not a field of an event; put it into properties"


def refusal(body: Item, error: Exception, unknown: str = IN_PROPERTIES) -> Rejected:
    """What to tell the sender of a message that `decode` could not read. `unknown`: what of a field
    that is not ours.
    """
    if not bytes(body).strip():
        return Rejected(*NO_BODY)
    if isinstance(error, msgspec.ValidationError):
        return explained(error, unknown)
    try:
        examine(bytes(body), "")
    except Rejected as exact:
        return exact
    return Rejected("message", f"is not valid JSON: {error}")


def explained(error: msgspec.ValidationError, unknown: str = IN_PROPERTIES) -> Rejected:
    issue = str(error)
    stranger = _UNKNOWN.match(issue)
    if stranger and stranger[1] == "writeKey":
        return Rejected(
            "writeKey", "is not a field here; the key goes into a header or the address"
        )
    if stranger:
        return Rejected(stranger[1], unknown)
    missing = _MISSING.match(issue)
    if missing:
        return Rejected(missing[1], "is missing")
    place = _PATH.search(issue)
    field = place[1] if place and place[1] else "message"
    return Rejected(field, in_words(_PATH.sub("", issue)))


def in_words(issue: str) -> str:
    """What msgspec says of a value, for people who don't write Python."""
    if "datetime" in issue:
        return A_TIME
    for short, word in _WORDS:
        issue = re.sub(rf"\b{short}\b", word, issue)
    issue = issue.replace(" | null`", "` or null").replace("integer | number", "number")
    return issue[:1].lower() + issue[1:]
