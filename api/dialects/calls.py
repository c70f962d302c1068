"""Every path that takes messages, and how it is read and answered.

One request, in order: CALLS[path].parse, admit, commands.ingest.take, CALLS[path].answer.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from api.dialects import native, segment, users
from api.dialects.request import Answer, Item, Parsed
from commands.ingest import (
    NOT_REPLAYABLE,
    Message,
    Outcome,
    Submitted,
    Unjudged,
    in_order,
    refused,
)
from domain.admission import Arrival, arrived
from domain.errors import Rejected
from domain.limits import MAX_EVENT_BYTES
from domain.tracking import Client, Refused


class Call(NamedTuple):
    """`parse` raises Rejected and TooLarge for the request as a whole; `answer` is made from what
    became of which messages, and may raise the refusal of a single one.
    """

    dialect: str
    parse: Callable[[bytes], Parsed]
    answer: Callable[[Sequence[Outcome], Sequence[Submitted]], Answer]


_ADMIT: dict[str, Callable[[Item, Arrival], Message]] = {
    native.NAME: native.admit,
    segment.NAME: segment.admit,
    users.NAME: users.admit,
}


def admit(
    call: Call,
    parsed: Parsed,
    *,
    received_at: datetime,
    client: Client,
    new_id: Callable[[], str],
) -> list[Submitted]:
    """Each item as the message that it is, or as the refusal that it gets. `received_at` in UTC."""
    arrival = arrived(
        received_at=received_at,
        client=client,
        new_id=new_id,
        kind=parsed.kind,
        sent_at=parsed.sent_at,
        suspect=parsed.suspect,
    )
    judge = _ADMIT[call.dialect]
    submitted: list[Submitted] = []
    for item in parsed.items:
        try:
            submitted.append(judge(item, arrival))
        except Rejected as error:
            submitted.append(refused(_unjudged(item, arrival, call.dialect), error))
    if call.dialect != native.NAME:  # which has events only
        in_order(submitted)
    return submitted


def _unjudged(item: Item, arrival: Arrival, dialect: str) -> Unjudged:
    """Of a message that is too large the beginning is kept, as evidence."""
    return Unjudged(
        body=bytes(item)[:MAX_EVENT_BYTES],
        dialect=dialect,
        kind=arrival.kind,
        received_at=arrival.received_at,
        sent_at=arrival.sent_at,
        client=arrival.client,
    )


def readmit(refusal: Refused, new_id: str) -> Message:
    """The judge for commands.ingest.Replay: by the rules of today, with the times of then. Raises
    Rejected.
    """
    if refusal.dialect == NOT_REPLAYABLE:
        issue = f"{refusal.issue}. It was a row of a file: mend the file and import it again"
        raise Rejected(refusal.field, issue)
    arrival = arrived(
        received_at=refusal.received_at,
        client=refusal.client,
        new_id=lambda: new_id,
        kind=refusal.kind,
        sent_at=refusal.sent_at,
    )
    return _ADMIT[refusal.dialect](refusal.body, arrival)


def _by(
    answer: Callable[[Sequence[Outcome]], Answer],
) -> Callable[[Sequence[Outcome], Sequence[Submitted]], Answer]:
    """An answer that says nothing of the messages."""
    return lambda outcomes, _submitted: answer(outcomes)


def _single(kind: str) -> Call:
    return Call(segment.NAME, partial(segment.parse_call, kind=kind), _by(segment.answer))


_NATIVE = Call(native.NAME, native.parse_one, _by(native.answer_one))
_BATCH = Call(segment.NAME, segment.parse_batch, _by(segment.answer))
_KINDS = ("identify", "page", "screen", "group", "alias")

# What one path means to both: Segment's SDKs send a track to /v1/track, ours to /v1/events.
CALLS: dict[str, Call] = {
    "/v1/events": _NATIVE,
    "/v1/events/track": _NATIVE,
    "/v1/events/batch": Call(native.NAME, native.parse_batch, _by(native.answer_batch)),
    "/v1/users": Call(users.NAME, users.parse_one, users.answer_one),
    "/v1/users/batch": Call(users.NAME, users.parse_batch, users.answer_batch),
    "/v1/batch": _BATCH,
    "/v1/import": _BATCH,
    "/v1/b": _BATCH,
    "/beacon/v1/batch": _BATCH,  # RudderStack's browser SDK, when a page closes; key in the query
    "/v1/track": _single("track"),
    "/v1/t": _single("track"),
    **{f"/v1/{kind}": _single(kind) for kind in _KINDS},
    **{f"/v1/{kind[0]}": _single(kind) for kind in _KINDS},
}
