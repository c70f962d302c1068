"""Events as the feed carries them: CloudEvents 1.0, in batches (docs/events.md)."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from domain.catalogue import category
from infrastructure.codec import PLAIN
from infrastructure.event_store.reader import Entry

CONTENT_TYPE = "application/cloudevents-batch+json; charset=UTF-8"
SYSTEM = "system"  # stands for the app in subjects of events that belong to no app
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class CloudEvent(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """`position` is a string because CloudEvents integers have 32 bits. `streamversion` is the
    event's number within its aggregate. Exactly one of three holds: `data` is there; or
    `data_base64` and `codec`, when the payload is not plain JSON; or `datatoolarge` is true,
    when the event alone is over the largest NATS message and has to be asked from the API.
    """

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


class Row(NamedTuple):
    """A row of the log as Postgres sends it: the 16 bytes of ids, and microseconds since 2000 as
    8 bytes. Objects for these would be two thirds of what an event costs on its way through.
    """

    position: int
    originator_id: bytes
    originator_version: int
    app_id: bytes | None
    topic: str
    recorded_at: bytes
    state: bytes


class Incomplete(ValueError):
    """The feed does not carry this event's payload; the log does."""


class Batch(NamedTuple):
    """Events of one subject, oldest first, as one message carries them."""

    subject: str
    first: int
    last: int
    payload: bytes


class _Shape(NamedTuple):
    """What all events of one app and topic share. The template takes id, time, position and
    version; what carries the payload, and the closing brace, follow.
    """

    subject: str
    template: bytes


_decode = msgspec.json.Decoder(list[CloudEvent]).decode


def batches(rows: Sequence[Row], max_bytes: int) -> list[Batch]:
    """One batch per subject, cut where it would grow over `max_bytes`; ordered by last position,
    so that every subject stays in order and the ids made from it only rise.
    """
    by_subject: dict[str, list[tuple[int, bytes]]] = {}
    for row in rows:
        shape = _shape(row.app_id, row.topic)
        by_subject.setdefault(shape.subject, []).append(
            (row.position, _written(row, shape.template, max_bytes))
        )
    made = [b for subject, events in by_subject.items() for b in _cut(subject, events, max_bytes)]
    return sorted(made, key=lambda batch: batch.last)


def read(payload: bytes) -> list[CloudEvent]:
    """Raises msgspec.DecodeError."""
    return _decode(payload)


def entries(payload: bytes) -> list[Entry]:
    """The rows of the log that a batch was made from. Raises Incomplete, msgspec.DecodeError,
    msgspec.ValidationError.
    """
    events = _decode(payload)
    # All at once: uuid.UUID itself costs as much as the rest of an entry.
    streams = msgspec.convert([event.id[4:36] for event in events], list[UUID])
    return [
        Entry(
            int(event.position),
            stream,
            event.streamversion,
            _owner(event.source),
            event.type,
            event.time,
            _state(event),
        )
        for event, stream in zip(events, streams, strict=True)
    ]


@lru_cache(maxsize=10_000)
def _owner(source: str) -> UUID | None:
    owner = source.rpartition("/")[2]
    return None if owner == SYSTEM else UUID(owner)


def _state(event: CloudEvent) -> bytes:
    if event.data is not msgspec.UNSET:
        return b"".join((PLAIN, event.data))
    if event.data_base64 is msgspec.UNSET or event.codec is msgspec.UNSET:
        raise Incomplete(event.id)
    return bytes.fromhex(event.codec) + base64.b64decode(event.data_base64)


def _written(row: Row, template: bytes, max_bytes: int) -> bytes:
    stream, version = row.originator_id.hex(), row.originator_version
    event_id = stream if version == 1 else f"{stream}-{version}"
    head = template % (event_id.encode(), _time(row.recorded_at), row.position, version)
    event = head + _payload(row.state)
    return event if len(event) + 2 <= max_bytes else head + b',"datatoolarge":true}'


def _payload(state: bytes) -> bytes:
    if state[:1] == PLAIN:
        return b',"datacontenttype":"application/json","data":%b}' % state[1:]
    codec = state[:1].hex().encode()
    return b',"codec":"%b","data_base64":"%b"}' % (codec, base64.b64encode(state[1:]))


@lru_cache(maxsize=10_000)
def _shape(app_id: bytes | None, topic: str) -> _Shape:
    app = None if app_id is None else str(UUID(bytes=app_id))
    source = f"/{SYSTEM}" if app is None else f"/apps/{app}"
    shared = msgspec.json.encode({"specversion": "1.0", "source": source, "type": topic})
    own = b',"id":"evt_%b","time":"%b","position":"%d","streamversion":%d'
    return _Shape(_subject(app, topic), shared[:-1].replace(b"%", b"%%") + own)


def subject_of(app_id: UUID | None, topic: str) -> str:
    """Where events of this topic are published."""
    return _subject(None if app_id is None else str(app_id), topic)


def _subject(app: str | None, topic: str) -> str:
    return f"appizer.v1.{app or SYSTEM}.{category(topic)}"


@lru_cache(maxsize=1000)
def _time(microseconds: bytes) -> bytes:
    since = timedelta(microseconds=int.from_bytes(microseconds, signed=True))
    return (_POSTGRES_EPOCH + since).isoformat().replace("+00:00", "Z").encode()


def _cut(subject: str, events: list[tuple[int, bytes]], max_bytes: int) -> list[Batch]:
    made: list[Batch] = []
    first = size = 0
    for index, (_, event) in enumerate(events):
        if size and size + len(event) + 2 > max_bytes:
            made.append(_batch(subject, events[first:index]))
            first, size = index, 0
        size += len(event) + 1
    return [*made, _batch(subject, events[first:])]


def _batch(subject: str, events: list[tuple[int, bytes]]) -> Batch:
    payload = b"[" + b",".join([event for _, event in events]) + b"]"
    return Batch(subject, events[0][0], events[-1][0], payload)
