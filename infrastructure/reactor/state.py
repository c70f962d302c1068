"""How far the segments of an app are evaluated: reactor.evaluated and reactor.definitions."""

from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from sqlalchemy import Connection, text

_COLUMNS = "position, at, recorded_at, everybody_at, appended_position"
_READ = f"SELECT {_COLUMNS} FROM reactor.evaluated WHERE app_number = :app"
_BEGIN = text(
    "INSERT INTO reactor.evaluated (app_number, position, at, everybody_at, appended_position)"
    " VALUES (:app, 0, :at, :at, 0) ON CONFLICT DO NOTHING"
)
_WRITE = text(
    "UPDATE reactor.evaluated SET position = :position, at = :at, recorded_at = :recorded_at,"
    " everybody_at = :everybody_at, appended_position = :appended_position WHERE app_number = :app"
)
_DEFINITIONS = text(
    "SELECT segment_id, fingerprint FROM reactor.definitions WHERE app_number = :app"
)
_FORGET = text(
    "DELETE FROM reactor.definitions WHERE app_number = :app"
    " AND segment_id <> ALL(cast(:segments AS uuid[]))"
)
_DEFINE = text(
    "INSERT INTO reactor.definitions VALUES (:app, :segment, :fingerprint)"
    " ON CONFLICT (app_number, segment_id) DO UPDATE SET fingerprint = excluded.fingerprint"
)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """`position` and `at`: as of when; `appended_position`: that of the last entered or left, which
    may come later on the log. `recorded_at`: of the event at `position`.
    """

    position: int = 0
    at: datetime = _LONG_AGO
    recorded_at: datetime | None = None
    everybody_at: datetime = _LONG_AGO
    appended_position: int = 0

    @property
    def is_there(self) -> bool:
        """Whether anything was ever evaluated."""
        return self.at > _LONG_AGO


def read(connection: Connection, app: int) -> Evaluated:
    row = connection.execute(text(_READ), {"app": app}).mappings().one_or_none()
    return Evaluated() if row is None else Evaluated(**row)


def hold(connection: Connection, app: int) -> Evaluated:
    """To the end of the transaction: whoever holds it is the only one who moves it."""
    connection.execute(_BEGIN, {"app": app, "at": _LONG_AGO})
    row = connection.execute(text(_READ + " FOR UPDATE"), {"app": app}).mappings().one()
    return Evaluated(**row)


def write(connection: Connection, app: int, evaluated: Evaluated) -> None:
    connection.execute(_WRITE, msgspec.structs.asdict(evaluated) | {"app": app})


def fingerprints(connection: Connection, app: int) -> dict[UUID, str]:
    rows = connection.execute(_DEFINITIONS, {"app": app})
    return {row.segment_id: row.fingerprint for row in rows}


def define(
    connection: Connection, app: int, given: Mapping[UUID, str], before: Mapping[UUID, str]
) -> None:
    """All that there are, and those that there were."""
    if before.keys() - given.keys():
        connection.execute(_FORGET, {"app": app, "segments": list(given)})
    rows = [
        {"app": app, "segment": segment, "fingerprint": fingerprint}
        for segment, fingerprint in given.items()
        if before.get(segment) != fingerprint
    ]
    if rows:
        connection.execute(_DEFINE, rows)
