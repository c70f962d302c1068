"""The ids that were erased, at hand for those who take messages.

Apps without any pay for a look into a dictionary.
"""

import asyncio
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from domain.erasures import Barred
from domain.errors import Overloaded
from infrastructure import erasures

STALE_SECONDS = 3.0  # an id that was barred is refused this much later at most
_FRESH_SECONDS = 1.0

_NEW = text("SELECT ordinal, app_id, digest FROM erasure.ids WHERE ordinal > :last ORDER BY 1")


class BarredIds:
    """For one event loop. Brings itself up to date while it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._key = b""
        self._last = 0
        self._digests: defaultdict[UUID, set[bytes]] = defaultdict(set)
        self._looked = -STALE_SECONDS
        self._looking: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="barred")

    def close(self) -> None:
        self._thread.shutdown()

    async def of(self, app_id: UUID) -> Barred | None:
        """None: nobody in this app was erased. Raises Overloaded when that can't be known."""
        age = time.monotonic() - self._looked
        if age > _FRESH_SECONDS:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            if age > STALE_SECONDS:
                await asyncio.shield(self._looking)
        digests = self._digests.get(app_id)
        return Barred(self._key, app_id, digests) if digests else None

    async def _look(self) -> None:
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._read)
        except SQLAlchemyError as error:
            if time.monotonic() - self._looked > STALE_SECONDS:
                raise Overloaded("erased ids can't be known now; send it again") from error
            return
        self._looked = began

    def _read(self) -> None:
        with self._engine.connect() as connection:
            self._key = self._key or erasures.secret(connection)
            for row in connection.execute(_NEW, {"last": self._last}):
                self._digests[row.app_id].add(bytes(row.digest))
                self._last = row.ordinal
