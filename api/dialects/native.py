"""Our own dialect: POST /v1/events, /v1/events/track (one event), /v1/events/batch.

Both spellings of the original product's pages are read (`event_name` and `event`, `user_id` and
`userId`). A field that is not ours is refused, so that a typing error can't lose data silently.
"""

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from api.dialects.context import known_address, replaced
from api.dialects.message import Names, tracked
from api.dialects.request import Answer, BatchBody, Item, Parsed, open_batch, refusal, united
from commands.ingest import Outcome
from domain.admission import (
    UNREADABLE,
    Arrival,
    Clock,
    check_size,
    checked_name,
    checked_object,
    may_hold_nul,
)
from domain.errors import Conflict, Rejected
from domain.tracking import EMPTY, Client, Tracked

NAME = "native"
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


class EventsBody(BatchBody, gc=False, forbid_unknown_fields=True, kw_only=True):
    events: list[msgspec.Raw]


_decode = msgspec.json.Decoder(EventBody).decode
_decode_batch = msgspec.json.Decoder(EventsBody).decode


def parse_one(body: bytes) -> Parsed:
    return Parsed(items=[body], suspect=may_hold_nul(body))


def parse_batch(body: bytes) -> Parsed:
    """Raises Rejected when the request as a whole can't be read, TooLarge for too many events."""
    return open_batch(body, "events", _decode_batch)


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
        event.event_name = united(event.event_name, event.event, "event_name")
    if event.user_id_camel is not None:
        event.user_id = united(event.user_id, event.user_id_camel, "user_id")
    if event.anonymous_id_camel is not None:
        event.anonymous_id = united(event.anonymous_id, event.anonymous_id_camel, "anonymous_id")
    if event.message_id_camel is not None:
        event.message_id = united(event.message_id, event.message_id_camel, "message_id")
    if event.sent_at_camel is not None:
        event.sent_at = united(event.sent_at, event.sent_at_camel, "sent_at")


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
    return Answer(HTTPStatus.ACCEPTED, _encode(taken(outcomes[0])))


def taken(outcome: Outcome) -> Taken:
    """Of the only message of a request. Raises Rejected, Conflict."""
    if outcome.status == "rejected":
        raise Rejected(outcome.field or "message", outcome.reason or "is refused")
    if outcome.status == "conflict":
        raise Conflict(
            f"message_id: {outcome.reason}", event_id=outcome.event_id, position=outcome.position
        )
    duplicate = outcome.status == "duplicate"
    said = "known already, nothing was written" if duplicate else "stored"
    return Taken(outcome.event_id or "", outcome.position or 0, duplicate, said)


def answer_batch(outcomes: Sequence[Outcome], noun: str = "events") -> Answer:
    """202 even when some were refused: each event has its own result."""
    refused = sum(outcome.status in ("rejected", "conflict") for outcome in outcomes)
    processed = len(outcomes) - refused
    said = f"{processed} of {len(outcomes)} {noun} stored"
    return Answer(HTTPStatus.ACCEPTED, _encode(BatchTaken(processed, refused, outcomes, said)))
