"""Organisations, their apps and the keys of both: events, state, decisions, evolve."""

import re
from datetime import datetime
from typing import ClassVar, Literal, assert_never
from uuid import UUID

import msgspec

from domain.aggregates import Event, checked_name
from domain.errors import Conflict, NotFound, Rejected
from domain.limits import (
    MAX_AUTHORIZED_DOMAINS,
    MAX_NAME_CHARS,
    MAX_RETENTION_DAYS,
    MIN_RETENTION_DAYS,
)
from domain.moments import known_zone

KeyKind = Literal["write", "secret", "admin", "organisation"]
PERMISSIONS: dict[str, tuple[str, ...]] = {
    "write": ("ingest",),
    "secret": ("ingest", "read", "write"),
    "admin": ("ingest", "read", "write", "merge", "erase"),
    "organisation": ("apps",),
}
_LABEL = "[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(?=.{{1,253}}$){_LABEL}([.]{_LABEL})*")  # RFC 1035, section 2.3.4


class OrganisationCreated(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "organisation.created.v1"
    name: str


class AppCreated(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "app.created.v1"
    organisation_id: UUID
    name: str
    timezone: str = "UTC"
    authorized_domains: tuple[str, ...] = ()
    data_retention_days: int = 365


class KeyIssued(Event, frozen=True, kw_only=True):
    """`digest` is the SHA-256 of the key in hex; the key itself is never stored."""

    TOPIC: ClassVar[str] = "key.issued.v1"
    key_id: UUID
    kind: KeyKind
    digest: str
    last_four: str
    label: str = ""


class KeyRevoked(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "key.revoked.v1"
    key_id: UUID


AppEvent = OrganisationCreated | AppCreated | KeyIssued | KeyRevoked


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation or an app, as far as decisions need it."""

    id: UUID
    version: int
    app_id: UUID | None
    keys: dict[UUID, bool]  # key id -> still good


def create_organisation(*, organisation_id: UUID, name: str, now: datetime) -> OrganisationCreated:
    return OrganisationCreated(
        originator_id=organisation_id,
        originator_version=1,
        occurred_at=now,
        name=checked_name(name),
    )


class NewApp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    timezone: str = "UTC"
    authorized_domains: tuple[str, ...] = ()
    data_retention_days: int = 365


def create_app(wanted: NewApp, *, app_id: UUID, organisation_id: UUID, now: datetime) -> AppCreated:
    if not MIN_RETENTION_DAYS <= wanted.data_retention_days <= MAX_RETENTION_DAYS:
        issue = f"must lie between {MIN_RETENTION_DAYS} and {MAX_RETENTION_DAYS} days"
        raise Rejected("data_retention_days", issue)
    return AppCreated(
        originator_id=app_id,
        originator_version=1,
        occurred_at=now,
        app_id=app_id,
        organisation_id=organisation_id,
        name=checked_name(wanted.name),
        timezone=known_zone(wanted.timezone),
        authorized_domains=known_hosts(wanted.authorized_domains),
        data_retention_days=wanted.data_retention_days,
    )


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    key_id: UUID
    kind: KeyKind
    digest: str
    last_four: str
    label: str = ""


def issue_key(owner: Owner, wanted: NewKey, *, now: datetime) -> KeyIssued:
    if (wanted.kind == "organisation") == (owner.app_id is not None):
        raise Rejected(
            "kind", "an app has write, secret and admin keys, an organisation its own kind"
        )
    return KeyIssued(
        originator_id=owner.id,
        originator_version=owner.version + 1,
        occurred_at=now,
        app_id=owner.app_id,
        key_id=wanted.key_id,
        kind=wanted.kind,
        digest=wanted.digest,
        last_four=wanted.last_four,
        label=checked_label(wanted.label),
    )


def revoke_key(owner: Owner, key_id: UUID, *, now: datetime) -> KeyRevoked:
    if key_id not in owner.keys:
        raise NotFound("no such key")
    if not owner.keys[key_id]:
        raise Conflict("the key is revoked already")
    return KeyRevoked(
        originator_id=owner.id,
        originator_version=owner.version + 1,
        occurred_at=now,
        app_id=owner.app_id,
        key_id=key_id,
    )


def evolve(owner: Owner | None, event: AppEvent) -> Owner:
    match event:
        case OrganisationCreated() | AppCreated():
            return Owner(id=event.originator_id, version=1, app_id=event.app_id, keys={})
        case KeyIssued():
            return _with_key(owner, event, good=True)
        case KeyRevoked():
            return _with_key(owner, event, good=False)
        case _:
            assert_never(event)


def _with_key(owner: Owner | None, event: KeyIssued | KeyRevoked, *, good: bool) -> Owner:
    assert owner is not None
    return Owner(
        id=owner.id,
        version=event.originator_version,
        app_id=owner.app_id,
        keys={**owner.keys, event.key_id: good},
    )


def checked_label(label: str) -> str:
    """May be empty."""
    if len(label) > MAX_NAME_CHARS or not label.isprintable():
        raise Rejected("label", f"must be at most {MAX_NAME_CHARS} printable characters")
    return label.strip()


def known_hosts(domains: tuple[str, ...]) -> tuple[str, ...]:
    """In lower case, as browsers write them in `Origin`."""
    if len(domains) > MAX_AUTHORIZED_DOMAINS:
        raise Rejected("authorized_domains", f"at most {MAX_AUTHORIZED_DOMAINS}")
    hosts = tuple(domain.lower() for domain in domains)
    for place, host in enumerate(hosts):
        if not _HOST.fullmatch(host):
            issue = "must be a host name such as example.com, without scheme, port or path"
            raise Rejected(f"authorized_domains[{place}]", issue)
    return hosts
