"""Releases of each app: as they are."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import insert

from domain.releases import Release, ReleaseCreated, ReleaseDeleted, ReleaseUpdated
from projections import apps
from projections.projection import Recorded

name = "releases"
version = 1
metadata = MetaData(schema=name)

releases = Table(
    "releases",
    metadata,
    Column("app_number", Integer, primary_key=True),
    Column("release_id", Uuid, primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("released_at", DateTime(timezone=True), nullable=False),
    Column("release_notes", Text, nullable=False),
)
_EVENTS = (ReleaseCreated, ReleaseUpdated, ReleaseDeleted)


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    found = [r for r in page if r.event.__class__ in _EVENTS]
    if not found:
        return
    numbers = apps.numbers(connection)
    for recorded in found:
        if recorded.app_id in numbers:
            _take(connection, numbers[recorded.app_id], recorded.event)


def _take(connection: Connection, app: int, event: Any) -> None:
    c = releases.c
    mine = (c.app_number == app, c.release_id == event.originator_id)
    if isinstance(event, ReleaseDeleted):
        connection.execute(releases.delete().where(*mine))
        return
    row = {
        "app_number": app,
        "release_id": event.originator_id,
        "revision": event.originator_version,
        "version": event.version,
        "released_at": event.released_at,
        "release_notes": event.release_notes,
    }
    upsert = insert(releases).values(row)
    changed = {name: upsert.excluded[name] for name in row}
    key = ["app_number", "release_id"]
    connection.execute(upsert.on_conflict_do_update(index_elements=key, set_=changed))


# --- questions ---------------------------------------------------------------------------------


def find_release(connection: Connection, app_number: int, release_id: UUID) -> Release | None:
    c = releases.c
    query = select(releases).where(c.app_number == app_number, c.release_id == release_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _read(row)


def list_releases(
    connection: Connection, app_number: int, *, after: tuple[Any, UUID] | None, limit: int
) -> tuple[list[Release], int]:
    """The last released first, and how many there are. `after`: time and id of the one before."""
    c = releases.c
    mine = select(releases).where(c.app_number == app_number)
    total = connection.execute(select(func.count()).select_from(mine.subquery())).scalar_one()
    page = mine.order_by(c.released_at.desc(), c.release_id.desc()).limit(limit)
    if after is not None:
        page = page.where(tuple_(c.released_at, c.release_id) < tuple_(*after))
    return [_read(row) for row in connection.execute(page)], total


def count_releases(connection: Connection, app_number: int) -> int:
    query = select(func.count()).where(releases.c.app_number == app_number)
    return int(connection.execute(query).scalar_one())


def _read(row: Any) -> Release:
    return Release(
        release_id=row.release_id,
        app_id=None,
        revision=row.revision,
        version=row.version,
        released_at=row.released_at,
        release_notes=row.release_notes,
    )
