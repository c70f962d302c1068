"""What the events of aggregates have in common: streams that are loaded, decided on and grow."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.errors import Rejected
from domain.limits import MAX_NAME_CHARS


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`originator_id` is the aggregate's id; `app_id` is None for organisations."""

    originator_id: UUID
    originator_version: int
    occurred_at: datetime
    app_id: UUID | None = None


def checked_name(name: str, field: str = "name") -> str:
    """Without blanks around it. Raises Rejected."""
    if not name.strip() or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise Rejected(field, f"must be 1 to {MAX_NAME_CHARS} printable characters")
    return name.strip()
