"""Groups of people (a company, a team): their members, and the traits said of the group itself."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Integer, Text, select
from sqlalchemy.dialects.postgresql import insert

from domain.tracking import Grouped
from domain.traits import Said, Traits, take
from projections.array_rows import arrays, columns, insert_rows
from projections.people.tables import group_members, groups
from projections.projection import Recorded

Group = tuple[int, str, str]  # app number, type, id
Mentions = Sequence[tuple[int, int, Recorded]]  # app number, sender's number, message
_decode_folded = msgspec.json.Decoder(Traits).decode
_encode = msgspec.json.Encoder().encode


def apply(connection: Connection, messages: Mentions) -> None:
    grouped = [one for one in messages if isinstance(one[2].event, Grouped)]
    if not grouped:
        return
    _join(connection, grouped)
    _bring_up_to_date(connection, grouped)


def _join(connection: Connection, grouped: Mentions) -> None:
    first: dict[tuple[Any, ...], int] = {}
    for app, number, recorded in grouped:
        event: Any = recorded.event
        first.setdefault((app, event.group_type, event.group_id, number), recorded.position)
    insert_rows(connection, _JOIN, [(*key, position) for key, position in first.items()])


def _bring_up_to_date(connection: Connection, grouped: Mentions) -> None:
    said: dict[Group, list[Said]] = defaultdict(list)
    for app, number, recorded in grouped:
        event: Any = recorded.event
        said[app, event.group_type, event.group_id].append(
            Said(
                event.timestamp,
                recorded.stream_id.bytes,
                recorded.position,
                number,
                bytes(event.traits),
            )
        )
    given = columns(zip(*said, strict=True), "app_number", "group_type", "group_id")
    known = {
        (row.app_number, row.group_type, row.group_id): row
        for row in connection.execute(_FIND, given)
    }
    insert_rows(
        connection,
        _UPSERT,
        [_row(group, messages, known.get(group)) for group, messages in said.items()],
    )


def _row(group: Group, messages: list[Said], known: Any) -> tuple[Any, ...]:
    """Traits of groups are only ever set, so nothing comes too late."""
    traits: Traits = {} if known is None else _decode_folded(known.folded)
    times: list[datetime] = [one.timestamp for one in messages]
    if known is not None:
        times += [known.first_seen, known.last_seen]
    for one in sorted(messages, key=lambda said: said.key):
        take(traits, one, only_set=True)
    return (*group, min(times), max(times), _encode(dict(sorted(traits.items()))).decode())


_wanted = arrays(app_number=Integer(), group_type=Text(), group_id=Text())
_FIND = select(groups).join(
    _wanted,
    (groups.c.app_number == _wanted.c.app_number)
    & (groups.c.group_type == _wanted.c.group_type)
    & (groups.c.group_id == _wanted.c.group_id),
)
_given = arrays(**{column.name: column.type for column in group_members.columns})
_JOIN = (
    insert(group_members)
    .from_select(
        [column.name for column in group_members.columns],
        select(*(_given.c[column.name] for column in group_members.columns)),
    )
    .on_conflict_do_nothing()
)
_rows = arrays(**{column.name: column.type for column in groups.columns})
_insert = insert(groups).from_select(
    [column.name for column in groups.columns],
    select(*(_rows.c[column.name] for column in groups.columns)),
)
_UPSERT = _insert.on_conflict_do_update(
    index_elements=["app_number", "group_type", "group_id"],
    set_={name: _insert.excluded[name] for name in ("first_seen", "last_seen", "folded")},
)
