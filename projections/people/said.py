"""What was said of people, message by message, and what that folds into: traits of persons."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Integer, Text, delete, select
from sqlalchemy.dialects.postgresql import insert

from domain.limits import MAX_ID_CHARS
from domain.tracking import EMPTY, Aliased, Grouped, Identified, Message
from domain.traits import Said, Traits, fold, merged, take
from projections.array_rows import arrays, columns, each, insert_rows, insert_statement
from projections.people.tables import distinct_ids, persons, said
from projections.projection import Recorded

Person = tuple[int, int]  # app number, number of the person
NOBODY: Mapping[Person, Any] = MappingProxyType({})
_decode_folded = msgspec.json.Decoder(Traits).decode
_encode = msgspec.json.Encoder().encode
# jsonb has no number with more than 16,383 digits after the point; as a double it has fewer.
_MAY_BE_TINY = re.compile(r"[0-9][eE]-[0-9]{3}|\.[0-9]{1000}")


def store(connection: Connection, messages: Sequence[tuple[int, int, Recorded]]) -> None:
    """Of (app number, sender's number, message that is about a person)."""
    insert_rows(connection, _INSERT, (_row(app, number, one) for app, number, one in messages))


def _row(app: int, number: int, recorded: Recorded) -> tuple[object, ...]:
    event = recorded.event
    assert isinstance(event, Message)
    group = (event.group_type, event.group_id) if isinstance(event, Grouped) else (None, None)
    return (
        app,
        recorded.position,
        number,
        recorded.stream_id.bytes,
        event.timestamp,
        _kind(event),
        event.ordered_at(recorded.recorded_at) if event.user_id else None,
        _text(getattr(event, "traits", EMPTY)),
        _text(getattr(event, "operations", EMPTY)),
        *group,
    )


def _kind(event: Message) -> str:
    match event:
        case Identified():
            return "identify"
        case Aliased():
            return "alias"
        case _:
            return "group"


def _text(raw: msgspec.Raw) -> str | None:
    """None for what says nothing."""
    text = bytes(raw)
    return None if text == b"{}" else text.decode()


def said_of(number: int, recorded: Recorded) -> Said | None:
    """None: no trait is spoken of."""
    event = recorded.event
    if not isinstance(event, Identified):
        return None
    traits, operations = bytes(event.traits), bytes(event.operations)
    if traits == operations == b"{}":
        return None
    return Said(
        event.timestamp, recorded.stream_id.bytes, recorded.position, number, traits, operations
    )


class Shaken(NamedTuple):
    """Persons with other ids than before. `sources`: whose ids each has now, all of each of these
    persons; None where it has some only of one. `gone`: those that have none.
    """

    sources: dict[Person, set[Person] | None]
    gone: set[Person]


def fold_in(
    connection: Connection,
    fresh: dict[Person, list[Said]],
    shaken: Shaken,
    *,
    new: AbstractSet[Person],
    asked: Mapping[Person, Traits | None],
) -> None:
    """Brings the traits up to date: `fresh` was said of these persons just now, and is stored.
    `new`: those that were not there before; `asked`: from `find_folded`.
    """
    sources = {person: {person} for person in fresh} | shaken.sources
    whole = {person: of for person, of in sources.items() if of is not None}
    wanted = {one for of in whole.values() for one in of if one not in new}
    known = find_folded(connection, wanted, asked)
    anew = sources.keys() - whole.keys()
    done: dict[Person, Traits] = {}
    for person, of in whole.items():
        folded = _together(_parts(known, of), fresh.get(person, ()))
        if folded is None:
            anew.add(person)
        elif folded:
            done[person] = folded
    done |= _fold_anew(connection, anew)
    gone = (shaken.gone | anew) - done.keys() - new
    _write(connection, {p: t for p, t in done.items() if t is not known.get(p)}, gone)


def _parts(known: Mapping[Person, Traits | None], of: Iterable[Person]) -> list[Traits]:
    return [traits for one in of if (traits := known.get(one)) is not None]


def _together(parts: Sequence[Traits], messages: Sequence[Said]) -> Traits | None:
    """None: something came too late for what is folded already, or it can't be joined."""
    traits = parts[0] if len(parts) == 1 else merged(parts)
    if traits is None or not messages:
        return traits
    return _folded(traits, messages)


def _folded(traits: Traits, messages: Iterable[Said]) -> Traits | None:
    traits = dict(traits)
    for one in sorted(messages, key=_key):
        if not take(traits, one):
            return None
    return traits


_key = attrgetter("key")


def _fold_anew(connection: Connection, wanted: Collection[Person]) -> dict[Person, Traits]:
    if not wanted:
        return {}
    found: dict[Person, list[Said]] = defaultdict(list)
    given = columns(zip(*wanted, strict=True), "app_number", "person")
    for row in connection.execute(_SAID_OF, given).all():
        found[row.app_number, row.person].append(read_said(row))
    return {person: fold(messages) for person, messages in found.items()}


def read_said(row: Any) -> Said:
    """From a row of the table."""
    traits, operations = row.traits, row.operations
    return Said(
        row.timestamp,
        row.event_id,
        row.position,
        row.number,
        EMPTY if traits is None else traits,
        EMPTY if operations is None else operations,
    )


def find_folded(
    connection: Connection,
    wanted: Collection[Person],
    asked: Mapping[Person, Traits | None] = NOBODY,
) -> Mapping[Person, Traits | None]:
    """The stored traits of these persons, None where there are none; and those `asked` before."""
    missing = [person for person in wanted if person not in asked]
    if not missing:
        return asked
    given = columns(zip(*missing, strict=True), "app_number", "person")
    rows = connection.execute(_FOLDED, given).all()
    found = {(row.app_number, row.person): _decode_folded(row.folded) for row in rows}
    return {**asked, **dict.fromkeys(missing), **found}


def _write(connection: Connection, done: dict[Person, Traits], gone: Collection[Person]) -> None:
    if gone:
        connection.execute(_REMOVE, columns(zip(*gone, strict=True), "app_number", "person"))
    if not done:
        return
    rows = ((*person, *_documents(traits)) for person, traits in done.items())
    insert_rows(connection, _UPSERT, rows)


def _documents(traits: Traits) -> tuple[str, str, str | None]:
    """The values alone, to search in, all that is known of each, and the e-mail address to search
    by. jsonb has no NUL.
    """
    ordered = dict(sorted(traits.items()))
    values = {name: trait.value for name, trait in ordered.items() if trait.is_set}
    searched = _encode(values).decode().replace("\\u0000", "\\ufffd")
    if _MAY_BE_TINY.search(searched):
        searched = _encode(msgspec.json.decode(searched)).decode()
    return searched, _encode(ordered).decode(), searched_email(values)


def searched_email(values: Mapping[str, msgspec.Raw]) -> str | None:
    """In the form in which it is searched, from traits: name -> JSON. Else the index can't hold
    it.
    """
    raw = values.get("email")
    email = None if raw is None else msgspec.json.decode(raw)
    if not isinstance(email, str):
        return None
    return email.lower().replace("\0", "\ufffd")[:MAX_ID_CHARS]


_INSERT = insert_statement(said)
_given = arrays(app_number=Integer(), person=Integer())
_FOLDED = each(
    _given,
    select(persons.c.app_number, persons.c.person, persons.c.folded).where(
        persons.c.app_number == _given.c.app_number, persons.c.person == _given.c.person
    ),
)
_ids = each(
    _given,
    select(distinct_ids.c.app_number, distinct_ids.c.number, distinct_ids.c.person).where(
        distinct_ids.c.app_number == _given.c.app_number, distinct_ids.c.person == _given.c.person
    ),
).cte("ids")
_SAID_OF = each(
    _ids,
    select(said, _ids.c.person).where(
        said.c.app_number == _ids.c.app_number,
        said.c.number == _ids.c.number,
        said.c.kind == "identify",
        said.c.traits.is_not(None) | said.c.operations.is_not(None),
    ),
)
_REMOVE = delete(persons).where(
    persons.c.app_number == _given.c.app_number, persons.c.person == _given.c.person
)
_rows = arrays(app_number=Integer(), person=Integer(), traits=Text(), folded=Text(), email=Text())
_insert = insert(persons).from_select(
    ["app_number", "person", "traits", "folded", "email"],
    select(
        _rows.c.app_number,
        _rows.c.person,
        _rows.c.traits.cast(persons.c.traits.type),
        _rows.c.folded,
        _rows.c.email,
    ),
)
_UPSERT = _insert.on_conflict_do_update(
    index_elements=["app_number", "person"],
    set_={name: _insert.excluded[name] for name in ("traits", "folded", "email")},
)
