"""Who is this person."""

import asyncio
from datetime import datetime
from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath

from api.paths import part_of_path
from api.waiting import MinPosition, caught_up
from domain.admission import checked_id
from domain.errors import NotFound
from infrastructure.bootstrap import Adapters
from projections import people
from projections.apps import Caller


class User(msgspec.Struct, frozen=True, kw_only=True):
    """`traits`: name -> value; `trait_sources`: name -> when it was said and at what position.
    `first_seen`, `last_seen` are by the events' own times.
    """

    user_id: str
    traits: dict[str, Any]
    trait_sources: dict[str, dict[str, Any]]
    messages: int
    first_seen: datetime | None
    last_seen: datetime | None


class UserAnswer(msgspec.Struct, frozen=True, kw_only=True):
    user: User
    position: int
    lag_ms: float
    success: bool = True


@get("/v1/users/{user_id:str}")
async def show_user(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    min_position: MinPosition = None,
) -> UserAnswer:
    user_id = checked_id(part_of_path(user_id, "user_id"), "user_id")
    standing = await caught_up(adapters, people.name, min_position)
    user = await asyncio.to_thread(_user, adapters, reader, user_id)
    return UserAnswer(user=user, position=standing.position, lag_ms=standing.lag_ms)


def _user(adapters: Adapters, reader: Caller, user_id: str) -> User:
    with adapters.engine.connect() as connection:
        profile = people.find_profile(connection, reader.app_number or 0, user_id)
    if profile is None:
        raise NotFound("nobody with this id has sent an event")
    return User(
        user_id=user_id,
        traits={name: trait["value"] for name, trait in profile.traits.items()},
        trait_sources={
            name: {"timestamp": trait["timestamp"], "position": trait["position"]}
            for name, trait in profile.traits.items()
        },
        messages=profile.messages,
        first_seen=profile.first_seen,
        last_seen=profile.last_seen,
    )


ROUTES = (show_user,)
