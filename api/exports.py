"""Everything that is kept of a person, for the person."""

import asyncio

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from api.reading import find_named, names_meant
from api.waiting import MinPosition, caught_up
from infrastructure.bootstrap import Adapters
from infrastructure.exports import Export
from projections import people
from projections.apps import Caller
from projections.people.shown import Profile

_EVENTS = "events"  # the read model that tells where the person's are
_MEDIA_TYPE = "application/x-ndjson"


@get("/v1/users/{user_id:str}/export", media_type=_MEDIA_TYPE)
async def export_user(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    user_id: FromPath[str],
    min_position: MinPosition = None,
) -> Stream:
    """JSON lines, each with a `type`: profile, id, link, trait, event."""
    names = names_meant(user_id, "user_id")
    await caught_up(adapters, people.name, min_position)
    await caught_up(adapters, _EVENTS, min_position)
    app_number = reader.app_number or 0
    profile = await asyncio.to_thread(_named, adapters, app_number, names)
    export = Export(
        adapters.settings,
        adapters.engine,
        adapters.analytics,
        app_number=app_number,
        distinct_id=profile.user_id,
    )
    return Stream(export.lines(), media_type=_MEDIA_TYPE)


def _named(adapters: Adapters, app_number: int, names: tuple[str, ...]) -> Profile:
    with adapters.engine.connect() as connection:
        return find_named(names, lambda name: people.find_profile(connection, app_number, name))


ROUTES = (export_user,)
