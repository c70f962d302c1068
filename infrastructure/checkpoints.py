"""How far each projection has come, in projections.checkpoints."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text

_READ = text("SELECT version, position FROM projections.checkpoints WHERE name = :name")
_LOCK = text(
    "SELECT name, version, position FROM projections.checkpoints"
    " WHERE name = ANY(:names) ORDER BY name FOR UPDATE"
)
_WRITE = text(
    "INSERT INTO projections.checkpoints (name, version, position, recorded_at)"
    " VALUES (:name, :version, :position, :recorded_at)"
    " ON CONFLICT (name) DO UPDATE SET version = excluded.version, position = excluded.position,"
    " recorded_at = excluded.recorded_at, updated_at = clock_timestamp()"
)
_ALL = text(
    "SELECT name, version, position, recorded_at, updated_at FROM projections.checkpoints"
    " ORDER BY name"
)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`recorded_at` is when the event at `position` was stored."""

    name: str
    version: int
    position: int
    recorded_at: datetime | None = None
    updated_at: datetime | None = None


def read(connection: Connection, name: str) -> Checkpoint | None:
    row = connection.execute(_READ, {"name": name}).one_or_none()
    if row is None:
        return None
    return Checkpoint(name=name, version=row.version, position=row.position)


def read_all(connection: Connection) -> list[Checkpoint]:
    return [Checkpoint(**row) for row in connection.execute(_ALL).mappings()]


def lock(connection: Connection, names: Sequence[str]) -> dict[str, Checkpoint]:
    """Held to the end of the transaction: whoever holds it is the only one who applies."""
    rows = connection.execute(_LOCK, {"names": list(names)})
    return {r.name: Checkpoint(name=r.name, version=r.version, position=r.position) for r in rows}


def write(connection: Connection, checkpoint: Checkpoint) -> None:
    connection.execute(
        _WRITE,
        {
            "name": checkpoint.name,
            "version": checkpoint.version,
            "position": checkpoint.position,
            "recorded_at": checkpoint.recorded_at,
        },
    )


def remove(connection: Connection, name: str) -> None:
    connection.execute(
        text("DELETE FROM projections.checkpoints WHERE name = :name"), {"name": name}
    )
