"""Segment's HTTP API, which RudderStack's SDKs speak too: /v1/{track,identify,page,screen,group,
alias,batch,import} and the browser's /v1/{t,i,p,s,g,a,b}.

What is kept: the fields of Segment's spec below. `integrations`, `channel`, `writeKey` and
`_metadata` are about Segment's own delivery and are left out.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from api.dialects.message import Names, common, tracked
from api.dialects.request import Answer, Item, Parsed, check_count, cut_out, explained, refusal
from commands.ingest import Message, Outcome
from domain.admission import (
    UNREADABLE,
    Arrival,
    Clock,
    check_size,
    checked_id,
    checked_name,
    checked_object,
    may_hold_nul,
    read_clock,
)
from domain.errors import Rejected
from domain.junk import is_junk
from domain.tracking import EMPTY, Aliased, Grouped, Identified, Tracked

NAME = "segment"
_NAMES = Names(NAME, "messageId", "userId", "anonymousId", "sentAt")
_COMPANY = "company"


class CallBody(msgspec.Struct, gc=False, rename="camel"):
    type: str | None = None
    message_id: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    group_type: Any = None  # read where it counts: in other calls it is nobody's field
    timestamp: Clock = None
    original_timestamp: Clock = None  # RudderStack's browser SDK has it in place of timestamp
    sent_at: Clock = None
    properties: msgspec.Raw = EMPTY
    traits: msgspec.Raw = EMPTY
    context: msgspec.Raw = EMPTY


class CallsBody(msgspec.Struct, gc=False, rename="camel"):
    batch: list[msgspec.Raw]
    sent_at: Clock = None
    write_key: str | None = None
    context: msgspec.Raw = EMPTY


class _Key(msgspec.Struct, gc=False, rename="camel"):
    write_key: msgspec.Raw = EMPTY


_decode = msgspec.json.Decoder(CallBody).decode
_decode_batch = msgspec.json.Decoder(CallsBody).decode
_decode_key = msgspec.json.Decoder(_Key).decode


# --- requests ------------------------------------------------------------------------------


def parse_call(body: bytes, kind: str) -> Parsed:
    """One message; `kind` is the call that the path named and wins over the body's `type`."""
    return Parsed(items=[body], kind=kind, write_key=_key_in(body), suspect=may_hold_nul(body))


def _key_in(body: bytes) -> str | None:
    if b'"writeKey"' not in body:
        return None
    try:
        key = msgspec.json.decode(_decode_key(body).write_key)
    except UNREADABLE:
        return None  # `admit` says what is wrong
    return key if isinstance(key, str) else None


def parse_batch(body: bytes) -> Parsed:
    """Raises Rejected when the request as a whole can't be read, TooLarge for too many messages."""
    try:
        batch = _decode_batch(body)
    except msgspec.ValidationError as error:
        raise _of_batch(explained(error)) from None
    except UNREADABLE:
        batch = _salvaged(body)
    check_count(batch.batch)
    sent_at = None if batch.sent_at is None else read_clock(batch.sent_at, "sentAt")
    items: Sequence[Item] = batch.batch
    if batch.context is not EMPTY:
        items = [_with_context(item, batch.context) for item in items]
    return Parsed(
        items=items, write_key=batch.write_key, sent_at=sent_at, suspect=may_hold_nul(body)
    )


def _of_batch(said: Rejected) -> Rejected:
    if (said.field, said.issue) == ("batch", "is missing"):
        return Rejected("batch", 'is missing; send {"batch": [...]}')
    return said


def _salvaged(body: bytes) -> CallsBody:
    items, rest = cut_out(body, "batch")
    try:
        batch = _decode_batch(rest)
    except UNREADABLE as error:
        raise refusal(rest, error) from None
    batch.batch = [msgspec.Raw(item) for item in items]
    return batch


def _with_context(item: Item, context: msgspec.Raw) -> Item:
    """A batch's context holds for each of its messages; a message's own members go first."""
    try:
        members = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
        own = msgspec.json.decode(members.get("context", EMPTY), type=dict[str, msgspec.Raw])
        all_of = msgspec.json.decode(context, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return item  # `admit` says what is wrong
    members["context"] = msgspec.Raw(msgspec.json.encode({**all_of, **own}))
    return msgspec.json.encode(members)


# --- messages ------------------------------------------------------------------------------


def admit(body: Item, arrival: Arrival) -> Message:
    """Raises Rejected."""
    check_size(body)
    try:
        call = _decode(body)
    except UNREADABLE as error:
        raise refusal(body, error) from None
    kind = arrival.kind or call.type
    translate = _CALLS.get(kind or "")
    if translate is None:
        raise Rejected("type", f"must be one of {', '.join(_CALLS)}")
    _drop_empty(call)
    return translate(call, arrival)


def _drop_empty(call: CallBody) -> None:
    """SDKs send "" for an id that they do not have."""
    if call.user_id == "":
        call.user_id = None
    if call.anonymous_id == "":
        call.anonymous_id = None
    if call.message_id == "":
        call.message_id = None
    if call.original_timestamp is not None:
        call.timestamp = call.original_timestamp


def _track(call: CallBody, arrival: Arrival) -> Tracked:
    return tracked(
        call,
        arrival,
        _NAMES,
        event=checked_name(call.event, "event"),
        properties=checked_object(call.properties, "properties", arrival.suspect),
    )


def _page(call: CallBody, arrival: Arrival) -> Tracked:
    return _viewed(call, arrival, "page")


def _screen(call: CallBody, arrival: Arrival) -> Tracked:
    return _viewed(call, arrival, "screen")


def _viewed(call: CallBody, arrival: Arrival, kind: str) -> Tracked:
    """`event` is "<category> <name>", of which either may be missing; without both it is the kind
    itself. Browsers repeat both in the properties, servers don't; here they are always there.
    """
    named = " ".join(part for part in (call.category, call.name) if part)
    properties = checked_object(call.properties, "properties", arrival.suspect)
    return tracked(
        call,
        arrival,
        _NAMES,
        event=checked_name(named or kind, "name"),
        properties=_completed(properties, call) if named else properties,
        kind=kind,
    )


def _completed(properties: msgspec.Raw, call: CallBody) -> msgspec.Raw:
    members = msgspec.json.decode(properties, type=dict[str, msgspec.Raw])
    missing = {
        key: value
        for key, value in (("category", call.category), ("name", call.name))
        if value and key not in members
    }
    if not missing:
        return properties
    return msgspec.Raw(msgspec.json.encode({**members, **missing}))


class _Traits(msgspec.Struct, gc=False):
    traits: msgspec.Raw = EMPTY


def _identify(call: CallBody, arrival: Arrival) -> Identified:
    """RudderStack's SDKs put the traits under context.traits."""
    fields = common(call, arrival, _NAMES)
    traits = checked_object(call.traits, "traits", arrival.suspect)
    if not msgspec.json.decode(traits):
        found = msgspec.json.decode(fields["context"], type=_Traits).traits
        traits = checked_object(found, "context.traits", arrival.suspect)
    return Identified(traits=traits, **fields)


class _Grouping(msgspec.Struct, gc=False, rename="camel"):
    group_type: Any = None


def _group(call: CallBody, arrival: Arrival) -> Grouped:
    """Without a type it is a company, as Segment means it."""
    fields = common(call, arrival, _NAMES)
    group_id = _required(call.group_id, "groupId")
    if is_junk(group_id):
        issue = "is a placeholder that many senders use: all of them would be one group"
        raise Rejected("groupId", issue)
    traits = checked_object(call.traits, "traits", arrival.suspect)
    named = msgspec.json.decode(fields["context"], type=_Grouping).group_type
    group_type = (
        _group_type(call.group_type, "groupType")
        or _group_type(named, "context.groupType")
        or _COMPANY
    )
    return Grouped(group_id=group_id, group_type=group_type, traits=traits, **fields)


def _group_type(value: Any, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Rejected(field, "must be a string, such as company")
    return checked_name(value, field)


def _alias(call: CallBody, arrival: Arrival) -> Aliased:
    _required(call.user_id, "userId")
    previous_id = _required(call.previous_id, "previousId")
    return Aliased(previous_id=previous_id, **common(call, arrival, _NAMES))


def _required(value: str | None, field: str) -> str:
    if not value:
        raise Rejected(field, "is missing")
    return checked_id(value, field)


_CALLS: dict[str, Callable[[CallBody, Arrival], Message]] = {
    "track": _track,
    "identify": _identify,
    "page": _page,
    "screen": _screen,
    "group": _group,
    "alias": _alias,
}


# --- answers -------------------------------------------------------------------------------


class SegmentTaken(msgspec.Struct, omit_defaults=True):
    success: bool
    rejected: list[Outcome] = []


_encode = msgspec.json.Encoder().encode
_TAKEN = Answer(HTTPStatus.OK, _encode(SegmentTaken(success=True)))


def answer(outcomes: Sequence[Outcome]) -> Answer:
    """200 also for messages that were refused, as Segment does it: rudder-sdk-python sends a 400
    again and again. The refused ones are named beside, and are kept for replay.
    """
    rejected = [outcome for outcome in outcomes if outcome.status in ("rejected", "conflict")]
    if not rejected:
        return _TAKEN
    return Answer(HTTPStatus.OK, _encode(SegmentTaken(success=True, rejected=rejected)))
