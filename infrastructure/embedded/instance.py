"""An instance: the directory that holds everything `appizer up` keeps.

DIR/postgres, DIR/nats, DIR/engine   what the servers store
DIR/logs/NAME.log                    one per part; the one before it is NAME.log.1
DIR/instance.json                    the APPIZER_* settings in force, with ports and passwords
DIR/quickstart.json                  the first app's keys and the address to use them at
DIR/metrics.json                     the loopback ports at which roles tell their figures
DIR/troubles.json                    what the supervisor knows to be wrong, by part; else not there
DIR/lock                             held, and with the pid inside, while the instance runs
"""

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TextIO, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from infrastructure import settings
from infrastructure.embedded.message_server import MessageServer
from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import CannotStart

_LONGEST_NAME = 800  # bytes; servers append up to some 200 to it

T = TypeVar("T")


class Quickstart(msgspec.Struct, frozen=True, kw_only=True):
    """DIR/quickstart.json."""

    url: str
    app_id: str
    write_key: str
    secret_key: str
    org_key: str


class Address(NamedTuple):
    """Where a server of the instance listens on loopback, and what it asks for."""

    port: int
    password: str


class Instance(msgspec.Struct, frozen=True):
    directory: Path

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def file(self) -> Path:
        return self.directory / "instance.json"

    @property
    def quickstart_file(self) -> Path:
        return self.directory / "quickstart.json"

    def exists(self) -> bool:
        return self.file.exists()

    def running_pid(self) -> int | None:
        """The supervisor's pid while it runs; None else."""
        try:
            with (self.directory / "lock").open("r") as lock:
                return None if _locked(lock, fcntl.LOCK_SH) else int(lock.read() or 0)
        except (FileNotFoundError, PermissionError):
            return None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Makes the directory and holds its lock. Raises CannotStart when somebody else does."""
        self._make()
        with (self.directory / "lock").open("a+") as lock:
            if not _patiently_locked(lock):
                lock.seek(0)
                problem = f"`appizer up` runs on {self.directory} already (pid {lock.read()})"
                raise CannotStart(problem, "stop that one, or choose another --data")
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def environment(self) -> dict[str, str]:
        """The APPIZER_* variables of instance.json; empty before the first start."""
        return _read(self.file, dict[str, str]) or {}

    def settings(self) -> settings.Settings:
        """Raises SettingsError."""
        return settings.load(joined(os.environ, self.environment()))

    def port(self) -> int | None:
        """Where HTTP was served at the last start."""
        known = self.environment().get("APPIZER_PORT")
        return int(known) if known else None

    def configure(self, *, host: str, port: int) -> None:
        """Writes instance.json: keeps passwords, and ports as long as they are free."""
        known = self.environment()
        database = _address(known.get("APPIZER_DATABASE_URL"))
        messages = _address(known.get("APPIZER_NATS_URL"))
        engine = _address(known.get("APPIZER_ANALYTICS_URL"))
        made = {
            "APPIZER_DATA": str(self.directory),
            "APPIZER_DATABASE_URL": self._postgres(database).url(),
            "APPIZER_NATS_URL": self._messages(messages).url,
            "APPIZER_ANALYTICS_URL": f"http://default:{engine.password}@127.0.0.1:{engine.port}/default",
            "APPIZER_HOST": host,
            "APPIZER_PORT": str(port),
        }
        write_secret(self.file, made)

    def metrics_ports(self) -> dict[str, int]:
        """By role, of those that have no other port."""
        return _read(self.directory / "metrics.json", dict[str, int]) or {}

    def give_metrics_port(self, role: str) -> int:
        """The one that it had, if that is free."""
        known = self.metrics_ports()
        port = free_port(known.pop(role, None))
        while port in known.values():
            port = free_port()
        write_secret(self.directory / "metrics.json", {**known, role: port})
        return port

    def troubles(self) -> dict[str, str]:
        return _read(self.directory / "troubles.json", dict[str, str]) or {}

    def tell_troubles(self, troubles: Mapping[str, str]) -> None:
        if troubles:
            write_secret(self.directory / "troubles.json", troubles)
        else:
            (self.directory / "troubles.json").unlink(missing_ok=True)

    def postgres(self) -> EmbeddedPostgres:
        return self._postgres(_address(self.environment()["APPIZER_DATABASE_URL"], keep_port=True))

    def message_server(self) -> MessageServer:
        return self._messages(_address(self.environment()["APPIZER_NATS_URL"], keep_port=True))

    def quickstart(self) -> Quickstart | None:
        return _read(self.quickstart_file, Quickstart)

    def _postgres(self, address: Address) -> EmbeddedPostgres:
        return EmbeddedPostgres(
            self.directory / "postgres",
            port=address.port,
            password=address.password,
            log=self.logs / "postgres.log",
        )

    def _messages(self, address: Address) -> MessageServer:
        return MessageServer(
            self.directory / "nats",
            port=address.port,
            password=address.password,
            log=self.logs / "nats.log",
        )

    def _make(self) -> None:
        """As root Postgres runs as another user, who must pass through this directory: it is made
        so, or opened when it holds nothing but ours. What lies in it is closed one by one.
        """
        _check_name(self.directory)
        through = 0o711 if os.geteuid() == 0 else 0o700
        try:
            self.directory.mkdir(mode=through, parents=True, exist_ok=True)
            if self.exists() or not any(self.directory.iterdir()):
                self.directory.chmod(self.directory.stat().st_mode & 0o777 | through)
            for closed in (self.logs, self.directory / "engine"):
                closed.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            mend = "choose a --data that you may write to"
            raise CannotStart(f"{self.directory}: {error.strerror}", mend) from None


def _check_name(directory: Path) -> None:
    """Raises CannotStart for what one of the servers can't live in: Postgres takes paths of 1,023
    bytes, the analytics engine reads some characters as patterns.
    """
    name = str(directory)
    odd = sorted(
        {c for c in name if c in "?*{}" or c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff"}
    )
    mend = "choose another --data"
    if odd:
        shown = ", ".join(map(ascii, odd))
        raise CannotStart(f"{name!a}: the path must not contain {shown}", mend)
    if (size := len(os.fsencode(name))) > _LONGEST_NAME:
        problem = f"{name}: the path has {size} bytes, at most {_LONGEST_NAME} are possible"
        raise CannotStart(problem, mend)


def default_directory() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/appizer")
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "appizer"


def joined(outer: Mapping[str, str], instance: Mapping[str, str]) -> dict[str, str]:
    """The instance's variables win, also over the *_FILE variants of the same settings."""
    kept = {
        name: value for name, value in outer.items() if name.removesuffix("_FILE") not in instance
    }
    return {**kept, **instance}


def write_secret(file: Path, value: object) -> None:
    """As JSON that only we may read; whole or not at all, whatever happens meanwhile."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(value)) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    new.rename(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(file: Path, kind: type[T]) -> T | None:
    """None when it is not there."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _address(known: str | None, *, keep_port: bool = False) -> Address:
    parts = urlsplit(known or "")
    password = unquote(parts.password or "") or secrets.token_urlsafe(24)
    if keep_port and parts.port:
        return Address(parts.port, password)
    return Address(free_port(parts.port), password)


def _locked(lock: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _patiently_locked(lock: TextIO) -> bool:
    """Tries for a moment: whoever asks whether the instance runs holds the lock for an instant."""
    for _ in range(20):
        if _locked(lock, fcntl.LOCK_EX):
            return True
        time.sleep(0.02)
    return False
