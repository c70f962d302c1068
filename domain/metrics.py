"""Metrics: a measure of events, or a formula of other metrics, under a name; kept in versions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, NamedTuple, assert_never
from uuid import UUID

import msgspec

from domain.aggregates import Event, checked_name
from domain.conditions import Where, check_all
from domain.conditions.tree import Tree, needs
from domain.errors import Conflict, Rejected
from domain.formulas import NAME, Formula, parse
from domain.limits import (
    MAX_DESCRIPTION_CHARS,
    MAX_FORMULA_LEVELS,
    MAX_FORMULA_METRICS,
    MAX_FORMULA_SIZE,
)
from domain.measures import Measure, Measured, check_measure
from domain.questions import check_event, people_meant, read_criteria


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Either what trends measure (`measure` of events that are called `event` and for which `where`
    holds; left out: total, of all) and of those persons of whom `criteria`, a tree or its text, and
    `segment`, an id, hold; or `formula` (domain/formulas.py), whose names are those of `metrics`:
    name -> metric id.
    """

    event: str | None = None
    measure: Measure | None = None
    property: str | None = None
    where: tuple[Where, ...] = ()
    formula: str | None = None
    metrics: dict[str, UUID] = {}
    criteria: Tree | str | None = None
    segment: str | None = None


def people_of(definition: Definition) -> Tree | None:
    """What must hold of a person whose events count; None: they all do. Raises Rejected."""
    return people_meant(definition.criteria, definition.segment)


def segments_named(definition: Definition) -> frozenset[str]:
    """Ids, of a definition that was checked."""
    tree = people_of(definition)
    return frozenset() if tree is None else needs(tree).segments


def measured(definition: Definition) -> Measured:
    """Of one without a formula."""
    return Measured(definition.measure or "total", definition.property)


class Stated(Event, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    description: str = ""
    definition: Definition


class MetricCreated(Stated, frozen=True, kw_only=True, omit_defaults=True):
    TOPIC: ClassVar[str] = "metric.created.v1"


class MetricUpdated(Stated, frozen=True, kw_only=True, omit_defaults=True):
    """As it is from now on."""

    TOPIC: ClassVar[str] = "metric.updated.v1"


class MetricDeleted(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "metric.deleted.v1"


MetricEvent = MetricCreated | MetricUpdated | MetricDeleted


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """A version of one."""

    metric_id: UUID
    app_id: UUID | None
    version: int
    name: str
    description: str
    definition: Definition
    created_at: datetime
    updated_at: datetime
    is_deleted: bool = False


class NewMetric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str = ""
    definition: Definition


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays. `version`: the one that is changed; another is a Conflict."""

    name: str | None = None
    description: str | None = None
    definition: Definition | None = None
    version: int | None = None


def create_metric(
    wanted: NewMetric, *, metric_id: UUID, app_id: UUID, now: datetime
) -> MetricCreated:
    """What the formula names is for `resolve` to check."""
    definition = checked_definition(wanted.definition)
    return MetricCreated(
        originator_id=metric_id,
        originator_version=1,
        occurred_at=now,
        app_id=app_id,
        name=checked_name(wanted.name),
        description=checked_description(wanted.description),
        definition=definition,
    )


def update_metric(metric: Metric, change: Change, *, now: datetime) -> MetricUpdated:
    check_version(metric.version, change.version)
    if (change.name, change.description, change.definition) == (None, None, None):
        raise Rejected("body", "changes nothing; give name, description or definition")
    name = metric.name if change.name is None else change.name
    described = metric.description if change.description is None else change.description
    definition = checked_definition(change.definition or metric.definition)
    return MetricUpdated(
        originator_id=metric.metric_id,
        originator_version=metric.version + 1,
        occurred_at=now,
        app_id=metric.app_id,
        name=checked_name(name),
        description=checked_description(described),
        definition=definition,
    )


def delete_metric(metric: Metric, *, now: datetime) -> MetricDeleted:
    return MetricDeleted(
        originator_id=metric.metric_id,
        originator_version=metric.version + 1,
        occurred_at=now,
        app_id=metric.app_id,
    )


def evolve(metric: Metric | None, event: MetricEvent) -> Metric:
    match event:
        case MetricCreated() | MetricUpdated():
            return Metric(
                metric_id=event.originator_id,
                app_id=event.app_id,
                version=event.originator_version,
                name=event.name,
                description=event.description,
                definition=event.definition,
                created_at=metric.created_at if metric else event.occurred_at,
                updated_at=event.occurred_at,
            )
        case MetricDeleted():
            assert metric is not None
            return msgspec.structs.replace(
                metric,
                version=event.originator_version,
                updated_at=event.occurred_at,
                is_deleted=True,
            )
        case _:
            assert_never(event)


# --- checks ------------------------------------------------------------------------------------


def check_version(version: int, wanted: int | None) -> None:
    if wanted is not None and wanted != version:
        raise Conflict(f"the version is {version} now; read it again", version=version)


def checked_description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION_CHARS or "\0" in text:
        raise Rejected("description", f"must be at most {MAX_DESCRIPTION_CHARS} characters")
    return text.strip()


def checked_definition(definition: Definition) -> Definition:
    """As it is kept: criteria as a tree. Raises Rejected, naming the field from `definition` on."""
    try:
        if definition.formula is not None:
            _check_formula(definition, definition.formula)
        else:
            _check_measuring(definition)
        return msgspec.structs.replace(definition, criteria=read_criteria(definition.criteria))
    except Rejected as error:
        raise Rejected(f"definition.{error.field}", error.issue) from None


def _check_measuring(definition: Definition) -> None:
    if definition.metrics:
        raise Rejected("metrics", "are for a formula, which is missing")
    if definition.event is not None:
        check_event(definition.event, "event")
    check_measure(measured(definition), "day")
    check_all(definition.where)
    people_of(definition)


def _check_formula(definition: Definition, text: str) -> None:
    for field in ("event", "measure", "property", "where", "criteria", "segment"):
        if getattr(definition, field):
            raise Rejected(field, "is for a measure; the metrics that a formula names have theirs")
    _check_names(definition.metrics, parse(text).names)


def _check_names(metrics: Mapping[str, UUID], names: Sequence[str]) -> None:
    if not names:
        raise Rejected("formula", "names no metric")
    for name in metrics:
        if not NAME.fullmatch(name):
            raise Rejected(f"metrics.{name}", "is no name: letters, digits and _, no digit first")
        if name not in names:
            raise Rejected(f"metrics.{name}", "does not stand in the formula")
    for name in names:
        if name not in metrics:
            raise Rejected(f"metrics.{name}", "is missing: the id of the metric it stands for")


# --- formulas of formulas ------------------------------------------------------------------------

Find = Callable[[UUID], Metric | None]
_TOO_MUCH = (
    f"is formulas of formulas: at most {MAX_FORMULA_LEVELS} levels of {MAX_FORMULA_SIZE} metrics"
    " altogether"
)


class Resolved(NamedTuple):
    """A metric with all that it is reckoned from. `formula` None: it is measured. `levels` and
    `size`: of the tree below it, itself included.
    """

    metric: Metric
    formula: Formula | None
    parts: Mapping[str, "Resolved"]
    levels: int = 1
    size: int = 1


def resolve(metric: Metric, find: Find) -> Resolved:
    """`find`: None for what is no metric of the app. Raises Rejected, naming the place."""
    found = _Resolving(find).resolved(metric, (), "definition")
    if len(measured_in(found)) > MAX_FORMULA_METRICS:
        issue = f"needs more than {MAX_FORMULA_METRICS} metrics that are measured"
        raise Rejected("definition.metrics", issue)
    return found


class _Resolving:
    """Each metric once, however many formulas name it."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._done: dict[UUID, Resolved] = {}

    def resolved(self, metric: Metric, above: tuple[UUID, ...], field: str) -> Resolved:
        text = metric.definition.formula
        if text is None:
            return Resolved(metric, None, {})
        if metric.metric_id not in self._done:
            above = (*above, metric.metric_id)
            if len(above) >= MAX_FORMULA_LEVELS:  # a chain of any length may have come about
                raise Rejected(field, _TOO_MUCH)
            parts = {
                name: self._part(metric_id, above, f"{field}.metrics.{name}")
                for name, metric_id in metric.definition.metrics.items()
            }
            self._done[metric.metric_id] = _joined(metric, parse(text), parts, field)
        return self._done[metric.metric_id]

    def _part(self, metric_id: UUID, above: tuple[UUID, ...], field: str) -> Resolved:
        if metric_id in above:
            raise Rejected(field, "is reckoned from the metric itself")
        part = self._find(metric_id)
        if part is None or part.is_deleted:
            issue = "is no metric of this app" if part is None else "was deleted"
            raise Rejected(field, issue)
        return self.resolved(part, above, field)


def _joined(
    metric: Metric, formula: Formula, parts: Mapping[str, Resolved], field: str
) -> Resolved:
    levels = 1 + max(part.levels for part in parts.values())
    size = 1 + sum(part.size for part in parts.values())
    if levels > MAX_FORMULA_LEVELS or size > MAX_FORMULA_SIZE:
        raise Rejected(field, _TOO_MUCH)
    return Resolved(metric, formula, parts, levels, size)


def all_in(resolved: Resolved) -> dict[UUID, Metric]:
    """Itself first."""
    found = {resolved.metric.metric_id: resolved.metric}
    for part in resolved.parts.values():
        found |= all_in(part)
    return found


def measured_in(resolved: Resolved) -> dict[UUID, Metric]:
    """Those without a formula, in the order in which formulas name them."""
    if resolved.formula is None:
        return {resolved.metric.metric_id: resolved.metric}
    found: dict[UUID, Metric] = {}
    for name in resolved.formula.names:
        found |= {k: v for k, v in measured_in(resolved.parts[name]).items() if k not in found}
    return found


def reckon(resolved: Resolved, values: Mapping[UUID, float | None]) -> float | None:
    """`values`: of those that are measured."""
    if resolved.formula is None:
        return values[resolved.metric.metric_id]
    parts = {name: reckon(part, values) for name, part in resolved.parts.items()}
    return resolved.formula.reckon(parts)


def refuse_named(naming: Sequence[Metric], how: str) -> None:
    """What `naming` name can't go; `how` they do. Raises Conflict."""
    if naming:
        names = ", ".join(one.name for one in naming[:5])
        issue = f"{how} {names}; change these first"
        raise Conflict(issue, metrics=[str(one.metric_id) for one in naming])
