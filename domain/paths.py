"""Paths: what happens after an event, before one, or from the beginning of sessions.

A path is the row of a session's events (domain/sessions.py), by time and, at one instant, in the
order in which they were recorded; each session has at most one, so all counts are of sessions.
Events to leave out count as never sent: they hold no session together either. Where repeats are
collapsed, events of one name with nothing between them are one step, at the time of the first.

- With neither event the path begins with the session.
- `start_event`: it begins with the session's first event of that name.
- `end_event`: it ends with the session's last event of that name, which is then the last step.

Sessions without that event have no path.
"""

from datetime import timedelta
from typing import Literal, NamedTuple

import msgspec

from domain.buckets import Range
from domain.errors import Rejected
from domain.limits import MAX_PATH_EXCLUSIONS, MAX_PATH_NODES, MAX_PATH_STEPS
from domain.questions import Ranged, check_event, check_range
from domain.sessions import read_gap

NodeKind = Literal["value", "other"]


class Question(Ranged, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`steps`: nodes of a path, the first included. `limit`: events told of each step; all others
    are one node. `exclude`: names of events to leave out.
    """

    start_event: str | None = None
    end_event: str | None = None
    steps: int = 4
    limit: int = 10
    exclude: tuple[str, ...] = ()
    collapse_repeats: bool = True
    gap_minutes: int = 30


class Node(msgspec.Struct, frozen=True):
    """Sessions with this event at this step, from 1 on. `label` is its name; `$other` is that of
    `kind` other, and may be that of an event. `entries`: those in which nothing came before, and
    `drop_offs`: those in which nothing came after, in the whole session.
    """

    step: int
    label: str
    kind: NodeKind
    sessions: int
    entries: int
    drop_offs: int


class Link(msgspec.Struct, frozen=True, rename={"origin": "from"}):
    """Sessions that went from an event of `step` to one of the next. `source` and `target` are the
    places of these in the list of nodes, `from` and `to` their labels. `average_seconds`: between
    the two.
    """

    step: int
    source: int
    target: int
    origin: str
    to: str
    count: int
    average_seconds: float


class Paths(msgspec.Struct, frozen=True):
    """`sessions`: that have a path. Nodes and links are by step, the largest first."""

    sessions: int
    nodes: list[Node]
    links: list[Link]


class Asked(NamedTuple):
    """A question that was checked."""

    within: Range
    gap: timedelta


def check(question: Question) -> Asked:
    """Raises Rejected, naming the field."""
    within = check_range(question)
    if question.start_event is not None and question.end_event is not None:
        raise Rejected("end_event", "cannot be asked for together with start_event")
    for name in ("start_event", "end_event"):
        if getattr(question, name) is not None:
            check_event(getattr(question, name), name)
    for name, least, most in (("steps", 2, MAX_PATH_STEPS), ("limit", 1, MAX_PATH_NODES)):
        if not least <= getattr(question, name) <= most:
            raise Rejected(name, f"must lie between {least} and {most}")
    _check_exclude(question)
    return Asked(within, read_gap(question.gap_minutes))


def _check_exclude(question: Question) -> None:
    if len(question.exclude) > MAX_PATH_EXCLUSIONS:
        raise Rejected("exclude", f"at most {MAX_PATH_EXCLUSIONS} events")
    for place, name in enumerate(question.exclude):
        check_event(name, f"exclude[{place}]")
        if name in (question.start_event, question.end_event):
            raise Rejected(f"exclude[{place}]", "is the event that paths begin or end with")
