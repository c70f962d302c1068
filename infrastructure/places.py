"""How many questions each app may have at the analytics engine at once, in this process."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.errors import TooManyQueries

WAIT_SECONDS = 5.0


class Places:
    """Of one event loop. An app that has all its places taken waits a little, in order."""

    def __init__(self, most: int, wait_seconds: float = WAIT_SECONDS) -> None:
        self._most = most
        self._wait_seconds = wait_seconds
        self._free: defaultdict[int, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(most)
        )
        self._asking: defaultdict[int, int] = defaultdict(int)

    @asynccontextmanager
    async def held(self, app_number: int) -> AsyncIterator[None]:
        """Raises TooManyQueries."""
        free = self._free[app_number]
        self._asking[app_number] += 1
        try:
            await self._taken(free)
            try:
                yield
            finally:
                free.release()
        finally:
            self._asking[app_number] -= 1
            if not self._asking[app_number]:
                del self._free[app_number], self._asking[app_number]

    async def _taken(self, free: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await free.acquire()
        except TimeoutError:
            raise TooManyQueries(
                f"the app has {self._most} questions running, which is all that it may have at"
                " once; ask again when one is answered"
            ) from None
