"""TCP ports on this machine: which are free, and who holds the others."""

import contextlib
import errno
import random
import socket
from pathlib import Path

# Below the range that Linux and macOS take outgoing ports from, so that a server which restarts
# does not find its port in use as somebody's client port.
_FIRST, _LAST = 15_000, 32_000
_LISTENING = "0A"  # include/net/tcp_states.h, as /proc/net/tcp prints it


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True if a server could listen there. Raises OSError for a host that is not ours, or a port
    that we may not take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def free_port(preferred: int | None = None) -> int:
    """`preferred` if it is free on loopback, else any that is."""
    if preferred is not None and is_free(preferred):
        return preferred
    while True:
        port = random.randrange(_FIRST, _LAST)  # noqa: S311  not a secret
        if is_free(port):
            return port


def holder(port: int) -> str:
    """`nginx (pid 812)`: who listens on `port`, or an empty string where we can't see it."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with contextlib.suppress(OSError):  # ended meanwhile, or not ours to look into
            if any(_target(descriptor) in inodes for descriptor in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return ""


def _target(descriptor: Path) -> str:
    try:
        return descriptor.readlink().name
    except FileNotFoundError:  # closed meanwhile
        return ""


def _listening_inodes(port: int) -> set[str]:
    """Names that the sockets have as targets of /proc/PID/fd links."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for row in table.read_text().splitlines()[1:] if table.exists() else ():
            columns = row.split()
            if columns[3] == _LISTENING and int(columns[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{columns[9]}]")
    return found
