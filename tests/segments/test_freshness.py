"""What is told of how far segments are evaluated, where the read model of members lags behind."""

import asyncio

import msgspec
import pytest

from api.reading import Asked
from api.segments import evaluation
from api.segments.evaluation import evaluated, freshness
from domain.errors import NotCaughtUp
from domain.past import NOW
from infrastructure import checkpoints
from infrastructure.bootstrap import open_adapters
from infrastructure.settings import Settings
from projections import segments
from tests.segments.world import SHAPES, World


@pytest.fixture
def world(database_url, analytics_url, history):
    world = World(database_url, analytics_url, history, seed=8)
    yield world
    world.close()


def test_members_that_are_not_there_yet_are_waited_for_or_not_evaluated(
    world, database_url, analytics_url, monkeypatch
):
    monkeypatch.setattr(evaluation, "MAX_WAIT_SECONDS", 0.3)
    monkeypatch.setattr("api.waiting.MAX_WAIT_SECONDS", 0.3)
    world.define("often", SHAPES["often"])
    world.track("ada", "buy")
    world.track("ada", "buy")
    world.evaluate()
    segment = world.ids["often"][0]
    settings = Settings(database_url=database_url, analytics_url=analytics_url)

    async def told(min_position=None):
        async with open_adapters(settings) as adapters:
            standing = await adapters.following.reached(segments.name, None, seconds=1)
            asked = Asked(adapters, 1, NOW, standing)
            found = await evaluated(asked, min_position, segment)
            return await freshness(asked, found, segment)

    whole = asyncio.run(told())
    assert whole.evaluated_position > 0
    with world.engine.begin() as connection:
        kept = checkpoints.read(connection, segments.name)
        checkpoints.write(connection, msgspec.structs.replace(kept, position=kept.position - 1))
    assert asyncio.run(told()) == evaluation._NOT_YET
    with pytest.raises(NotCaughtUp):
        asyncio.run(told(1))
    with pytest.raises(NotCaughtUp):
        asyncio.run(told(world.position + 100))
    with world.engine.begin() as connection:
        checkpoints.write(connection, kept)
    assert asyncio.run(told(1)).evaluated_position == whole.evaluated_position
