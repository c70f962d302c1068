"""`min_position`: reading one's own write."""

from typing import Annotated

from litestar.params import QueryParameter

from domain.limits import MAX_NUMBER, MAX_WAIT_SECONDS
from infrastructure.bootstrap import Adapters
from infrastructure.positions import Standing

MinPosition = Annotated[
    int | None,
    QueryParameter(
        ge=0,
        le=MAX_NUMBER,
        description="a position that a write answered: wait until the answer includes it, at most"
        f" {MAX_WAIT_SECONDS:.0f} s, else 504",
    ),
]


async def caught_up(adapters: Adapters, read_model: str, min_position: int | None) -> Standing:
    return await adapters.following.reached(read_model, min_position, seconds=MAX_WAIT_SECONDS)
