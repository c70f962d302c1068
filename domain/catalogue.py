"""Every event there is, by the topic that it is stored under, and how old shapes are read."""

from collections.abc import Callable

from domain import apps, erasures, metrics, releases, segments, tracking

EVENTS: tuple[type, ...] = (
    tracking.Tracked,
    tracking.Identified,
    tracking.Aliased,
    tracking.Unmerged,
    tracking.Grouped,
    tracking.Refused,
    tracking.RefusalReplayed,
    erasures.PersonErased,
    apps.OrganisationCreated,
    apps.AppCreated,
    apps.KeyIssued,
    apps.KeyRevoked,
    metrics.MetricCreated,
    metrics.MetricUpdated,
    metrics.MetricDeleted,
    releases.ReleaseCreated,
    releases.ReleaseUpdated,
    releases.ReleaseDeleted,
    segments.SegmentCreated,
    segments.SegmentUpdated,
    segments.SegmentDeleted,
    segments.SegmentEntered,
    segments.SegmentLeft,
)
BY_TOPIC: dict[str, type] = {event.TOPIC: event for event in EVENTS}  # type: ignore[attr-defined]  # every class in EVENTS has one; tests/architecture checks it

# Topic of an old shape -> (the topic that replaced it, old JSON object -> new JSON object).
# Chains are followed to their end. Golden files in tests/golden pin every shape ever stored.
UPCASTERS: dict[str, tuple[str, Callable[[dict[str, object]], dict[str, object]]]] = {}

# The part of the NATS subject that says what an event is about.
CATEGORIES: dict[str, str] = {
    "tracked": "tracked",
    "identified": "people",
    "aliased": "people",
    "unmerged": "people",
    "grouped": "people",
    "person": "people",
    "refused": "failed",
    "refusal": "failed",
    "organisation": "apps",
    "app": "apps",
    "key": "apps",
    "metric": "metrics",
    "release": "releases",
    "segment": "segments",
}


def category(topic: str) -> str:
    """`tracked.v1` -> `tracked`; a topic that this version does not know is `other`."""
    return CATEGORIES.get(topic.partition(".")[0], "other")
