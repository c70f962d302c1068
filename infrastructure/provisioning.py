"""The first organisation, app and keys of an instance."""

from datetime import UTC, datetime

import msgspec

from commands import apps as commands
from domain.apps import NewApp
from infrastructure.event_store.recorder import AggregateStreams
from infrastructure.settings import Settings


class Quickstart(msgspec.Struct, frozen=True, kw_only=True):
    """Keys are readable here only; the log has their digests."""

    app_id: str
    write_key: str
    secret_key: str
    org_key: str


def now() -> datetime:
    return datetime.now(UTC)


def provision(settings: Settings) -> Quickstart:
    """Makes a new organisation with one app, a key of each kind, and returns the keys."""
    streams = AggregateStreams(settings.database_url)
    try:
        organisation = commands.create_organisation(streams, now, "My organisation")
        app = commands.create_app(streams, now, organisation.id, NewApp(name="My app"))
        org_key = commands.issue_key(streams, now, organisation.id, kind="organisation")
        write_key = commands.issue_key(streams, now, app.id, kind="write", label="quickstart")
        secret_key = commands.issue_key(streams, now, app.id, kind="secret", label="quickstart")
    finally:
        streams.close()
    return Quickstart(
        app_id=str(app.id),
        write_key=write_key.key,
        secret_key=secret_key.key,
        org_key=org_key.key,
    )
