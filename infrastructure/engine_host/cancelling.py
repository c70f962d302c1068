"""Reads that nobody waits for any more are ended: told to by KILL QUERY, or by a closed connection.

The engine has its own id for a statement and tells it to nobody, so each read carries a mark of
ours in front, by which it is found among those that run.
"""

import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK_SECONDS = 0.25
_KILL = re.compile(rb"\s*KILL\s+QUERY\s+WHERE\s+query_id\s*=\s*'([\w-]{1,64})'", re.IGNORECASE)


def killed(sql: bytes) -> str | None:
    """The id in a KILL QUERY WHERE query_id = '...'; None: it is another statement."""
    found = _KILL.match(sql)
    return found[1].decode() if found else None


class Read:
    """A read that waits for its place or runs. `query_id`: its caller's name for it, or ''."""

    def __init__(self, query_id: str, is_abandoned: Callable[[], bool]) -> None:
        self.query_id = query_id
        self.is_abandoned = is_abandoned
        self.is_ended = False
        self._mark = uuid.uuid4().hex

    def marked(self, sql: bytes) -> bytes:
        return b"/* %s */ %s" % (self._mark.encode(), sql)

    @property
    def kill(self) -> str:
        return f"KILL QUERY WHERE startsWith(query, '/* {self._mark} */') ASYNC"


class Reads:
    """All reads of the host. Thread-safe. `end` is called for those to be ended, until they are
    over: what was not running yet when it was first called may be now.
    """

    def __init__(self, end: Callable[[Read], None]) -> None:
        self._end = end
        self._running: set[Read] = set()
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, daemon=True, name="reads").start()

    @contextmanager
    def listed(self, query_id: str, is_abandoned: Callable[[], bool]) -> Iterator[Read]:
        read = Read(query_id, is_abandoned)
        with self._changed:
            self._running.add(read)
            self._changed.notify()
        try:
            yield read
        finally:
            with self._changed:
                self._running.discard(read)

    def kill(self, query_id: str) -> None:
        with self._changed:
            for read in self._running:
                if read.query_id == query_id:
                    read.is_ended = True
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._running)
                running = list(self._running)
            for read in running:
                if read.is_ended or read.is_abandoned():
                    read.is_ended = True
                    self._end(read)
            with self._changed:
                self._changed.wait(_LOOK_SECONDS)
