"""`appizer up`: starts the parts of an instance in order, keeps them running, stops them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from infrastructure.database import open_log
from infrastructure.embedded.instance import Instance, Quickstart, joined, write_secret
from infrastructure.embedded.ports import holder, is_free
from infrastructure.embedded.processes import CannotStart, Part, wait_until_ready
from infrastructure.embedded.role import Role, answers
from infrastructure.embedded.upkeep import Upkeep
from infrastructure.event_store.reader import read_head
from infrastructure.migrate import migrate
from infrastructure.provisioning import provision
from infrastructure.settings import Settings

_READY = 60.0
_RECOVERY = 600.0  # Postgres may have gigabytes of its own log to replay after a crash
_LOOK = 0.1  # seconds between two looks at the parts


class Watcher(Protocol):
    """Is told what happens."""

    def step(self, label: str) -> None:
        """What begins now; the step before is done."""

    def ready(self, quickstart: Quickstart, position: int) -> None:
        """`position`: the next event's."""

    def notice(self, text: str) -> None: ...


class Stopped(Exception):
    """Somebody asked us to stop before everything had started."""


class Supervisor:
    """Runs in the main thread: signals arrive there, and children die with their thread."""

    def __init__(self, instance: Instance, *, host: str, port: int, watcher: Watcher) -> None:
        self._instance = instance
        self._host = host
        self._port = port
        self._watcher = watcher
        self._upkeep = Upkeep(watcher.notice)
        self._asked_to_stop = False
        self._troubles: dict[str, str] = {}

    def run(self) -> None:
        """Returns after SIGINT, SIGTERM or SIGHUP, when everything has stopped. Raises
        CannotStart, MigrationChanged, SettingsError.
        """
        with self._signals(), self._instance.held():
            try:
                self._start()
                while not self._asked_to_stop:
                    self._upkeep.look(time.monotonic())
                    self._tell_troubles(self._upkeep.troubles(time.monotonic()))
                    time.sleep(_LOOK)
            except Stopped:
                pass
            finally:
                self._upkeep.stop()

    def _tell_troubles(self, troubles: dict[str, str]) -> None:
        """The API reads them. A full disk must not end the supervisor."""
        if troubles != self._troubles:
            self._troubles = troubles
            with contextlib.suppress(OSError):
                self._instance.tell_troubles(troubles)

    def _start(self) -> None:
        check_address(self._host, self._port)
        self._instance.configure(host=self._host, port=self._port)
        self._instance.tell_troubles({})
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
        is_first = self._instance.quickstart() is None
        quickstart = self._quickstart(settings)
        self._start_roles(quickstart if is_first else None)
        with open_log(settings.database_url) as log:
            self._watcher.ready(quickstart, read_head(log) + 1)

    def _start_roles(self, made: Quickstart | None) -> None:
        """`made`: keys that must work before anybody is told about them."""
        self._watcher.step("API, projector, relay, reactor")
        api = self._role("api", health=f"{self._url()}/healthz")
        roles = [api, *map(self._role, ("projector", "relay", "reactor"))]
        for role in roles:
            self._launch(role)
        self._gate(api)
        self._watcher.step("a first write and a first message")
        deadline = time.monotonic() + _READY
        while not (answers(f"{self._url()}/readyz") and self._knows(made)):
            for role in roles:
                self._gate(role)
            self._pause(_LOOK)
            if time.monotonic() > deadline:
                problem = f"{self._url()}/readyz does not say that everything is ready"
                raise CannotStart(problem, f"see {self._instance.logs}/*.log, or `appizer doctor`")

    def _knows(self, made: Quickstart | None) -> bool:
        return made is None or answers(f"{self._url()}/v1/failed-events", made.secret_key)

    def _role(self, name: str, health: str | None = None) -> Role:
        environment = joined(os.environ, self._instance.environment())
        log = self._instance.logs / f"{name}.log"
        own = partial(self._metrics_address, name) if health is None else dict
        return Role(name, log=log, environment=environment, health=health, own=own)

    def _metrics_address(self, role: str) -> dict[str, str]:
        """Of the role's own, whatever APPIZER_METRICS_PORT says: two can't share one. The API's
        /metrics has them all.
        """
        port = self._instance.give_metrics_port(role)
        return {"APPIZER_METRICS_PORT": str(port), "APPIZER_HOST": "127.0.0.1"}

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
        self._upkeep.start(part, time.monotonic())

    def _gate(self, part: Part, seconds: float = _READY) -> None:
        wait_until_ready(part, seconds=seconds, pause=self._pause)

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
