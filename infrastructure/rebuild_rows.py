"""Pages of the log made into blocks of rows for a rebuild: here, or in processes beside this one.

Only making is shared out. One process inserts, so that when it dies nobody else writes.
"""

import itertools
import os
import signal
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Engine

from infrastructure import garbage
from infrastructure.database import open_engine, open_log
from infrastructure.enrichment import Enrichment
from infrastructure.event_rows import Rows
from infrastructure.event_store.chunks import Chunk, read_chunks
from infrastructure.event_store.reader import read_page
from infrastructure.read_models import decode
from infrastructure.settings import Settings
from projections.events import SHADOW, Block
from projections.projection import Recorded

PAGE = 10_000  # positions: 320 MB at the very most
MOST_PROCESSES = 4  # one engine takes no more than these can make
_AHEAD = 2  # pages that wait for each process


class Made(NamedTuple):
    """The rows of a page, which ends at `upto`; no block of it is empty."""

    upto: int
    blocks: list[bytes]
    rows: int


class Maker:
    """For one thread, which alone uses `log` meanwhile."""

    def __init__(
        self, engine: Engine, log: psycopg.Connection[Any], enrichment: Enrichment
    ) -> None:
        self._log = log
        self._rows = Rows(engine, enrichment)

    def prepare(self) -> None:
        """Before a long way through the log."""
        self._rows.prepare()

    def made(self, after: int, target: int) -> Iterator[Made]:
        return (self.make(*page) for page in _pages(after, target))

    def make(self, after: int, upto: int) -> Made:
        """Of the positions in (after, upto]."""
        chunks = read_chunks(self._log, after, upto)
        found = [self._rows.of_chunk(chunk) or self._one_by_one(chunk) for chunk in chunks]
        return _made(upto, found)

    def make_missing(self, after: int, upto: int, present: frozenset[int]) -> Made:
        """The same without the positions in `present`."""
        page = [one for one in self._page(after, upto) if one.position not in present]
        return _made(upto, [self._rows.of(page, parked_as=SHADOW)])

    def _one_by_one(self, chunk: Chunk) -> Block:
        return self._rows.of(self._page(chunk.after, chunk.upto), parked_as=SHADOW)

    def _page(self, after: int, upto: int) -> list[Recorded]:
        return [decode(entry) for entry in read_page(self._log, after, upto - after)]


def _pages(after: int, target: int) -> Iterator[tuple[int, int]]:
    return ((first, min(target, first + PAGE)) for first in range(after, target, PAGE))


def _made(upto: int, blocks: list[Block]) -> Made:
    return Made(upto, [block.data for block in blocks if block.rows], sum(b.rows for b in blocks))


class Makers:
    """A Maker in each of a few processes: one per processor, MOST_PROCESSES at the most."""

    def __init__(self, pool: ProcessPoolExecutor, processes: int) -> None:
        self._pool = pool
        self._most = processes * _AHEAD

    def made(self, after: int, target: int) -> Iterator[Made]:
        """In the order of the log."""
        pages = _pages(after, target)
        coming: deque[Future[Made]] = deque()
        while True:
            for page in itertools.islice(pages, self._most - len(coming)):
                coming.append(self._pool.submit(_make, *page))
            if not coming:
                return
            yield coming.popleft().result()


@contextmanager
def makers(settings: Settings) -> Iterator[Makers]:
    """Each process takes 100 to 300 MB and needs a second or two to start."""
    processes = min(MOST_PROCESSES, os.cpu_count() or 1)
    pool = ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_start, initargs=(settings,)
    )
    try:
        yield Makers(pool, processes)
    finally:
        pool.shutdown(cancel_futures=True)


_here: list[Maker] = []  # the one of this process, when it is one of `makers`


def _start(settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process decides
    Thread(target=_end_with_parent, daemon=True).start()
    maker = Maker(
        open_engine(settings.database_url, pool_size=1),
        open_log(settings.database_url),
        Enrichment(settings.country_database),
    )
    maker.prepare()
    _here.append(maker)
    garbage.seldom()


def _end_with_parent() -> None:
    """A pool's process would wait for work for ever when the first one was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(after: int, upto: int) -> Made:
    return _here[0].make(after, upto)
