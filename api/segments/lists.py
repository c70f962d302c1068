"""Static segments: the lists that callers keep."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from api.reading import find_named, names_of
from api.shapes import check_body
from api.waiting import caught_up
from commands import segments as commands
from domain.errors import NotFound, Rejected
from domain.limits import MAX_LIST_CHANGES
from infrastructure.bootstrap import Adapters
from infrastructure.changes_in_turn import one_at_a_time
from projections import people, segments
from projections.apps import Caller
from projections.people.whose import Whose, find_whose


class ListBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    add: list[str] = []
    remove: list[str] = []
    min_position: int | None = None


class ListChanged(msgspec.Struct, frozen=True, kw_only=True):
    """How many entered and left; `unknown`: ids that nobody has."""

    added: int
    removed: int
    unknown: list[str]
    position: int
    success: bool = True


@post(
    ["/v1/segments/{segment_id:uuid}/members", "/v1/audiences/{segment_id:uuid}/members"],
    status_code=200,
)
async def change_members(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    data: JSONBody[ListBody],
) -> ListChanged:
    check_body(await request.body(), ListBody)
    if not 1 <= len(data.add) + len(data.remove) <= MAX_LIST_CHANGES:
        raise Rejected("add", f"has with `remove` 1 to {MAX_LIST_CHANGES} ids; give some of them")
    await caught_up(adapters, people.name, data.min_position)
    return await asyncio.to_thread(_change, adapters, writer, segment_id, data)


def _change(adapters: Adapters, writer: Caller, segment_id: UUID, data: ListBody) -> ListChanged:
    assert writer.app_id is not None  # a secret key is an app's
    app = writer.app_number or 0
    with one_at_a_time(adapters.engine, adapters.positions, app) as connection:
        segment = commands.find(adapters.streams, writer.app_id, segment_id)
        add, nobody = _persons(connection, app, data.add, "add")
        remove, nobody_else = _persons(connection, app, data.remove, "remove")
        if {one.person for one in add} & {one.person for one in remove}:
            raise Rejected("remove", "names a person whom `add` names too")
        current = segments.current_members(connection, app, segment_id)
        new = {one.person for one in add if current.isdisjoint(one.numbers)}
        gone = {one.person for one in remove if not current.isdisjoint(one.numbers)}
        change = commands.ListChange(
            sorted(new),
            sorted(current & {number for one in remove for number in one.numbers}),
            segments.membership_versions(connection, app).get(segment_id, 0),
            adapters.positions.of(segments.name).position,
        )
        position = commands.change_list(adapters.streams, adapters.clock, segment, change)
    return ListChanged(
        added=len(new),
        removed=len(gone),
        unknown=[*nobody, *nobody_else],
        position=position,
    )


def _persons(
    connection: Any, app: int, ids: Sequence[str], field: str
) -> tuple[set[Whose], list[str]]:
    """The persons, and the ids that nobody has."""
    found: set[Whose] = set()
    unknown = []
    for place, one in enumerate(ids):
        names = names_of(one, f"{field}[{place}]")
        try:
            found.add(find_named(names, lambda name: find_whose(connection, app, name)))
        except NotFound:
            unknown.append(one)
    return found, unknown


WRITES = (change_members,)
