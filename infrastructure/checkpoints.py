"""How far each projection has come, in projections.checkpoints."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, text

_COLUMNS = "name, version, position, recorded_at, filling, rules, owner, updated_at"
_READ = text(f"SELECT {_COLUMNS} FROM projections.checkpoints WHERE name = :name")
_LOCK = text(
    f"SELECT {_COLUMNS} FROM projections.checkpoints"
    " WHERE name = ANY(:names) ORDER BY name FOR UPDATE"
)
_WRITE = text(
    "INSERT INTO projections.checkpoints"
    " (name, version, position, recorded_at, filling, rules, owner)"
    " VALUES (:name, :version, :position, :recorded_at, :filling, :rules, :owner)"
    " ON CONFLICT (name) DO UPDATE SET version = excluded.version, position = excluded.position,"
    " recorded_at = excluded.recorded_at, filling = excluded.filling, rules = excluded.rules,"
    " owner = excluded.owner, updated_at = clock_timestamp()"
)
_ALL = text(f"SELECT {_COLUMNS} FROM projections.checkpoints ORDER BY name")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`recorded_at` is when the event at `position` was stored. `filling` names the tables, and
    `rules` the enrichment that they were begun with, where a read model has these. `owner` is
    the one writer of a read model outside the database.
    """

    name: str
    version: int
    position: int
    recorded_at: datetime | None = None
    filling: str = ""
    rules: str = ""
    owner: str = ""
    updated_at: datetime | None = None


def read(connection: Connection, name: str) -> Checkpoint | None:
    row = connection.execute(_READ, {"name": name}).mappings().one_or_none()
    return None if row is None else Checkpoint(**row)


def read_all(connection: Connection) -> list[Checkpoint]:
    return [Checkpoint(**row) for row in connection.execute(_ALL).mappings()]


def lock(connection: Connection, names: Sequence[str]) -> dict[str, Checkpoint]:
    """Held to the end of the transaction: whoever holds it is the only one who applies."""
    rows = connection.execute(_LOCK, {"names": list(names)})
    return {row["name"]: Checkpoint(**row) for row in rows.mappings()}


def write(connection: Connection, checkpoint: Checkpoint) -> None:
    connection.execute(
        _WRITE,
        {
            "name": checkpoint.name,
            "version": checkpoint.version,
            "position": checkpoint.position,
            "recorded_at": checkpoint.recorded_at,
            "filling": checkpoint.filling,
            "rules": checkpoint.rules,
            "owner": checkpoint.owner,
        },
    )


def remove(connection: Connection, name: str) -> None:
    connection.execute(
        text("DELETE FROM projections.checkpoints WHERE name = :name"), {"name": name}
    )
