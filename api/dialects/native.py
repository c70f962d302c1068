"""Our own dialect: POST /v1/events, /v1/events/track (one event), /v1/events/batch.

Both spellings of the original product's pages are read (`event_name` and `event`, `user_id` and
`userId`). A field that is not ours is refused, so that a typing error can't lose data silently.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import TypeVar

import msgspec

from api.dialects.context import known_address, replaced
from api.dialects.message import Names, tracked
from api.dialects.request import (
    Answer,
    Item,
    Parsed,
    check_count,
    cut_out,
    explained,
    refusal,
)
from commands.ingest import Outcome
from domain.admission import (
    UNREADABLE,
    Arrival,
    Clock,
    check_size,
    checked_name,
    checked_object,
    may_hold_nul,
    read_clock,
)
from domain.errors import Conflict, Rejected
from domain.tracking import EMPTY, Client, Tracked

NAME = "native"
T = TypeVar("T")
_NAMES = Names(NAME, "message_id", "user_id", "anonymous_id", "sent_at")


class EventBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    event_name: str | None = None
    event: str | None = None
    user_id: str | None = None
    user_id_camel: str | None = msgspec.field(name="userId", default=None)
    anonymous_id: str | None = None
    anonymous_id_camel: str | None = msgspec.field(name="anonymousId", default=None)
    message_id: str | None = None
    message_id_camel: str | None = msgspec.field(name="messageId", default=None)
    timestamp: Clock = None
    sent_at: Clock = None
    sent_at_camel: Clock = msgspec.field(name="sentAt", default=None)
    properties: msgspec.Raw = EMPTY
    context: msgspec.Raw = EMPTY
    ip: str | None = None
    ua: str | None = None


class EventsBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    events: list[msgspec.Raw]
    sent_at: Clock = None
    sent_at_camel: Clock = msgspec.field(name="sentAt", default=None)


_BATCH_FIELDS = frozenset(("events", "sent_at", "sentAt"))
_decode = msgspec.json.Decoder(EventBody).decode
_decode_batch = msgspec.json.Decoder(EventsBody).decode


def parse_one(body: bytes) -> Parsed:
    return Parsed(items=[body], suspect=may_hold_nul(body))


def parse_batch(body: bytes) -> Parsed:
    """Raises Rejected when the request as a whole can't be read, TooLarge for too many events."""
    try:
        batch = _decode_batch(body)
    except msgspec.ValidationError as error:
        raise _of_batch(body, explained(error)) from None
    except UNREADABLE:
        batch = _salvaged(body)
    check_count(batch.events)
    sent_at = batch.sent_at
    if batch.sent_at_camel is not None:
        sent_at = _one(sent_at, batch.sent_at_camel, "sent_at")
    return Parsed(
        items=batch.events,
        sent_at=None if sent_at is None else read_clock(sent_at, "sent_at"),
        suspect=may_hold_nul(body),
    )


def _of_batch(body: bytes, said: Rejected) -> Rejected:
    """What is wrong with the object around the events."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).keys()
    except UNREADABLE:
        return said
    if "events" not in fields:
        return Rejected("events", 'is missing; send {"events": [...]}')
    if said.field in fields - _BATCH_FIELDS:
        return Rejected(said.field, "is not a field of a batch; put it into its events")
    return said


def _salvaged(body: bytes) -> EventsBody:
    items, rest = cut_out(body, "events")
    try:
        batch = _decode_batch(rest)
    except UNREADABLE as error:
        raise refusal(rest, error) from None
    batch.events = [msgspec.Raw(item) for item in items]
    return batch


def admit(body: Item, arrival: Arrival) -> Tracked:
    """Raises Rejected."""
    check_size(body)
    try:
        event = _decode(body)
    except UNREADABLE as error:
        raise refusal(body, error) from None
    _unite_spellings(event)
    message = tracked(
        event,
        arrival,
        _NAMES,
        event=checked_name(event.event_name, "event_name"),
        properties=checked_object(event.properties, "properties", arrival.suspect),
    )
    if event.ip is None and event.ua is None:
        return message
    return msgspec.structs.replace(message, client=_overridden(event, message.client))


def _unite_spellings(event: EventBody) -> None:
    if event.event is not None:
        event.event_name = _one(event.event_name, event.event, "event_name")
    if event.user_id_camel is not None:
        event.user_id = _one(event.user_id, event.user_id_camel, "user_id")
    if event.anonymous_id_camel is not None:
        event.anonymous_id = _one(event.anonymous_id, event.anonymous_id_camel, "anonymous_id")
    if event.message_id_camel is not None:
        event.message_id = _one(event.message_id, event.message_id_camel, "message_id")
    if event.sent_at_camel is not None:
        event.sent_at = _one(event.sent_at, event.sent_at_camel, "sent_at")


def _one(snake: T | None, camel: T, field: str) -> T:
    if snake is not None and snake != camel:
        raise Rejected(field, "comes in both spellings with different values; send one")
    return camel


def _overridden(event: EventBody, client: Client) -> Client:
    ip = None if event.ip is None else known_address(event.ip)
    if event.ip is not None and ip is None:
        raise Rejected("ip", "is not an IP address")
    if event.ua is not None and "\0" in event.ua:
        raise Rejected("ua", "holds \\u0000, which cannot be stored; remove it")
    return replaced(client, ip, event.ua)


# --- answers -------------------------------------------------------------------------------


class Taken(msgspec.Struct):
    event_id: str
    position: int
    duplicate: bool
    message: str
    success: bool = True


class BatchTaken(msgspec.Struct):
    processed_count: int
    rejected_count: int
    results: Sequence[Outcome]
    message: str
    success: bool = True


_encode = msgspec.json.Encoder().encode


def answer_one(outcomes: Sequence[Outcome]) -> Answer:
    """202. Raises Rejected or Conflict, which the API answers like any other."""
    outcome = outcomes[0]
    if outcome.status == "rejected":
        raise Rejected(outcome.field or "message", outcome.reason or "is refused")
    if outcome.status == "conflict":
        raise Conflict(
            f"message_id: {outcome.reason}", event_id=outcome.event_id, position=outcome.position
        )
    duplicate = outcome.status == "duplicate"
    said = "known already, nothing was written" if duplicate else "stored"
    one = Taken(outcome.event_id or "", outcome.position or 0, duplicate, said)
    return Answer(HTTPStatus.ACCEPTED, _encode(one))


def answer_batch(outcomes: Sequence[Outcome]) -> Answer:
    """202 even when some were refused: each event has its own result."""
    refused = sum(outcome.status in ("rejected", "conflict") for outcome in outcomes)
    taken = len(outcomes) - refused
    said = f"{taken} of {len(outcomes)} events stored"
    return Answer(HTTPStatus.ACCEPTED, _encode(BatchTaken(taken, refused, outcomes, said)))
