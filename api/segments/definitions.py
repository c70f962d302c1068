"""Creating, reading, changing and deleting segments, and seeing beforehand who would be in."""

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from api import cursors
from api.reading import EVENTS, Asked, Cursor, Limit
from api.segments.asking import (
    asked_of_segments,
    checked_segment,
    definition_of,
    look,
    query_of,
    read_criteria,
    text_of,
    user_ids,
)
from api.segments.evaluation import Evaluation, evaluated, freshness, read_evaluation
from api.segments.shown import (
    SegmentAnswer,
    Segments,
    SegmentShown,
    SegmentWritten,
    defined,
    shown,
    shown_then,
    written,
)
from api.shapes import check_body
from api.time_machine import KnownAt, reached, read_past
from api.waiting import MinPosition
from commands import segments as commands
from domain.conditions.tree import Tree
from domain.errors import Rejected
from domain.limits import DEFAULT_PAGE, MAX_NAME_CHARS, MAX_NUMBER, MAX_SAMPLE
from domain.metrics import refuse_named
from domain.past import NOW
from domain.segments import Changed, check_expanded
from infrastructure.bootstrap import Adapters
from infrastructure.changes_in_turn import one_at_a_time
from projections import metrics, people, segment_lists, segments
from projections.apps import Caller

Search = Annotated[str | None, QueryParameter(max_length=MAX_NAME_CHARS)]
_Place = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]


class NewSegment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`criteria`: text or a tree; none for a static list. `app_id`, of older callers, must be the
    key's.
    """

    name: str
    description: str = ""
    criteria: Any = None
    kind: Literal["live", "static"] | None = None
    app_id: UUID | None = None


class SegmentPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is given changes. `version`: the one that was read; a later one is a conflict."""

    name: str | None = None
    description: str | None = None
    criteria: Any = None
    version: int | None = None


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    position: int
    success: bool = True


class PreviewBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    criteria: Any
    sample: int = 10
    min_position: int | None = None
    known_at: str | int | None = None
    as_of: str | int | None = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """`sample`: user ids of some of them, by chance."""

    count: int
    sample: list[str]
    criteria: Tree
    criteria_text: str
    position: int
    lag_ms: float
    success: bool = True


@post(["/v1/segments", "/v1/audiences"])
async def create_segment(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    data: JSONBody[NewSegment],
) -> SegmentWritten:
    check_body(await request.body(), NewSegment)
    wanted = _wanted(writer, data)
    return await asyncio.to_thread(_created, adapters, writer, wanted)


def _wanted(writer: Caller, data: NewSegment) -> commands.Wanted:
    assert writer.app_id is not None  # a secret key is an app's
    if data.app_id not in {None, writer.app_id}:
        raise Rejected("app_id", "is not the app of this key; leave it out")
    if data.kind is not None and (data.criteria is None) != (data.kind == "static"):
        raise Rejected("criteria", "are what a live segment has; `kind` static is without them")
    tree = None if data.criteria is None else read_criteria(data.criteria)
    return commands.Wanted(writer.app_id, data.name, data.description, tree)


def _created(adapters: Adapters, writer: Caller, wanted: commands.Wanted) -> SegmentWritten:
    app = writer.app_number or 0
    with one_at_a_time(adapters.engine, adapters.positions, app) as connection:
        others = {k: d.criteria for k, d in segments.find_definitions(connection, app).items()}
        done = commands.create(adapters.streams, adapters.clock, wanted, others)
    return written(done, None, members=0 if wanted.criteria is None else None)


@patch(["/v1/segments/{segment_id:uuid}", "/v1/audiences/{segment_id:uuid}"])
async def update_segment(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    data: JSONBody[SegmentPatch],
) -> SegmentWritten:
    check_body(await request.body(), SegmentPatch)
    tree = None if data.criteria is None else read_criteria(data.criteria)
    changed = Changed(name=data.name, description=data.description, criteria=tree)
    return await asyncio.to_thread(_updated, adapters, writer, segment_id, changed, data.version)


def _updated(
    adapters: Adapters, writer: Caller, segment_id: UUID, changed: Changed, version: int | None
) -> SegmentWritten:
    assert writer.app_id is not None  # a secret key is an app's
    app = writer.app_number or 0
    with one_at_a_time(adapters.engine, adapters.positions, app) as connection:
        segment = commands.find(adapters.streams, writer.app_id, segment_id, version)
        definitions = segments.find_definitions(connection, app)
        others = {k: d.criteria for k, d in definitions.items()}
        before = segment_lists.find_segment(connection, app, segment_id)
        evaluation = read_evaluation(connection, app)
        done = commands.update(adapters.streams, adapters.clock, segment, changed, others)
    evaluation = evaluation.of({**definitions, segment_id: defined(done.segment)})
    members = before.members if before and evaluation.has(segment_id) else None
    return written(done, before, members=members)


@delete(
    ["/v1/segments/{segment_id:uuid}", "/v1/audiences/{segment_id:uuid}"],
    status_code=200,
    sync_to_thread=True,
)
def delete_segment(
    adapters: NamedDependency[Adapters],
    writer: NamedDependency[Caller],
    segment_id: FromPath[UUID],
) -> Deleted:
    assert writer.app_id is not None  # a secret key is an app's
    app = writer.app_number or 0
    with one_at_a_time(adapters.engine, adapters.positions, app) as connection:
        segment = commands.find(adapters.streams, writer.app_id, segment_id)
        refuse_named(metrics.measuring(connection, app, segment_id), "its members are measured by")
        others = {k: d.criteria for k, d in segments.find_definitions(connection, app).items()}
        position = commands.delete(adapters.streams, adapters.clock, segment, others)
    return Deleted(position=position)


@get(["/v1/segments/{segment_id:uuid}", "/v1/audiences/{segment_id:uuid}"])
async def show_segment(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    min_position: MinPosition = None,
    known_at: KnownAt = None,
) -> SegmentAnswer:
    when = await read_past(adapters, known_at)
    asked = await asked_of_segments(adapters, reader, min_position, when)
    evaluation = await evaluated(asked, min_position, segment_id)
    found = await asyncio.to_thread(_found, asked, evaluation, segment_id)
    return SegmentAnswer(
        segment=found,
        freshness=await freshness(asked, evaluation, segment_id),
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def _found(asked: Asked, evaluation: Evaluation, segment_id: UUID) -> SegmentShown:
    with asked.connected() as connection:
        if asked.past != NOW:
            return shown_then(definition_of(look(asked, connection), segment_id))
        found = segment_lists.find_segment(connection, asked.app_number, segment_id)
    return shown(checked_segment(found), evaluation)


@get(["/v1/segments", "/v1/audiences"])
async def list_segments(
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    search: Search = None,
    limit: Limit = DEFAULT_PAGE,
    cursor: Cursor = None,
    min_position: MinPosition = None,
) -> Segments:
    query = cursors.query_of("segments", reader.app_number, search)
    after = cursors.decode_place(cursor, query, tuple[_Place])
    asked = await asked_of_segments(adapters, reader, min_position, NOW)
    found, places, total = await asyncio.to_thread(_page, asked, search, after, limit)
    more = cursors.encode_place(query, (places[-1],)) if len(found) == limit else None
    return Segments(
        segments=found,
        total=total,
        cursor=more,
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


def _page(
    asked: Asked, search: str | None, after: tuple[int, ...] | None, limit: int
) -> tuple[list[SegmentShown], list[int], int]:
    with asked.connected() as connection:
        rows, total = segment_lists.list_segments(
            connection, asked.app_number, search=search, after=after, limit=limit
        )
        evaluation = read_evaluation(connection, asked.app_number)
    return [shown(one, evaluation) for _, one in rows], [place for place, _ in rows], total


@post(["/v1/segments/preview", "/v1/audiences/preview"], status_code=200)
async def preview_segment(
    request: Request[Any, Any, Any],
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    data: JSONBody[PreviewBody],
) -> Preview:
    check_body(await request.body(), PreviewBody)
    if not 0 <= data.sample <= MAX_SAMPLE:
        raise Rejected("sample", f"must lie between 0 and {MAX_SAMPLE}")
    tree = read_criteria(data.criteria)
    when = await read_past(adapters, data.known_at, data.as_of)
    models = (EVENTS, people.name, segments.name)
    standing = await reached(adapters, models, data.min_position, when)
    past = when if when == NOW else when.at(standing.position)
    asked = Asked(adapters, reader.app_number or 0, past, standing.at(past.known_at))
    return await asyncio.to_thread(_preview, asked, tree, data.sample)


def _preview(asked: Asked, tree: Tree, sample: int) -> Preview:
    with asked.connected() as connection:
        looked = look(asked, connection)
        check_expanded(tree, {k: d.criteria for k, d in looked.definitions.items()})
        query = query_of(looked, tree, connection)
        some = f"groupArraySample({max(sample, 1):d})(person)"
        sql = f"SELECT count(), {some} FROM ({query.sql})"
        ((count, persons),) = asked.ask(query._replace(sql=sql))
        names = user_ids(asked, connection, persons[:sample])
    return Preview(
        count=count,
        sample=sorted(set(names.values())),
        criteria=tree,
        criteria_text=text_of(tree) or "",
        position=asked.standing.position,
        lag_ms=asked.standing.lag_ms,
    )


WRITES = (create_segment, update_segment, delete_segment)
READS = (show_segment, list_segments, preview_segment)
