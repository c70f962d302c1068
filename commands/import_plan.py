"""What the columns of a file mean: its fields, the kinds of its other columns.

Of what a file has rows of, events or people, says a Shape.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from commands.import_times import NUMBER
from domain.errors import Rejected
from domain.limits import MAX_NUMBER

SAMPLE_ROWS = 1000  # what the kinds of columns are read from
_BOOLEANS = {"true": True, "false": False}
Kind = Literal["number", "boolean"]


class Row(NamedTuple):
    """`cells`: what the row says, without what is empty. `problem`: why it can't be read whole.
    `is_json`: its values have types, as in a body of the API.
    """

    number: int
    cells: dict[str, Any]
    problem: str | None = None
    is_json: bool = False


class Shape(NamedTuple):
    """`names`: field -> what its column is usually called, compared in lower case without
    punctuation: `User ID`, `user_id` and `userId` are one name. `needed`: of each, a row must have
    one; `mend`: the option that says which column it is. `own`: fields that no two rows share.
    `spelt`: fields that the API calls by another name.
    `free`: the objects of the API that hold what is no field; all else goes into the first.
    `whole`: objects and lists of the API's own shape, which are taken as they are; a column of a
    CSV file, where all is text, may have the name. `timed`: a row must say when it happened.
    `prefix`: of the message ids that rows without one get.
    """

    names: Mapping[str, tuple[str, ...]]
    needed: tuple[tuple[str, ...], ...]
    mend: str
    own: tuple[str, ...]
    spelt: Mapping[str, str]
    free: tuple[str, ...]
    whole: Mapping[str, type]
    timed: bool
    prefix: str


EVENTS = Shape(
    names={
        "event": ("event", "eventname", "eventtype", "action"),
        "user_id": ("userid", "user", "distinctid", "uid", "customerid", "memberid"),
        "anonymous_id": ("anonymousid", "anonid", "visitorid", "deviceid"),
        "timestamp": (
            "timestamp", "time", "datetime", "eventtime", "occurredat", "createdat", "ts", "date",
        ),
        "message_id": ("messageid", "insertid"),
    },
    needed=(("event",), ("user_id", "anonymous_id"), ("timestamp",)),
    mend="say --map {0}=COLUMN or --set {0}=VALUE",
    own=("message_id",),
    spelt={"event": "event_name"},
    free=("properties",),
    whole={"context": dict},
    timed=True,
    prefix="import",
)  # fmt: skip
USERS = Shape(
    names={
        "user_id": ("userid", "user", "distinctid", "uid", "customerid", "memberid", "id"),
        "anonymous_id": ("anonymousid", "anonid"),
        "email": ("email", "emailaddress"),
        "phone": ("phone", "phonenumber"),
        "timestamp": ("timestamp",),  # `created_at` and the like are traits
        "message_id": ("messageid",),
    },
    needed=(("user_id",),),
    mend="say --id-column COLUMN",
    own=("message_id", "user_id", "anonymous_id", "email", "phone"),
    spelt={},
    free=("traits", "properties"),
    whole={
        "context": dict,
        "origin": dict,
        "set_once": dict,
        "increment": dict,
        "append": dict,
        "union": dict,
        "unset": list,
    },
    timed=False,
    prefix="import-user",
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for. `columns`: field -> column. `constants`: field or other name -> value.
    `zone` holds for timestamps without an offset.
    """

    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    zone: str = "UTC"
    typed: bool = True


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`columns`: field -> column; `kinds`: column -> what its text is read as."""

    columns: dict[str, str]
    constants: dict[str, Any]
    kinds: dict[str, Kind]
    zone: str


def plan(
    names: Sequence[str], sample: Sequence[Row], wanted: Wanted, shape: Shape = EVENTS
) -> Plan:
    """Raises Rejected, which names the option that mends it."""
    for field in shape.own:
        if field in wanted.constants:
            issue = f"would make one of all rows; say --map {field}=COLUMN"
            raise Rejected(f"--set {field}", issue)
    columns = {f: _named(names, f, column, shape) for f, column in wanted.columns.items()}
    for field in shape.names:
        found = _usual(names, shape.names[field])
        if found and field not in wanted.constants and found not in columns.values():
            columns.setdefault(field, found)
    _check_complete(columns, names, wanted, shape)
    for field in shape.names:  # may come further down
        if field not in wanted.constants:
            columns.setdefault(field, field)
    return Plan(
        columns=columns,
        constants={n: v if n in shape.names else parsed(v) for n, v in wanted.constants.items()},
        kinds=_kinds(names, sample) if wanted.typed else {},
        zone=wanted.zone,
    )


def _named(names: Sequence[str], field: str, column: str, shape: Shape) -> str:
    if field not in shape.names:
        raise Rejected(f"--map {field}", f"is not a field; fields are {', '.join(shape.names)}")
    if column not in names and column.partition(".")[0] not in names:
        raise Rejected(f"--map {field}", f"no column {column}; there are {', '.join(names)}")
    return column


def _usual(names: Sequence[str], called: Sequence[str]) -> str | None:
    by_plain_name = {re.sub("[^a-z]", "", name.lower()): name for name in reversed(names)}
    return next((by_plain_name[n] for n in called if n in by_plain_name), None)


def _check_complete(
    columns: Mapping[str, str], names: Sequence[str], wanted: Wanted, shape: Shape
) -> None:
    known = columns.keys() | wanted.constants.keys()
    for alternatives in shape.needed:
        if known.isdisjoint(alternatives):
            mend = shape.mend.format(alternatives[0])
            issue = f"no column looks like it; {mend}; there are {', '.join(names)}"
            raise Rejected(" or ".join(alternatives), issue)


def _kinds(names: Sequence[str], sample: Sequence[Row]) -> dict[str, Kind]:
    """A column is of a kind when every value in the sample is; a value that is not, further
    down, stays text. Numbers that would not come out as written (007, 1e5) are text.
    """
    kinds: dict[str, Kind] = {}
    for name in names:
        values = [row.cells[name] for row in sample if name in row.cells and not row.problem]
        if not values or not all(isinstance(value, str) for value in values):
            continue
        if all(_number(value) is not None for value in values):
            kinds[name] = "number"
        elif all(value.lower() in _BOOLEANS for value in values):
            kinds[name] = "boolean"
    return kinds


def _number(text: str) -> float | None:
    if not NUMBER.fullmatch(text):
        return None
    value = float(text) if "." in text else int(text)
    return value if -MAX_NUMBER <= value <= MAX_NUMBER else None


def parsed(text: str) -> Any:
    number = _number(text)
    return _BOOLEANS.get(text.lower(), text) if number is None else number
