"""What command handlers need from outside, as protocols. infrastructure/bootstrap.py plugs in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """`stream_id`: the 16 bytes of the id that makes it idempotent."""

    stream_id: bytes
    app_id: UUID
    event: msgspec.Struct


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where the event stands on the log. `stored` is what the log had already under this stream
    id, in which case nothing was written; else None.
    """

    position: int
    stored: msgspec.Struct | None = None


class Log(Protocol):
    """Appends durably, in order; the position is only told after the commit."""

    async def append(self, events: Sequence[NewEvent]) -> list[Receipt]: ...


class Streams(Protocol):
    """Aggregates. `append` returns the last position; raises Conflict when a version is taken."""

    def load(self, stream_id: UUID) -> Sequence[msgspec.Struct]: ...

    def append(self, events: Sequence[msgspec.Struct]) -> int: ...


class Clock(Protocol):
    def __call__(self) -> datetime: ...
