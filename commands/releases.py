"""Releases: load, decide, append."""

from functools import reduce
from typing import cast
from uuid import UUID

import msgspec

from commands.ports import Clock, Streams
from domain import releases
from domain.aggregates import checked_name
from domain.errors import NotFound
from domain.releases import Release, ReleaseCreated, ReleaseEvent, ReleaseUpdated


class Written(msgspec.Struct, frozen=True, kw_only=True):
    event: ReleaseCreated | ReleaseUpdated
    position: int


def create_release(
    streams: Streams, clock: Clock, app_id: UUID, wanted: releases.NewRelease
) -> Written:
    release_id = releases.release_id_of(app_id, checked_name(wanted.version, "version"))
    before = _load(streams, app_id, release_id)
    event = releases.create_release(before, wanted, app_id=app_id, now=clock())
    return Written(event=event, position=streams.append([event]))


def update_release(
    streams: Streams, clock: Clock, app_id: UUID, release_id: UUID, change: releases.Change
) -> Written:
    event = releases.update_release(_existing(streams, app_id, release_id), change, now=clock())
    return Written(event=event, position=streams.append([event]))


def delete_release(streams: Streams, clock: Clock, app_id: UUID, release_id: UUID) -> int:
    event = releases.delete_release(_existing(streams, app_id, release_id), now=clock())
    return streams.append([event])


def _existing(streams: Streams, app_id: UUID, release_id: UUID) -> Release:
    release = _load(streams, app_id, release_id)
    if release is None or release.is_deleted:
        raise NotFound("no such version")
    return release


def _load(streams: Streams, app_id: UUID, release_id: UUID) -> Release | None:
    """None also for another app's, and for the id of something else."""
    history = streams.load(release_id)
    if not history or not isinstance(history[0], ReleaseCreated) or history[0].app_id != app_id:
        return None
    return reduce(
        releases.evolve, cast("list[ReleaseEvent]", history), cast("Release | None", None)
    )
