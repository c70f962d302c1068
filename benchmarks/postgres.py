"""A Postgres of a benchmark's own, gone afterwards."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infrastructure.embedded.ports import free_port
from infrastructure.embedded.postgres import EmbeddedPostgres
from infrastructure.embedded.processes import wait_until_ready
from infrastructure.migrate import migrate


@contextmanager
def own_database() -> Iterator[str]:
    """The URL of an empty log."""
    with tempfile.TemporaryDirectory(prefix="appizer-bench-") as directory:
        home = Path(directory)
        home.chmod(0o711)  # the server may run as another user
        server = EmbeddedPostgres(
            home / "postgres", port=free_port(), password="bench", log=home / "postgres.log"
        )
        server.start()
        try:
            wait_until_ready(server, seconds=60)
            migrate(server.url())
            yield server.url()
        finally:
            server.stop()
