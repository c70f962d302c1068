"""`appizer up`: starts the parts of an instance in order, keeps them running, stops them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from infrastructure.embedded.instance import Instance, Quickstart, joined, write_secret
from infrastructure.embedded.ports import holder, is_free
from infrastructure.embedded.processes import (
    CannotStart,
    Part,
    ending,
    trim_log,
    wait_until_ready,
)
from infrastructure.embedded.role import Role, answers
from infrastructure.migrate import migrate
from infrastructure.provisioning import provision
from infrastructure.settings import Settings

_FIRST_DELAY, _LAST_DELAY = 0.2, 15.0  # seconds before a part that ended is started again
_STEADY = 60.0  # after so many seconds of running the delay begins anew
_READY = 60.0
_RECOVERY = 600.0  # Postgres may have gigabytes of its own log to replay after a crash
_LOG_BYTES = 16 * 2**20
_LOOK = 0.1  # seconds between two looks at the parts


class Watcher(Protocol):
    """Is told what happens."""

    def step(self, label: str) -> None:
        """What begins now; the step before is done."""

    def ready(self, url: str, quickstart: Quickstart) -> None: ...

    def notice(self, text: str) -> None: ...


class Stopped(Exception):
    """Somebody asked us to stop before everything had started."""


class _Watched(msgspec.Struct):
    part: Part
    started_at: float
    delay: float = _FIRST_DELAY
    start_at: float | None = None  # when it ended: the time of its next start


class Supervisor:
    """Runs in the main thread: signals arrive there, and children die with their thread."""

    def __init__(self, instance: Instance, *, host: str, port: int, watcher: Watcher) -> None:
        self._instance = instance
        self._host = host
        self._port = port
        self._watcher = watcher
        self._watched: list[_Watched] = []
        self._asked_to_stop = False

    def run(self) -> None:
        """Returns after SIGINT, SIGTERM or SIGHUP, when everything has stopped. Raises
        CannotStart, MigrationChanged, SettingsError.
        """
        with self._signals(), self._instance.held():
            try:
                self._start()
                while not self._asked_to_stop:
                    self._look()
                    time.sleep(_LOOK)
            except Stopped:
                pass
            finally:
                self._stop()

    def _start(self) -> None:
        check_address(self._host, self._port)
        self._instance.configure(host=self._host, port=self._port)
        settings = self._instance.settings()
        postgres, messages = self._instance.postgres(), self._instance.message_server()
        engine = self._role("engine", health=_engine_ping(settings))
        self._watcher.step("Postgres")
        for part in (postgres, messages, engine):
            self._launch(part)
        self._gate(postgres, seconds=_RECOVERY)
        self._watcher.step("schema")
        migrate(settings.database_url)
        self._watcher.step("NATS")
        self._gate(messages)
        self._watcher.step("analytics engine")
        self._gate(engine)
        quickstart = self._quickstart(settings)
        self._start_roles()
        self._watcher.ready(quickstart.url, quickstart)

    def _start_roles(self) -> None:
        self._watcher.step("API, projector, relay")
        api = self._role("api", health=f"{self._url()}/healthz")
        roles = [api, self._role("projector"), self._role("relay")]
        for role in roles:
            self._launch(role)
        self._gate(api)
        self._watcher.step("a first write and a first message")
        deadline = time.monotonic() + _READY
        while not answers(f"{self._url()}/readyz"):
            for role in roles:
                self._gate(role)
            self._pause(_LOOK)
            if time.monotonic() > deadline:
                problem = f"{self._url()}/readyz does not say that everything is ready"
                raise CannotStart(problem, f"see {self._instance.logs}/*.log, or `appizer doctor`")

    def _role(self, name: str, health: str | None = None) -> Role:
        environment = joined(os.environ, self._instance.environment())
        log = self._instance.logs / f"{name}.log"
        return Role(name, log=log, environment=environment, health=health)

    def _quickstart(self, settings: Settings) -> Quickstart:
        """The keys of the first start; the address follows --host and --port."""
        known = self._instance.quickstart()
        if known is None:
            self._watcher.step("first app and keys")
            made = provision(settings)
            current = Quickstart(
                url=self._url(),
                app_id=made.app_id,
                write_key=made.write_key,
                secret_key=made.secret_key,
                org_key=made.org_key,
            )
        else:
            current = msgspec.structs.replace(known, url=self._url())
        if current != known:
            write_secret(self._instance.quickstart_file, current)
        return current

    def _launch(self, part: Part) -> None:
        self._pause(0)
        part.start()
        self._watched.append(_Watched(part, time.monotonic()))

    def _gate(self, part: Part, seconds: float = _READY) -> None:
        wait_until_ready(part, seconds=seconds, pause=self._pause)

    def _look(self) -> None:
        for watched in self._watched:
            self._mend(watched)
            trim_log(watched.part.log, _LOG_BYTES)

    def _mend(self, watched: _Watched) -> None:
        """Starts a part again that ended; the more often it does, the later."""
        now = time.monotonic()
        if watched.start_at is None:
            code = watched.part.exit_code()
            if code is None:
                return
            if now - watched.started_at > _STEADY:
                watched.delay = _FIRST_DELAY
            watched.start_at = now + watched.delay
            again = f"starting it again in {watched.delay:.1f} s, see {watched.part.log}"
            self._watcher.notice(f"{watched.part.name} ended with {ending(code)}; {again}")
            watched.delay = min(watched.delay * 2, _LAST_DELAY)
        elif now >= watched.start_at:
            watched.start_at, watched.started_at = None, now
            try:
                watched.part.start()
            except CannotStart as error:
                watched.start_at = now + watched.delay
                self._watcher.notice(str(error))

    def _stop(self) -> None:
        """The last started stops first, so that nobody loses what it works with."""
        for watched in reversed(self._watched):
            watched.part.stop()

    def _pause(self, seconds: float) -> None:
        if self._asked_to_stop:
            raise Stopped
        time.sleep(seconds)

    def _url(self) -> str:
        here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self._host, self._host)  # noqa: S104  any address
        return f"http://{here}:{self._port}"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def ask(_signal: int, _frame: object) -> None:
            self._asked_to_stop = True

        asked = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {each: signal.signal(each, ask) for each in asked}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def check_address(host: str, port: int) -> None:
    """Raises CannotStart when nobody could listen there."""
    try:
        free = is_free(port, host)
    except OSError as error:
        mend = "choose another --host or --port"
        raise CannotStart(f"cannot listen on {host}, port {port}: {error.strerror}", mend) from None
    if not free:
        by = holder(port)
        problem = f"port {port} is taken" + (f" by {by}" if by else "")
        raise CannotStart(problem, f"stop that, or choose another: --port {port + 1}")


def _engine_ping(settings: Settings) -> str:
    parts = urlsplit(settings.analytics_url)
    return f"http://{parts.hostname}:{parts.port}/ping"
