"""How a question reaches the engine: within the app's places, and given up with its asker."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import structlog
from litestar import Request

from domain.errors import AppizerError
from infrastructure.analytics_engine import EngineFailed
from infrastructure.bootstrap import Adapters

_KILL_AGAIN_SECONDS = 0.5
_log = structlog.get_logger()
# Of their own: the threads for questions may all be taken, by those that are to be ended.
_kills = ThreadPoolExecutor(2, thread_name_prefix="kills")
T = TypeVar("T")


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of the engine. `source`: the rollup by `day` or `hour`, or the `rows`.
    `statement` is in the engine's SQL, in which `{name:Type}` stands for `parameters[name]`.
    `rows_read` and `bytes_read` (not compressed) are what it took from its tables.
    """

    source: str
    statement: str
    parameters: Mapping[str, object]
    settings: Mapping[str, object]
    rows_read: int
    bytes_read: int
    engine_ms: float


async def in_place(
    request: Request[Any, Any, Any],
    adapters: Adapters,
    app_number: int,
    ask: Callable[[str], T],
) -> T:
    """`ask` is called in a thread, with the id that its query must have. The place is the app's
    until the engine is done with it: also when the asker is gone, on which the query is killed.
    Raises TooManyQueries, and what `ask` raises.
    """
    async with adapters.places.held(app_number):
        query_id = uuid4().hex
        asked = asyncio.create_task(asyncio.to_thread(ask, query_id))
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait({asked, gone}, return_when=asyncio.FIRST_COMPLETED)
            while not asked.done():
                await _kill(adapters, query_id)
                await asyncio.wait({asked}, timeout=_KILL_AGAIN_SECONDS)
            return asked.result()
        finally:
            gone.cancel()


async def _gone(request: Request[Any, Any, Any]) -> None:
    """The body was read, so all that can still come is the end of the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _kill(adapters: Adapters, query_id: str) -> None:
    _log.info("a question's asker is gone", query_id=query_id)
    with suppress(AppizerError, EngineFailed):  # it is tried again
        kill = adapters.analytics.kill
        await asyncio.get_running_loop().run_in_executor(_kills, kill, query_id)
