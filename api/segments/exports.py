"""All members of a segment, as a file."""

import asyncio
import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from api.reading import Asked
from api.segments.asking import asked_of_segments
from api.segments.evaluation import evaluated
from api.segments.members import MemberShown, page_of_members
from api.time_machine import AsOf, KnownAt, read_past
from api.waiting import MinPosition
from domain.errors import NotFound
from domain.limits import MAX_PAGE
from infrastructure.bootstrap import Adapters
from projections.apps import Caller

Format = Annotated[Literal["csv", "jsonl"], QueryParameter(description="CSV or JSON lines")]


@get(["/v1/segments/{segment_id:uuid}/export", "/v1/audiences/{segment_id:uuid}/export"])
async def export_members(  # noqa: PLR0913, PLR0917  the query string names them, not a caller
    adapters: NamedDependency[Adapters],
    reader: NamedDependency[Caller],
    segment_id: FromPath[UUID],
    format: Format = "jsonl",  # noqa: A002  what callers write
    min_position: MinPosition = None,
    known_at: KnownAt = None,
    as_of: AsOf = None,
) -> Stream:
    """A line for each member, by number of the person."""
    when = await read_past(adapters, known_at, as_of)
    asked = await asked_of_segments(adapters, reader, min_position, when)
    await evaluated(asked, min_position, segment_id)
    # What can't be answered is refused before the first line.
    await asyncio.to_thread(page_of_members, asked, segment_id, 0, 1)
    media_type = "text/csv" if format == "csv" else "application/x-ndjson"
    headers = {"x-position": str(asked.standing.position)}
    lines = _lines(asked, segment_id, csv=format == "csv")
    return Stream(lines, media_type=media_type, headers=headers)


def _lines(asked: Asked, segment_id: UUID, *, csv: bool) -> Iterator[bytes]:
    """No connection is held while a page is on its way: whoever reads may be slow."""
    if csv:
        yield _row(MemberShown.__struct_fields__)
    after = 0
    while True:
        try:
            rows, shown = page_of_members(asked, segment_id, after, MAX_PAGE)
        except NotFound:  # deleted meanwhile
            return
        for one in shown:
            cells = (one.user_id, _written(one.since_at), one.since_position)
            yield _row(cells) if csv else msgspec.json.encode(one) + b"\n"
        if len(rows) < MAX_PAGE:
            return
        after = rows[-1]


def _written(instant: datetime | None) -> str | None:
    """As JSON has it."""
    return None if instant is None else msgspec.to_builtins(instant)


def _row(cells: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


READS = (export_members,)
