"""Events as the feed carries them: CloudEvents 1.0, in batches (docs/events.md)."""

import base64
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.catalogue import category
from infrastructure.codec import PLAIN
from infrastructure.event_store.reader import Entry

CONTENT_TYPE = "application/cloudevents-batch+json; charset=UTF-8"
SYSTEM = "system"  # stands for the app in subjects of events that belong to no app


class CloudEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """`position` is a string because CloudEvents integers have 32 bits. `streamversion` is the
    event's number within its aggregate. Exactly one of three holds: `data` is there; or
    `data_base64` and `codec`, when the payload is not plain JSON; or `datatoolarge` is true,
    when the event alone is over the largest NATS message and has to be asked from the API."""

    specversion: str
    id: str
    source: str
    type: str
    time: datetime
    position: str
    streamversion: int
    datacontenttype: str | msgspec.UnsetType = msgspec.UNSET
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET
    codec: str | msgspec.UnsetType = msgspec.UNSET
    datatoolarge: bool = False


class Incomplete(ValueError):
    """The feed does not carry this event's payload; the log does."""


class Batch(NamedTuple):
    """Events of one subject, oldest first, as one message carries them."""

    subject: str
    first: int
    last: int
    payload: bytes


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[CloudEvent]).decode


def subject_of(entry: Entry) -> str:
    return f"appizer.v1.{entry.app_id or SYSTEM}.{_category(entry.topic)}"


def batches(entries: Sequence[Entry], max_bytes: int) -> list[Batch]:
    """One batch per subject, cut where it would grow over `max_bytes`; ordered by last position,
    so that every subject stays in order and the ids made from it only rise."""
    by_subject: dict[tuple[UUID | None, str], list[Entry]] = {}
    for entry in entries:
        by_subject.setdefault((entry.app_id, _category(entry.topic)), []).append(entry)
    made = [batch for group in by_subject.values() for batch in _cut(group, max_bytes)]
    return sorted(made, key=lambda batch: batch.last)


def read(payload: bytes) -> list[CloudEvent]:
    """Raises msgspec.DecodeError."""
    return _decode(payload)


def entries(payload: bytes) -> list[Entry]:
    """The rows of the log that a batch was made from. Raises Incomplete, msgspec.DecodeError."""
    return [to_entry(event) for event in _decode(payload)]


def to_entry(event: CloudEvent) -> Entry:
    owner = event.source.rpartition("/")[2]
    return Entry(
        int(event.position),
        UUID(event.id[4:36]),
        event.streamversion,
        None if owner == SYSTEM else UUID(owner),
        event.type,
        event.time,
        _state(event),
    )


def from_entry(entry: Entry) -> CloudEvent:
    stream, version = entry.originator_id.hex, entry.originator_version
    plain = entry.state[:1] == PLAIN
    return CloudEvent(
        specversion="1.0",
        id=f"evt_{stream}" if version == 1 else f"evt_{stream}-{version}",
        source=_source(entry.app_id),
        type=entry.topic,
        time=entry.recorded_at,
        position=str(entry.position),
        streamversion=version,
        datacontenttype="application/json" if plain else msgspec.UNSET,
        data=msgspec.Raw(memoryview(entry.state)[1:]) if plain else msgspec.UNSET,
        data_base64=msgspec.UNSET if plain else base64.b64encode(entry.state[1:]).decode(),
        codec=msgspec.UNSET if plain else entry.state[:1].hex(),
    )


_category = lru_cache(maxsize=256)(category)


@lru_cache(maxsize=10_000)
def _source(app_id: UUID | None) -> str:
    return f"/{SYSTEM}" if app_id is None else f"/apps/{app_id}"


def _state(event: CloudEvent) -> bytes:
    if event.data is not msgspec.UNSET:
        return PLAIN + bytes(event.data)
    if event.data_base64 is msgspec.UNSET or event.codec is msgspec.UNSET:
        raise Incomplete(event.id)
    return bytes.fromhex(event.codec) + base64.b64decode(event.data_base64)


def _cut(group: list[Entry], max_bytes: int) -> list[Batch]:
    made: list[Batch] = []
    parts: list[bytes] = []
    size = first = 0
    for index, entry in enumerate(group):
        part = _fitting(entry, max_bytes)
        if parts and size + len(part) + len(parts) + 2 > max_bytes:
            made.append(_batch(group[first:index], parts))
            parts, size, first = [], 0, index
        parts.append(part)
        size += len(part)
    return [*made, _batch(group[first:], parts)]


def _fitting(entry: Entry, max_bytes: int) -> bytes:
    event = from_entry(entry)
    part = _encode(event)
    if len(part) + 2 <= max_bytes:
        return part
    bare = {"data": msgspec.UNSET, "data_base64": msgspec.UNSET, "codec": msgspec.UNSET}
    return _encode(msgspec.structs.replace(event, **bare, datatoolarge=True))


def _batch(group: Sequence[Entry], parts: list[bytes]) -> Batch:
    payload = b"[" + b",".join(parts) + b"]"
    return Batch(subject_of(group[0]), group[0].position, group[-1].position, payload)
