"""The part of a message that is the same in every call and dialect: ids, times, context."""

from typing import Any, NamedTuple, Protocol

import msgspec

from api.dialects.context import client_of, read_context
from domain.admission import Arrival, Clock, checked_id, happened_at, read_clock, sent
from domain.errors import Rejected
from domain.tracking import EMPTY, Message, Tracked


class Said(Protocol):
    """What a dialect's wire struct calls these fields."""

    message_id: str | None
    user_id: str | None
    anonymous_id: str | None
    timestamp: Clock
    sent_at: Clock
    context: msgspec.Raw


class Names(NamedTuple):
    """What the sender calls them, for the refusals; `source` is the dialect."""

    source: str
    message_id: str
    user_id: str
    anonymous_id: str
    sent_at: str


def tracked(
    said: Said,
    arrival: Arrival,
    names: Names,
    *,
    event: str,
    properties: msgspec.Raw,
    kind: str = "track",
) -> Tracked:
    """`event` and `properties` were checked by the caller. Raises Rejected. Built in one call with
    every field named: handing on a dict of them costs 2 µs an event (benchmarks/decode.py).
    """
    user_id = said.user_id
    anonymous_id = said.anonymous_id
    if user_id is None and anonymous_id is None:
        raise Rejected(names.user_id, f"is missing; send it or {names.anonymous_id}")
    if said.sent_at is not None:
        arrival = sent(arrival, said.sent_at, names.sent_at)
    original = said.timestamp
    if original is not None:
        original = read_clock(original, "timestamp")
    message_id = said.message_id
    context = read_context(said.context)
    return Tracked(
        message_id=arrival.new_id()
        if message_id is None
        else checked_id(message_id, names.message_id),
        timestamp=happened_at(original, arrival),
        received_at=arrival.received_at,
        original_timestamp=original,
        sent_at=arrival.sent_at,
        user_id=None if user_id is None else checked_id(user_id, names.user_id),
        anonymous_id=None if anonymous_id is None else checked_id(anonymous_id, names.anonymous_id),
        context=context.raw,
        source=names.source,
        client=client_of(context, arrival),
        event=event,
        kind=kind,
        properties=properties,
    )


def common(said: Said, arrival: Arrival, names: Names) -> dict[str, Any]:
    """The fields of domain.tracking.Message, for the calls that are no tracks. Raises Rejected."""
    message = tracked(said, arrival, names, event="", properties=EMPTY)
    return {name: getattr(message, name) for name in Message.__struct_fields__}
