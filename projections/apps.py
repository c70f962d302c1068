"""Apps, organisations and keys: who may do what, and the dense number of each app."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    Boolean,
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
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from domain.apps import PERMISSIONS, AppCreated, KeyIssued, KeyRevoked, OrganisationCreated
from projections.projection import Recorded

name = "apps"
version = 1
metadata = MetaData(schema=name)

organisations = Table(
    "organisations",
    metadata,
    Column("organisation_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
# Numbered densely in log order, so that every rebuild gives the same numbers.
apps = Table(
    "apps",
    metadata,
    Column("app_id", Uuid, primary_key=True),
    Column("app_number", Integer, nullable=False, unique=True),
    Column("organisation_id", Uuid, nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("authorized_domains", JSONB, nullable=False),
    Column("data_retention_days", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)
keys = Table(
    "keys",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("owner_id", Uuid, nullable=False, index=True),
    Column("app_id", Uuid),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("last_four", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("revoked", Boolean, nullable=False),
)


_EVENTS = (OrganisationCreated, AppCreated, KeyIssued, KeyRevoked)


def apply(page: Sequence[Recorded], connection: Connection) -> None:
    for recorded in [r for r in page if r.event.__class__ in _EVENTS]:
        match recorded.event:
            case OrganisationCreated() as event:
                _add_organisation(connection, event)
            case AppCreated() as event:
                _add_app(connection, event)
            case KeyIssued() as event:
                _add_key(connection, event)
            case KeyRevoked() as event:
                revoked = keys.update().where(keys.c.key_id == event.key_id).values(revoked=True)
                connection.execute(revoked)
            case _:
                pass


def _add_organisation(connection: Connection, event: OrganisationCreated) -> None:
    row = {
        "organisation_id": event.originator_id,
        "name": event.name,
        "created_at": event.occurred_at,
    }
    connection.execute(insert(organisations).values(row).on_conflict_do_nothing())


def _add_app(connection: Connection, event: AppCreated) -> None:
    number = select(func.coalesce(func.max(apps.c.app_number), 0) + 1).scalar_subquery()
    row = {
        "app_id": event.originator_id,
        "app_number": number,
        "organisation_id": event.organisation_id,
        "name": event.name,
        "timezone": event.timezone,
        "authorized_domains": list(event.authorized_domains),
        "data_retention_days": event.data_retention_days,
        "created_at": event.occurred_at,
    }
    connection.execute(insert(apps).values(row).on_conflict_do_nothing())


def _add_key(connection: Connection, event: KeyIssued) -> None:
    row = {
        "key_id": event.key_id,
        "owner_id": event.originator_id,
        "app_id": event.app_id,
        "kind": event.kind,
        "digest": event.digest,
        "last_four": event.last_four,
        "label": event.label,
        "issued_at": event.occurred_at,
        "revoked": False,
    }
    connection.execute(insert(keys).values(row).on_conflict_do_nothing())


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key it is. `app_number`, `app_id` are None for an organisation's key."""

    key_id: UUID
    kind: str
    owner_id: UUID
    app_id: UUID | None
    app_number: int | None
    revoked: bool
    authorized_domains: tuple[str, ...] = ()

    @property
    def permissions(self) -> tuple[str, ...]:
        return PERMISSIONS[self.kind]


def find_caller(connection: Connection, digest: str) -> Caller | None:
    query = (
        select(keys, apps.c.app_number, apps.c.authorized_domains)
        .outerjoin(apps, apps.c.app_id == keys.c.app_id)
        .where(keys.c.digest == digest)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return Caller(
        key_id=row.key_id,
        kind=row.kind,
        owner_id=row.owner_id,
        app_id=row.app_id,
        app_number=row.app_number,
        revoked=row.revoked,
        authorized_domains=tuple(row.authorized_domains or ()),
    )


def list_apps(
    connection: Connection, organisation_id: UUID, *, limit: int, offset: int
) -> tuple[list[dict[str, Any]], int]:
    """The organisation's apps, oldest first, and how many there are in all."""
    of_organisation = apps.c.organisation_id == organisation_id
    total = connection.execute(select(func.count()).select_from(apps).where(of_organisation))
    rows = connection.execute(
        select(apps).where(of_organisation).order_by(apps.c.app_number).limit(limit).offset(offset)
    )
    return [_shown(dict(row._mapping)) for row in rows], int(total.scalar_one())  # noqa: SLF001  SQLAlchemy's public name for it


def get_app(connection: Connection, organisation_id: UUID, app_id: UUID) -> dict[str, Any] | None:
    query = select(apps).where(apps.c.app_id == app_id, apps.c.organisation_id == organisation_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _shown(dict(row))


def list_keys(connection: Connection, owner_id: UUID) -> list[dict[str, Any]]:
    """Without digests: what is shown is enough to recognise a key, not to test one."""
    shown = [c for c in keys.c if c.name not in {"digest", "owner_id"}]
    query = select(*shown).where(keys.c.owner_id == owner_id).order_by(keys.c.issued_at)
    return [dict(row) for row in connection.execute(query).mappings()]


def numbers(connection: Connection) -> dict[UUID, int]:
    """App id -> dense number, of all apps."""
    rows = connection.execute(select(apps.c.app_id, apps.c.app_number))
    return {row.app_id: row.app_number for row in rows}


def all_organisations(connection: Connection) -> list[dict[str, Any]]:
    query = select(organisations).order_by(organisations.c.created_at)
    return [dict(row) for row in connection.execute(query).mappings()]


def _shown(app: dict[str, Any]) -> dict[str, Any]:
    app["id"] = app.pop("app_id")
    del app["app_number"]
    return app
