"""The embedded NATS server, with JetStream on disk."""

import os
import shutil
import socket
import sys
from pathlib import Path
from urllib.parse import quote

from infrastructure.embedded.processes import POLITE, CannotStart, Child, stop_orphan

USER = "appizer"

# `sync_interval: always`: JetStream else acknowledges what a power cut can take back.
_CONFIGURATION = """\
listen: {listen}
server_name: appizer
pid_file: {pid_file}
authorization {{ user: {user}, password: {password} }}
jetstream {{ store_dir: {store}, sync_interval: always }}
"""


class MessageServer:
    """NATS on 127.0.0.1; streams lie in `data`."""

    name = "nats"

    def __init__(self, data: Path, *, port: int, password: str, log: Path) -> None:
        self.data = data
        self.log = log
        self.port = port
        self._password = password
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"nats://{USER}:{quote(self._password, safe='')}@127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        self.stop()
        self.data.mkdir(mode=0o700, exist_ok=True)
        stop_orphan(self.data / "nats-server.pid", "nats-server", POLITE)
        configuration = self.data / "nats-server.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(self._configuration())
        command = [_program(), "--config", str(configuration)]
        self._child = Child(command, log=self.log)

    def is_ready(self) -> bool:
        """True once it greets: its first bytes to a client are INFO."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    def exit_code(self) -> int | None:
        return self._child.exit_code() if self._child else None

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()

    def _configuration(self) -> str:
        return _CONFIGURATION.format(
            listen=_quoted(f"127.0.0.1:{self.port}"),
            pid_file=_quoted(str(self.data / "nats-server.pid")),
            user=USER,
            password=_quoted(self._password),
            store=_quoted(str(self.data)),
        )


def _quoted(text: str) -> str:
    """As the server reads strings: the only escape for what is not plain ASCII is a byte's."""
    plain = set(range(0x20, 0x7F)) - {ord('"'), ord("\\")}
    written = (chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return '"' + "".join(written) + '"'


def _program() -> str:
    """The wheel puts it beside the interpreter's scripts; that need not be on PATH."""
    scripts = Path(sys.executable).parent
    found = shutil.which("nats-server", path=f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        mend = "install the extra `embedded` (./appizer does), or set APPIZER_NATS_URL"
        raise CannotStart("the embedded NATS server is not installed", mend)
    return found
