"""A role of ours (`appizer run ROLE`) as a part of an instance."""

import os
import sys
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from infrastructure.embedded.instance import joined
from infrastructure.embedded.processes import Child

_ROOT = Path(__file__).parents[2]
# On a full machine whoever follows the log must not delay those who answer (docs/benchmarks.md).
_WAITED_FOR = ("api", "commands", "queries")


class Role:
    """`health` is a URL that answers 2xx once the role does its work; a role that serves nothing
    counts as ready while it runs. `own` is asked at each start for variables that win over those
    of `environment`.
    """

    def __init__(
        self,
        name: str,
        *,
        log: Path,
        environment: Mapping[str, str],
        health: str | None = None,
        own: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self.name = name
        self.log = log
        self._environment = environment
        self._health = health
        self._own = own
        self._child: Child | None = None

    def start(self) -> None:
        """-P and PYTHONPATH: the same code as ours, whatever lies in the current directory."""
        self.stop()
        command = [sys.executable, "-P", "-m", "api.cli.main", "run", self.name]
        if self.name not in _WAITED_FOR:
            command.append("--background")
        path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
        environment = joined(self._environment, {**self._own(), "PYTHONPATH": path})
        self._child = Child(command, log=self.log, environment=environment)

    def is_ready(self) -> bool:
        if self._health is None:
            return self.exit_code() is None
        return answers(self._health)

    def exit_code(self) -> int | None:
        return self._child.exit_code() if self._child else None

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()


def answers(url: str, key: str | None = None) -> bool:
    """True if a GET gets a 2xx within 5 seconds."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=5)
    try:
        headers = {} if key is None else {"X-API-Key": key}
        connection.request("GET", parts.path, headers=headers)
        return connection.getresponse().status // 100 == 2  # noqa: PLR2004  2xx
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
