"""Paths from the rows of events: sessions become steps, steps are counted by where they lead."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from domain.past import NOW, Past
from domain.paths import Asked, Link, Node, NodeKind, Paths, Question
from domain.trends import OTHER
from projections.conditions import Parameters, all_of
from projections.event_queries import Query
from projections.events import TABLE
from projections.people_asked import Among, bound, known, theirs
from projections.sessions import Cut, sessions_of

# Each path as its links, those from and to nothing at its ends included: so a node is what links
# lead to. `edge`: there the session itself begins or ends.
_LINKS = """
SELECT link.1 AS step, link.2 AS origin, link.3 AS target, link.4 AS edge,
    count() AS n, sum(link.5) AS time
FROM (
    SELECT first, path, size, {lead} AS lead, arrayMap(
        place -> (
            lead + place,
            if(place = 1, '', path[place - 1].2), if(place > length(path), '', path[place].2),
            (place = 1 AND first = 1)
                OR (place > length(path) AND first + length(path) > size),
            if(place BETWEEN 2 AND length(path), path[place].1 - path[place - 1].1, 0)),
        range(1, length(path) + 2)) AS links
    FROM (
        SELECT length(walk) AS size, {first} AS first, arraySlice(walk, first, {taken}) AS path
        FROM (SELECT {walk} AS walk FROM ({sessions}))
        WHERE first > 0)
) ARRAY JOIN links AS link GROUP BY step, origin, target, edge"""

# An event's rank is that among all nodes of its step; NULL names what is below the first.
_SHOWN = """
SELECT step,
    if(origin = '' OR origin_rank <= {limit}, origin, NULL) AS shown_origin,
    if(target = '' OR target_rank <= {limit}, target, NULL) AS shown_target,
    sum(n), sum(time), sumIf(n, edge)
FROM (
    SELECT *, {origin_rank} AS origin_rank, {target_rank} AS target_rank
    FROM (
        SELECT *, sum(n) OVER (PARTITION BY step, origin) AS origin_total,
            sum(n) OVER (PARTITION BY step, target) AS target_total
        FROM ({links})
    )
) GROUP BY step, shown_origin, shown_target"""
_RANK = "dense_rank() OVER (PARTITION BY step, {name} = '' ORDER BY {name}_total DESC, {name} ASC)"
_PLAIN = "session"
_COLLAPSED = (
    "arrayFilter((event, place) -> place = 1 OR event.2 != session[place - 1].2,"
    " session, arrayEnumerate(session))"
)


def plan(
    question: Question,
    asked: Asked,
    *,
    app_number: int,
    past: Past = NOW,
    chosen: Among | None = None,
    table: str = TABLE,
) -> Query:
    """Rows: (step of the target, origin, target, sessions, microseconds between the two, sessions
    that begin or end there); '' is no event, None one below the first.
    """
    parameters = Parameters(now=past.as_of)
    conditions = all_of(question.where, parameters)
    if question.exclude:
        conditions.append(f"event NOT IN ({', '.join(map(parameters.text, question.exclude))})")
    conditions += theirs(app_number, past.known_at, chosen)
    cut = Cut(asked.within, asked.gap, "toString(event)", conditions)
    first, taken, lead = _window(question, parameters)
    links = _LINKS.format(
        walk=_COLLAPSED if question.collapse_repeats else _PLAIN,
        sessions=sessions_of(cut, app_number=app_number, past=past, table=table),
        first=first,
        taken=taken,
        lead=lead,
    )
    shown = _SHOWN.format(
        limit=question.limit,
        links=links,
        origin_rank=_RANK.format(name="origin"),
        target_rank=_RANK.format(name="target"),
    )
    with_scalars = f"WITH {known(app_number, past.known_at, chosen)}"
    return Query(f"{with_scalars} {shown}", bound(parameters, chosen))


def _window(question: Question, parameters: Parameters) -> tuple[str, str, str]:
    """SQL: where in the walk the path begins (0: nowhere), how many steps it has at most, and how
    many steps are empty before it.
    """
    steps = question.steps
    if question.start_event is not None:
        begins = f"indexOf(walk.2, {parameters.text(question.start_event)})"
        return begins, f"{steps}", "0"
    if question.end_event is None:
        return "1", f"{steps}", "0"
    name = parameters.text(question.end_event)
    last = f"arrayLastIndex(event -> event.2 = {name}, walk)"
    return (
        f"if({last} = 0, 0, greatest(toInt64({last}) - {steps - 1}, 1))",
        f"{last} - first + 1",
        f"{steps} - length(path)",
    )


def paths(rows: Sequence[Sequence[Any]]) -> Paths:
    """From the answer's rows."""
    counts: dict[tuple[int, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
    for step, origin, target, count, _, at_edge in rows:
        if target != "":
            counts[step, target][0] += count
        if origin == "":
            counts[step, target][1] += at_edge
        if target == "":
            counts[step - 1, origin][2] += at_edge
    order = sorted(counts, key=lambda key: (key[0], key[1] is None, -counts[key][0], key[1]))
    places = {key: place for place, key in enumerate(order)}
    links = [
        _link(order, (places[step - 1, origin], places[step, target]), count, time)
        for step, origin, target, count, time, _ in rows
        if "" not in (origin, target)
    ]
    links.sort(key=lambda link: (link.step, -link.count, link.source, link.target))
    total = sum(row[3] for row in rows if row[1] == "")
    return Paths(total, [Node(*_named(key), *counts[key]) for key in order], links)


def _link(
    order: Sequence[tuple[int, str | None]], places: tuple[int, int], count: int, time: int
) -> Link:
    (step, origin, _), (_, to, _) = (_named(order[place]) for place in places)
    return Link(step, *places, origin, to, count, round(time / count / 1_000_000, 6))


def _named(key: tuple[int, str | None]) -> tuple[int, str, NodeKind]:
    step, event = key
    return (step, OTHER, "other") if event is None else (step, event, "value")
