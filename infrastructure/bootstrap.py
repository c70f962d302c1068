"""The composition root: settings in, everything that a role needs out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import Engine

from infrastructure.analytics_engine import AnalyticsEngine
from infrastructure.callers import Callers
from infrastructure.database import open_engine
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.event_store.recorder import AggregateStreams
from infrastructure.positions import Positions
from infrastructure.settings import Settings


class Services:
    """What handlers reach. `log` and `streams` write, `engine` and `analytics` read."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine: Engine = open_engine(settings.database_url)
        self.callers = Callers(self.engine)
        self.positions = Positions(self.engine)
        self.streams = AggregateStreams(settings.database_url)
        self.analytics = AnalyticsEngine(settings.analytics_url)
        self.log = GroupCommit(
            settings.database_url,
            queue_events=settings.queue_events,
            commit_events=settings.commit_events,
        )

    @staticmethod
    def clock() -> datetime:
        return datetime.now(UTC)

    async def close(self) -> None:
        await self.log.close()
        self.streams.close()
        self.analytics.close()
        self.engine.dispose()


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    services = Services(settings)
    services.log.start()
    try:
        yield services
    finally:
        await services.close()
