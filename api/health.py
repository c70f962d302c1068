"""Alive, ready, and the figures."""

import msgspec
from litestar import MediaType, Response, get
from litestar.di import NamedDependency

from infrastructure.bootstrap import Adapters
from infrastructure.database import AWAY
from infrastructure.positions import Standing
from infrastructure.probes import Finding
from infrastructure.telemetry import CONTENT_TYPE


class Alive(msgspec.Struct, frozen=True, kw_only=True):
    status: str = "alive"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """`checks`: store (a durable write), feed (a stored publish), analytics (a query).
    `degraded`: what makes answers stale, in words: a follower far behind, a part of an embedded
    instance that does not stay up. It does not make it unready: events are taken, and a stale
    answer says its position.
    """

    ready: bool
    degraded: list[str] = []
    checks: dict[str, Finding]
    projections: list[Standing] = []


@get("/healthz", sync_to_thread=False, security=[])
def alive() -> Alive:
    return Alive()


@get("/readyz", security=[], raises=[])
async def ready(adapters: NamedDependency[Adapters]) -> Response[Ready]:
    checks = {name: await probe.finding() for name, probe in adapters.probes.items()}
    try:
        standings = await adapters.standings() if checks["store"].ok else []
    except AWAY as error:  # since the store was looked at last
        checks["store"] = Finding(ok=False, ms=0.0, reason=type(error).__name__)
        standings = []
    good = all(finding.ok for finding in checks.values())
    degraded = adapters.complaints(standings)
    body = Ready(ready=good, degraded=degraded, checks=checks, projections=standings)
    return Response(body, status_code=200 if good else 503)


@get("/metrics", media_type=MediaType.TEXT, security=[])
async def metrics(adapters: NamedDependency[Adapters]) -> Response[bytes]:
    return Response(await adapters.figures(), headers={"content-type": CONTENT_TYPE})


ROUTES = (alive, ready, metrics)
