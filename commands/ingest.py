"""Taking messages: an id that makes each idempotent, one append, one outcome for each."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import blake2s
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from commands.ports import Log, NewEvent, Receipt
from domain.erasures import BARRED, Barred
from domain.errors import Rejected
from domain.tracking import (
    Aliased,
    Client,
    Grouped,
    Identified,
    RefusalReplayed,
    Refused,
    Tracked,
)

Message = Tracked | Identified | Aliased | Grouped
Submitted = Message | Refused
Status = Literal["accepted", "duplicate", "conflict", "rejected"]

NOT_REPLAYABLE = "import"  # the dialect of a row of a file that no replay could take
_MOST_TOLD_CHARS = 300  # of a field's path and an issue: both may quote the sender
_OTHER_CONTENT = "was used before with other content; the first one is kept"


class Outcome(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of the message at `index` of the request.

    accepted   stored now at `position`
    duplicate  stored before, at `position`; nothing was written
    conflict   its message id is that of another message, which is at `position` and stays
    rejected   it breaks a rule: `field`, `reason`; kept as a refusal, for replay. One that names
               an id that was erased is not kept and has neither event id nor position
    """

    index: int
    status: Status
    event_id: str | None = None
    position: int | None = None
    field: str | None = None
    reason: str | None = None


class Unjudged(NamedTuple):
    """A message as it came, and how."""

    body: bytes
    dialect: str
    kind: str | None
    received_at: datetime
    sent_at: datetime | None
    client: Client


async def take(
    log: Log, app_id: UUID, submitted: Sequence[Submitted], barred: Barred | None = None
) -> list[Outcome]:
    """`barred`: the app's ids that were erased. Raises Overloaded; then nothing is known about any
    of them and sending again is safe.
    """
    if barred is not None:
        return await _take_unbarred(log, app_id, submitted, barred)
    events = to_new_events(app_id, submitted)
    receipts = await log.append(events)
    return outcomes(receipts, events)


async def _take_unbarred(
    log: Log, app_id: UUID, submitted: Sequence[Submitted], barred: Barred
) -> list[Outcome]:
    fields = [barred.field_of(message) for message in submitted]
    others = [m for m, field in zip(submitted, fields, strict=True) if field is None]
    taken = iter(await take(log, app_id, others))
    return [
        msgspec.structs.replace(next(taken), index=index)
        if field is None
        else Outcome(index, "rejected", field=field, reason=BARRED)
        for index, field in enumerate(fields)
    ]


# --- ids -----------------------------------------------------------------------------------


def stream_id(app_id: UUID, message_id: str) -> bytes:
    """16 bytes. Never change it: it is the idempotency key of everything stored (golden test).
    BLAKE2s takes app and id in one block, two thirds of BLAKE2b's time.
    """
    return blake2s(app_id.bytes + message_id.encode(), digest_size=16).digest()


def refusal_id(app_id: UUID, refused: Refused) -> bytes:
    """The same for a message that was refused: sent again by the same route, it is kept once. By
    another one it is another message, which other rules have refused.
    """
    route = f"{refused.dialect}\0{refused.kind or ''}\0".encode()
    return blake2s(app_id.bytes + route + refused.body, digest_size=16, person=b"refused").digest()


def replay_id(refused_id: bytes) -> bytes:
    return blake2s(refused_id, digest_size=16, person=b"replayed").digest()


def event_id(stream: bytes) -> str:
    return "evt_" + stream.hex()


# --- appending -----------------------------------------------------------------------------


def in_order(submitted: list[Submitted]) -> None:
    """What one request says of people without times of its own happened in the order in which it
    stands there: the message at index n happened n microseconds after it was received. So did what
    was refused, in case that it is replayed.
    """
    if set(map(type, submitted)) <= {Tracked}:  # the common case, in half the time
        return
    for index, message in enumerate(submitted):
        if index == 0 or isinstance(message, Tracked):
            continue
        later = message.received_at + timedelta(microseconds=index)
        if isinstance(message, Refused):
            submitted[index] = msgspec.structs.replace(message, received_at=later)
        elif message.original_timestamp is None:
            submitted[index] = msgspec.structs.replace(message, timestamp=later)


def refused(message: Unjudged, error: Rejected) -> Refused:
    return Refused(
        body=message.body,
        field=_told(error.field),
        issue=_told(error.issue),
        received_at=message.received_at,
        dialect=message.dialect,
        kind=message.kind,
        sent_at=message.sent_at,
        client=message.client,
    )


def _told(text: str) -> str:
    """Postgres text, a terminal and a log line can all take it."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text[:_MOST_TOLD_CHARS])


def to_new_events(app_id: UUID, submitted: Sequence[Submitted]) -> list[NewEvent]:
    app = app_id.bytes
    return [
        NewEvent(
            refusal_id(app_id, event)
            if isinstance(event, Refused)
            else blake2s(app + event.message_id.encode(), digest_size=16).digest(),
            app_id,
            event,
        )
        for event in submitted
    ]


# --- outcomes ------------------------------------------------------------------------------


def outcomes(receipts: Sequence[Receipt], events: Sequence[NewEvent]) -> list[Outcome]:
    return [
        Outcome(index, "accepted", "evt_" + event.stream_id.hex(), receipt.position)
        if receipt.stored is None and event.event.__class__ is not Refused
        else _unusual(index, receipt, event)
        for index, (receipt, event) in enumerate(zip(receipts, events, strict=True))
    ]


def _unusual(index: int, receipt: Receipt, new: NewEvent) -> Outcome:
    name = event_id(new.stream_id)
    if isinstance(new.event, Refused):
        return Outcome(index, "rejected", name, receipt.position, new.event.field, new.event.issue)
    if receipt.stored is not None and same(receipt.stored, new.event):
        return Outcome(index, "duplicate", name, receipt.position)
    return Outcome(index, "conflict", name, receipt.position, "message_id", _OTHER_CONTENT)


# Times of ours and the context may differ between two sendings of one message.
_CONTENT = (
    "event",
    "kind",
    "user_id",
    "anonymous_id",
    "previous_id",
    "group_id",
    "group_type",
    "forced_by",
    "original_timestamp",
)
_OBJECTS = ("properties", "traits", "operations")


def same(stored: msgspec.Struct, new: msgspec.Struct) -> bool:
    """Whether both say the same. JSON objects are compared as values: another order of keys or
    another spacing is no difference.
    """
    return (
        type(stored) is type(new)
        and all(_equal(stored, new, name) for name in _CONTENT)
        and all(_value(stored, name) == _value(new, name) for name in _OBJECTS)
    )


def _equal(stored: msgspec.Struct, new: msgspec.Struct, name: str) -> bool:
    return bool(getattr(stored, name, None) == getattr(new, name, None))


def _value(event: msgspec.Struct, name: str) -> Any:
    return msgspec.json.decode(getattr(event, name, b"null"))


# --- replay --------------------------------------------------------------------------------


class Replay(NamedTuple):
    """A refusal, its id on the log, and the judge by the rules of today: `admit` raises Rejected
    or returns the message; it names a message without an id by the id that it is given.
    """

    app_id: UUID
    refused_id: bytes
    refused: Refused
    admit: Callable[[Refused, str], Message]


async def replay(log: Log, wanted: Replay, now: datetime, barred: Barred | None = None) -> Outcome:
    """Takes a refused message after all, once: a second replay is a duplicate. Raises Rejected
    when it still breaks a rule.
    """
    message = wanted.admit(wanted.refused, wanted.refused_id.hex())
    if barred is not None and (field := barred.field_of(message)):
        raise Rejected(field, BARRED)
    events = to_new_events(wanted.app_id, [message])
    (outcome,) = outcomes(await log.append(events), events)
    if outcome.status != "conflict":
        await log.append([_note(wanted, outcome, now)])
    return outcome


def _note(wanted: Replay, outcome: Outcome, now: datetime) -> NewEvent:
    """Its own append: had the process died in between, replaying again would write it."""
    note = RefusalReplayed(
        refused_id=wanted.refused_id.hex(), event_id=outcome.event_id or "", replayed_at=now
    )
    return NewEvent(replay_id(wanted.refused_id), wanted.app_id, note)
