"""Organisations, apps and keys: load, decide, append."""

import os
from functools import reduce
from typing import cast
from uuid import UUID, uuid4

import msgspec

from commands.ports import Clock, Streams
from domain import apps, keys
from domain.errors import NotFound


class CreatedKey(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is shown this once; afterwards only its digest and last four characters exist."""

    key_id: UUID
    key: str
    kind: apps.KeyKind
    position: int


class Created(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    position: int


def create_organisation(streams: Streams, clock: Clock, name: str) -> Created:
    organisation_id = uuid4()
    event = apps.create_organisation(organisation_id=organisation_id, name=name, now=clock())
    return Created(id=organisation_id, position=streams.append([event]))


def create_app(
    streams: Streams, clock: Clock, organisation_id: UUID, wanted: apps.NewApp
) -> Created:
    app_id = uuid4()
    event = apps.create_app(wanted, app_id=app_id, organisation_id=organisation_id, now=clock())
    return Created(id=app_id, position=streams.append([event]))


def issue_key(
    streams: Streams, clock: Clock, owner_id: UUID, *, kind: apps.KeyKind, label: str = ""
) -> CreatedKey:
    """`owner_id`: an organisation's for its own kind, else an app's."""
    key = keys.make_key(kind, os.urandom(keys.RANDOM_BYTES))
    wanted = apps.NewKey(
        key_id=uuid4(), kind=kind, digest=keys.digest(key), last_four=key[-4:], label=label
    )
    event = apps.issue_key(_owner(streams, owner_id), wanted, now=clock())
    position = streams.append([event])
    return CreatedKey(key_id=wanted.key_id, key=key, kind=kind, position=position)


def revoke_key(streams: Streams, clock: Clock, owner_id: UUID, key_id: UUID) -> int:
    event = apps.revoke_key(_owner(streams, owner_id), key_id, now=clock())
    return streams.append([event])


def _owner(streams: Streams, owner_id: UUID) -> apps.Owner:
    history = cast("list[apps.AppEvent]", streams.load(owner_id))
    owner: apps.Owner | None = reduce(apps.evolve, history, None)
    if owner is None:
        raise NotFound("no such app or organisation")
    return owner
