"""What the events of aggregates have in common: streams that are loaded, decided on and grow."""

from datetime import datetime
from uuid import UUID

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`originator_id` is the aggregate's id; `app_id` is None for organisations."""

    originator_id: UUID
    originator_version: int
    occurred_at: datetime
    app_id: UUID | None = None
