"""Brings the database's schema up to date: migrations/NNNN_*.sql, in order, each once."""

import hashlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from infrastructure.settings import Settings

DIRECTORY = Path(__file__).parent / "migrations"
_LOCK = 4712  # log.lock_head() has 4711

_TABLE = """
    CREATE TABLE IF NOT EXISTS public.migrations (
        name text PRIMARY KEY,
        sha256 text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""


class MigrationChanged(Exception):
    """A file is not what was applied under its name, or what was applied has no file."""


class Migration(NamedTuple):
    name: str
    sql: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql).hexdigest()


def migrate(database_url: str, directory: Path = DIRECTORY) -> list[str]:
    """Applies what is missing and returns the names. Several at once wait for one another.
    Raises MigrationChanged.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(_TABLE)
        missing = _missing(connection, directory)
        for migration in missing:
            _apply(connection, migration)
        return [migration.name for migration in missing]


def run(settings: Settings) -> None:
    """The role `migrate`."""
    for name in migrate(settings.database_url):
        sys.stdout.write(f"applied {name}\n")


def pending(database_url: str, directory: Path = DIRECTORY) -> list[str]:
    """What `migrate` would apply. Changes nothing. Raises MigrationChanged."""
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        known = connection.execute("SELECT to_regclass('public.migrations') IS NOT NULL").fetchone()
        if known != (True,):
            return [migration.name for migration in _all(directory)]
        return [migration.name for migration in _missing(connection, directory)]


def _all(directory: Path) -> list[Migration]:
    files = sorted(directory.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    return [Migration(file.name, file.read_bytes()) for file in files]


def _missing(connection: psycopg.Connection[Any], directory: Path) -> list[Migration]:
    applied = dict(connection.execute("SELECT name, sha256 FROM public.migrations").fetchall())
    migrations = _all(directory)
    for migration in migrations:
        if applied.get(migration.name, migration.sha256) != migration.sha256:
            reason = "was changed after it was applied; put it back and add a new file instead"
            raise MigrationChanged(f"{migration.name} {reason}")
    unknown = applied.keys() - {migration.name for migration in migrations}
    if unknown:
        reason = "were applied by a newer version; run that version"
        raise MigrationChanged(f"{', '.join(sorted(unknown))} {reason}")
    return [migration for migration in migrations if migration.name not in applied]


def _apply(connection: psycopg.Connection[Any], migration: Migration) -> None:
    with connection.transaction():
        connection.execute(migration.sql)
        connection.execute(
            "INSERT INTO public.migrations (name, sha256) VALUES (%s, %s)",
            (migration.name, migration.sha256),
        )
