"""The HTTP roles: commands, queries, and both on one port."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import uvicorn
import uvloop
from litestar.types import ASGIApp

from api.applications import commands_app, interface, queries_app, shared_app
from api.connections import Watch
from api.ingest import responder
from api.ingest_protocol import http_protocol
from api.routing import by_method
from infrastructure import garbage
from infrastructure.bootstrap import Adapters, open_adapters
from infrastructure.descriptors import room_for
from infrastructure.settings import Settings
from infrastructure.telemetry import set_up_logs

_THREADS = 40


def run_commands(settings: Settings) -> None:
    _run(settings, "commands", commands_app, takes_events=True)


def run_queries(settings: Settings) -> None:
    _run(settings, "queries", queries_app)


def run_api(settings: Settings) -> None:
    _run(settings, "api", shared_app, takes_events=True)


def _run(
    settings: Settings,
    role: str,
    application: Callable[[Adapters], ASGIApp],
    *,
    takes_events: bool = False,
) -> None:
    set_up_logs(settings, role)
    uvloop.run(_serve(settings, application, takes_events=takes_events))


async def _serve(
    settings: Settings, application: Callable[[Adapters], ASGIApp], *, takes_events: bool
) -> None:
    # Python's default of 6 on two cores would let a few slow questions hold up everything else.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    watch = Watch(room_for(settings.connections))
    async with open_adapters(settings) as adapters:
        protocol = http_protocol(watch, responder(adapters) if takes_events else None)
        app = by_method(application(adapters), interface())
        server = uvicorn.Server(_config(settings, app, protocol))
        garbage.seldom()
        serving = asyncio.create_task(server.serve())
        watching = asyncio.create_task(watch.keep(server.server_state.connections))
        endless = (watching, adapters.log.writer)
        await asyncio.wait({serving, *endless}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        try:
            await serving
        finally:
            watching.cancel()
        for task in endless:
            if task.done():  # it never ends by itself: end the process, loudly
                task.result()


def _config(settings: Settings, app: ASGIApp, protocol: type[asyncio.Protocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=protocol,
        ws="none",
        proxy_headers=False,  # whom to believe is APPIZER_TRUSTED_PROXIES
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
    )
