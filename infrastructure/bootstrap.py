"""The composition root: settings in, everything that a role needs out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import Gauge
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.barred import BarredIds
from infrastructure.callers import Callers
from infrastructure.database import open_engine
from infrastructure.embedded.figures import gathered
from infrastructure.embedded.instance import Instance
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.event_store.recorder import AggregateStreams
from infrastructure.places import Places
from infrastructure.positions import Following, Positions, Standing
from infrastructure.probes import Probe, analytics_probe, feed_probe, store_probe
from infrastructure.reads import Reads
from infrastructure.settings import Settings
from infrastructure.telemetry import metrics_text

_lag_positions = Gauge(
    "appizer_projection_lag_positions", "Events on the log that a follower has not", ["projection"]
)
_lag_seconds = Gauge(
    "appizer_projection_lag_seconds", "Age of the oldest event it has not", ["projection"]
)


class Adapters:
    """What handlers reach. `log` and `streams` write, `engine`, `reads` and `analytics` read."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.instance = Instance(Path(settings.data)) if settings.data else None
        self.engine: Engine = open_engine(
            settings.database_url, pool_size=20, query_seconds=settings.query_seconds
        )
        self.reads = Reads(settings.database_url, settings.query_seconds)
        self.callers = Callers(self.engine.execution_options(isolation_level="AUTOCOMMIT"))
        self.barred = BarredIds(self.engine)
        self.positions = Positions(self.engine)
        self.following = Following(self.reads)
        self.streams = AggregateStreams(settings.database_url)
        self.analytics = AnalyticsEngine(settings.analytics_url)
        self.places = Places(settings.app_queries)
        self.log = GroupCommit(
            settings.database_url,
            queue_events=settings.queue_events,
            commit_events=settings.commit_events,
        )
        self.probes: dict[str, Probe] = {
            "store": store_probe(self.engine),
            "feed": feed_probe(settings.nats_url),
            "analytics": analytics_probe(self.analytics),
        }

    async def standings(self) -> list[Standing]:
        return await asyncio.to_thread(self.positions.all)

    async def observe_lag(self) -> None:
        """Brings the lag gauges up to date; leaves them when the database is away."""
        try:
            standings = await self.standings()
        except SQLAlchemyError:
            return
        for standing in standings:
            _lag_positions.labels(standing.name).set(standing.lag)
            _lag_seconds.labels(standing.name).set(standing.lag_ms / 1000)

    def complaints(self, standings: list[Standing]) -> list[str]:
        """What makes answers stale, though the instance takes and answers requests: parts that
        don't stay up, followers that are behind.
        """
        parts = self.instance.troubles() if self.instance else {}
        behind = [f"{one.name}: {one.complaint}" for one in standings if one.complaint]
        return [f"{name}: {trouble}" for name, trouble in parts.items()] + behind

    async def figures(self) -> bytes:
        """Prometheus text; in an embedded instance also of the roles that have no HTTP port."""
        await self.observe_lag()
        others = await asyncio.to_thread(gathered, self.instance) if self.instance else {}
        return await asyncio.to_thread(metrics_text, others)

    @staticmethod
    def clock() -> datetime:
        return datetime.now(UTC)

    async def close(self) -> None:
        await self.log.close()
        await self.reads.close()
        self.callers.close()
        self.barred.close()
        self.streams.close()
        self.analytics.close()
        self.engine.dispose()


@asynccontextmanager
async def open_adapters(settings: Settings) -> AsyncIterator[Adapters]:
    adapters = Adapters(settings)
    adapters.log.start()
    try:
        yield adapters
    finally:
        await adapters.close()
