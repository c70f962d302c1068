"""What a read model is: a name, a version, tables, and `apply`.

A Postgres read model lives in a schema named after it; SQLAlchemy's schema_translate_map sends
the same statements to a shadow schema while it is rebuilt.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

import msgspec
from sqlalchemy import Connection, MetaData


class Recorded(NamedTuple):
    """An event as it stands on the log, decoded into its newest shape."""

    position: int
    stream_id: UUID
    app_id: UUID | None
    topic: str
    recorded_at: datetime
    event: msgspec.Struct


class Projection(Protocol):
    """`apply` only writes, has no clock and no randomness, and never commits: the runner's
    transaction carries the state and the position together. It ignores topics it does not know.
    """

    name: str
    version: int
    metadata: MetaData  # tables, in the schema `name`; each begins with app_number or app_id

    def apply(self, page: Sequence[Recorded], connection: Connection) -> None: ...
