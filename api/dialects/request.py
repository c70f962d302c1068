"""What the dialects share: taking a request apart, and saying what msgspec found in plain words.

One bad message never sinks the others. So a batch is opened as raw items, and when even that
fails because of something inside an item (a half surrogate pair, 100,000 brackets), the items are
cut out by their brackets and each is judged alone.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from domain.errors import Rejected, TooLarge
from domain.json_objects import examine
from domain.limits import MAX_REQUEST_EVENTS

Item = msgspec.Raw | bytes
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


def check_count(items: Sequence[Item]) -> None:
    if len(items) > MAX_REQUEST_EVENTS:
        message = f"a request may have {MAX_REQUEST_EVENTS} events, this one has {len(items)}"
        raise TooLarge(message, limit_events=MAX_REQUEST_EVENTS)


# --- opening a batch -----------------------------------------------------------------------


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


def refusal(body: Item, error: Exception) -> Rejected:
    """What to tell the sender of a message that `decode` could not read."""
    if not bytes(body).strip():
        return Rejected(*NO_BODY)
    if isinstance(error, msgspec.ValidationError):
        return explained(error)
    try:
        examine(bytes(body), "")
    except Rejected as exact:
        return exact
    return Rejected("message", f"is not valid JSON: {error}")


def explained(error: msgspec.ValidationError) -> Rejected:
    issue = str(error)
    unknown = _UNKNOWN.match(issue)
    if unknown and unknown[1] == "writeKey":
        return Rejected(
            "writeKey", "is not a field here; the key goes into a header or the address"
        )
    if unknown:
        return Rejected(unknown[1], "is not a field of an event; put it into properties")
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
    return issue[:1].lower() + issue[1:]
