"""Erasing a person: which ids, what stays of an event, and which ids are refused afterwards.

What is counted stays: that somebody did this at that time, and how often. Who it was goes: ids
become pseudonyms that are random and not kept, and of what was said numbers and booleans remain.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import UUID

import msgspec

from domain.tracking import (
    EMPTY,
    Aliased,
    Client,
    Grouped,
    Identified,
    Message,
    Refused,
    Tracked,
    Unmerged,
)

Step = Literal["freeze", "log", "analytics", "feed", "clean", "files"]
# freeze     ids are barred, and what was on its way has come; the ids are all there are
# log        payloads, Postgres read models and the receipt, in one transaction
# analytics  the rows in ClickHouse
# feed       messages on NATS that hold the old payloads
# clean      dead rows and statistics in Postgres; nothing of the ids has come meanwhile
# files      parts that ClickHouse has replaced are gone from the disk
STEPS: tuple[Step, ...] = ("freeze", "log", "analytics", "feed", "clean", "files")

PSEUDONYM_BYTES = 16
BARRED = "was erased, and messages of it are refused"
ERASED = "erased"  # what is told of a refusal whose body was erased
_DIGEST_BYTES = 16
_FIELDS = ("user_id", "anonymous_id", "previous_id")  # in which a message may have ids
_SPELT: Mapping[str, Mapping[str, str]] = {  # by dialect, where senders call them otherwise
    "segment": {"user_id": "userId", "anonymous_id": "anonymousId", "previous_id": "previousId"}
}
_LEAST_CHARS = 6
_MOST_KEPT = 1e9  # larger numbers may be those of phones, accounts and documents
_LONG_NUMBER = re.compile(r"\d{7}")
_TOKENS = re.compile(r"[^\s\"'`,;:(){}\[\]<>=&?]+")
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class PersonErased(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The receipt: at this position the log holds nothing personal of somebody any more.

    `digests` are those of the erased ids (hex), for whoever has the key to refuse the ids by;
    `events` and `refusals` how many were rewritten; `done_by` the id of the key that asked for it.
    """

    TOPIC: ClassVar[str] = "person.erased.v1"
    erasure_id: str
    digests: tuple[str, ...]
    events: int
    refusals: int
    requested_at: datetime
    erased_at: datetime
    done_by: str


# --- ids that are refused ------------------------------------------------------------------


def digest(key: bytes, app_id: UUID, distinct_id: str) -> bytes:
    """16 bytes. Without the key nobody can try out which id it is of."""
    return blake2b(app_id.bytes + distinct_id.encode(), digest_size=_DIGEST_BYTES, key=key).digest()


class Barred(NamedTuple):
    """The ids of an app that were erased: `distinct_id in barred`."""

    key: bytes
    app_id: UUID
    digests: AbstractSet[bytes]

    def __contains__(self, distinct_id: object) -> bool:
        return (
            isinstance(distinct_id, str)
            and digest(self.key, self.app_id, distinct_id) in self.digests
        )

    def field_of(self, message: Message | Refused) -> str | None:
        """Where the message names one of them; None: it names none."""
        if isinstance(message, Refused):
            return "body" if any(word in self for word in words_in(message.body)) else None
        for field in _FIELDS:
            if (value := getattr(message, field, None)) and value in self:
                return _SPELT.get(message.source, {}).get(field, field)
        return None


def words_in(body: bytes) -> Iterator[str]:
    """All that may be an id in a body that was refused: of its JSON what a field with `id` in its
    name says, else words that are long enough not to be there by chance.
    """
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        yield from _ids(msgspec.json.decode(body))
    yield from _long_words(body.decode(errors="replace"))


def _ids(body: Any) -> Iterator[str]:
    places = [("", body)]
    while places:
        name, value = places.pop()
        if isinstance(value, dict):
            places += value.items()
        elif isinstance(value, list):
            places += [(name, one) for one in value]
        elif "id" in name.lower() and value is not None:
            yield str(value)
        if isinstance(value, str):
            yield from _long_words(value)  # here without JSON's escapes


def _long_words(text: str) -> Iterator[str]:
    if len(text) >= _LEAST_CHARS:
        yield text
        yield from (word for word in _TOKENS.findall(text) if len(word) >= _LEAST_CHARS)


# --- what stays of an event ----------------------------------------------------------------

Names = Mapping[str, str]  # distinct id -> pseudonym, of all ids that are erased


def names_one(event: msgspec.Struct, ids: AbstractSet[str] | Names) -> bool:
    """Whether it names one of these ids."""
    match event:
        case Unmerged():
            return event.user_id in ids or any(one in ids for pair in event.pairs for one in pair)
        case Aliased():
            return event.previous_id in ids or _sender_in(event, ids)
        case Message():
            return _sender_in(event, ids)
        case Refused():
            return any(word in ids for word in words_in(event.body))
        case _:
            return False


def _sender_in(message: Message, ids: AbstractSet[str] | Names) -> bool:
    return message.user_id in ids or message.anonymous_id in ids


def redacted(event: msgspec.Struct, stream_id: bytes, names: Names) -> msgspec.Struct:
    """What stays on the log. A message that somebody else has sent only has its ids renamed;
    doing it twice is doing it once.
    """
    match event:
        case Unmerged():
            return _cut(event, names)
        case Refused():
            return _refused(event)
        case Message():
            renamed = _renamed(event, names)
            return _emptied(renamed, stream_id, names) if event.distinct_id in names else renamed
        case _:
            return event


def _renamed(message: Message, names: Names) -> Message:
    changed: dict[str, Any] = {
        field: names[value]
        for field in _FIELDS
        if isinstance(value := getattr(message, field, None), str) and value in names
    }
    if isinstance(message, Aliased):
        changed["reason"] = None
    return msgspec.structs.replace(message, **changed)


def _emptied(message: Message, stream_id: bytes, ids: Names) -> Message:
    """The message id may be made of anything; the stream id that was made from it stays."""
    changed: dict[str, Any] = {
        "message_id": stream_id.hex(),
        "context": EMPTY,
        "client": Client(),
    }
    match message:
        case Tracked():
            changed["properties"] = counted(message.properties, ids)
        case Identified():
            changed |= {"traits": EMPTY, "operations": EMPTY}
        case Grouped():
            changed["traits"] = EMPTY
        case _:
            pass
    return msgspec.structs.replace(message, **changed)


def _cut(event: Unmerged, names: Names) -> Unmerged:
    return msgspec.structs.replace(
        event,
        user_id=names.get(event.user_id, event.user_id),
        pairs=tuple((names.get(one, one), names.get(other, other)) for one, other in event.pairs),
        reason=None,
    )


def _refused(event: Refused) -> Refused:
    return msgspec.structs.replace(event, body=b"", field=ERASED, issue=ERASED, client=Client())


def counted(properties: msgspec.Raw, ids: Iterable[str] = ()) -> msgspec.Raw:
    """The numbers and booleans among them, as they were written: what is added up stays. A name
    that may be an e-mail address or a phone number, or has one of the `ids`, goes with its value.
    """
    kept = _counted(properties, ids)
    return kept if kept is not None else EMPTY


def _counted(raw: msgspec.Raw, ids: Iterable[str]) -> msgspec.Raw | None:
    kept = {}
    for name, value in _members(raw).items():
        keep = _KEEP.get(bytes(value)[:1], _number)(value, ids)
        if keep is not None and not _may_tell(name, ids):
            kept[name] = keep
    return msgspec.Raw(msgspec.json.encode(kept)) if kept else None


def _may_tell(name: str, ids: Iterable[str]) -> bool:
    if "@" in name or _LONG_NUMBER.search(name):
        return True
    return any(one in name and (len(one) >= _LEAST_CHARS or _is_word(one, name)) for one in ids)


def _is_word(short: str, name: str) -> bool:
    """A short id within another word may be there by chance."""
    return re.search(rf"(?<![^\W_]){re.escape(short)}(?![^\W_])", name) is not None


def _number(value: msgspec.Raw, _: Iterable[str]) -> msgspec.Raw | None:
    return value if abs(float(bytes(value))) < _MOST_KEPT else None


def _nothing(_value: msgspec.Raw, _ids: Iterable[str]) -> None:
    return None


def _itself(value: msgspec.Raw, _: Iterable[str]) -> msgspec.Raw:
    return value


_KEEP: dict[bytes, Callable[[msgspec.Raw, Iterable[str]], msgspec.Raw | None]] = {
    b'"': _nothing,
    b"n": _nothing,
    b"[": _nothing,
    b"t": _itself,
    b"f": _itself,
    b"{": _counted,
}
