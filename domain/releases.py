"""Releases of a product, and what came of one: the days after it beside the days before."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal, NamedTuple, assert_never
from uuid import UUID, uuid5

import msgspec

from domain.aggregates import Event, checked_name
from domain.errors import Conflict, Rejected
from domain.limits import (
    MAX_DESCRIPTION_CHARS,
    MAX_IMPACT_DAYS,
    MIN_IMPACT_PAIRS,
)
from domain.student import quantile


class Stated(Event, frozen=True, kw_only=True, omit_defaults=True):
    version: str
    released_at: datetime
    release_notes: str = ""


class ReleaseCreated(Stated, frozen=True, kw_only=True, omit_defaults=True):
    TOPIC: ClassVar[str] = "release.created.v1"


class ReleaseUpdated(Stated, frozen=True, kw_only=True, omit_defaults=True):
    """As it is from now on."""

    TOPIC: ClassVar[str] = "release.updated.v1"


class ReleaseDeleted(Event, frozen=True, kw_only=True):
    TOPIC: ClassVar[str] = "release.deleted.v1"


ReleaseEvent = ReleaseCreated | ReleaseUpdated | ReleaseDeleted


class Release(msgspec.Struct, frozen=True, kw_only=True):
    release_id: UUID
    app_id: UUID | None
    revision: int
    version: str
    released_at: datetime
    release_notes: str
    is_deleted: bool = False


class NewRelease(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    released_at: datetime
    release_notes: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is None stays."""

    released_at: datetime | None = None
    release_notes: str | None = None


def release_id_of(app_id: UUID, version: str) -> UUID:
    """A version is released once."""
    return uuid5(app_id, f"release {version}")


def create_release(
    before: Release | None, wanted: NewRelease, *, app_id: UUID, now: datetime
) -> ReleaseCreated:
    """`before`: a deleted one may come again."""
    version = checked_name(wanted.version, "version")
    if before is not None and not before.is_deleted:
        raise Conflict(f"version {version} is there already; change it, or delete it first")
    return ReleaseCreated(
        originator_id=release_id_of(app_id, version),
        originator_version=1 if before is None else before.revision + 1,
        occurred_at=now,
        app_id=app_id,
        version=version,
        released_at=wanted.released_at,
        release_notes=checked_notes(wanted.release_notes),
    )


def update_release(release: Release, change: Change, *, now: datetime) -> ReleaseUpdated:
    if change.released_at is None and change.release_notes is None:
        raise Rejected("body", "changes nothing; give released_at or release_notes")
    notes = release.release_notes if change.release_notes is None else change.release_notes
    return ReleaseUpdated(
        originator_id=release.release_id,
        originator_version=release.revision + 1,
        occurred_at=now,
        app_id=release.app_id,
        version=release.version,
        released_at=change.released_at or release.released_at,
        release_notes=checked_notes(notes),
    )


def delete_release(release: Release, *, now: datetime) -> ReleaseDeleted:
    return ReleaseDeleted(
        originator_id=release.release_id,
        originator_version=release.revision + 1,
        occurred_at=now,
        app_id=release.app_id,
    )


def evolve(release: Release | None, event: ReleaseEvent) -> Release:
    match event:
        case ReleaseCreated() | ReleaseUpdated():
            return Release(
                release_id=event.originator_id,
                app_id=event.app_id,
                revision=event.originator_version,
                version=event.version,
                released_at=event.released_at,
                release_notes=event.release_notes,
            )
        case ReleaseDeleted():
            assert release is not None
            return msgspec.structs.replace(
                release, revision=event.originator_version, is_deleted=True
            )
        case _:
            assert_never(event)


def checked_notes(notes: str) -> str:
    if len(notes) > MAX_DESCRIPTION_CHARS or "\0" in notes:
        raise Rejected("release_notes", f"must be at most {MAX_DESCRIPTION_CHARS} characters")
    return notes.strip()


# --- impact ------------------------------------------------------------------------------------

Verdict = Literal["higher", "lower", "no_clear_difference", "not_enough_data"]
CONFIDENCE = 0.95
WEEK = 7


def check_days(days: int) -> None:
    if days % WEEK or not WEEK <= days <= MAX_IMPACT_DAYS:
        issue = f"must be whole weeks: 7, 14, ... {MAX_IMPACT_DAYS}, so that weekdays are compared"
        raise Rejected("days", issue)


class Pair(NamedTuple):
    """A day after the release, and the same weekday before it."""

    before: float
    after: float


class Estimate(msgspec.Struct, frozen=True):
    """`low` and `high` bound it with 95 % confidence."""

    value: float
    low: float
    high: float


class Impact(msgspec.Struct, frozen=True, kw_only=True):
    """`relative`: to the mean before; null where that is 0. Both estimates are null where there is
    not enough data.
    """

    pairs: int
    mean_before: float | None
    mean_after: float | None
    difference: Estimate | None
    relative: Estimate | None
    verdict: Verdict


def impact(pairs: Sequence[Pair]) -> Impact:
    """The paired t interval of the differences between days of the same weekday (Student 1908; NIST
    Engineering Statistics Handbook 7.3.1.1).
    """
    count = len(pairs)
    before = math.fsum(pair.before for pair in pairs) / count if count else None
    after = math.fsum(pair.after for pair in pairs) / count if count else None
    difference = relative = None
    verdict: Verdict = "not_enough_data"
    if before is not None and count >= MIN_IMPACT_PAIRS:
        difference = _estimated([pair.after - pair.before for pair in pairs])
        relative = _divided(difference, before)
        verdict = _verdict(difference)
    return Impact(
        pairs=count,
        mean_before=before,
        mean_after=after,
        difference=difference,
        relative=relative,
        verdict=verdict,
    )


def _estimated(differences: Sequence[float]) -> Estimate:
    count = len(differences)
    mean = math.fsum(differences) / count
    variance = math.fsum((one - mean) ** 2 for one in differences) / (count - 1)
    reach = quantile((1 + CONFIDENCE) / 2, count - 1) * math.sqrt(variance / count)
    return Estimate(mean, mean - reach, mean + reach)


def _divided(estimate: Estimate, by: float) -> Estimate | None:
    if by == 0:
        return None
    low, high = sorted((estimate.low / by, estimate.high / by))
    return Estimate(estimate.value / by, low, high)


def _verdict(difference: Estimate) -> Verdict:
    if difference.low > 0:
        return "higher"
    return "lower" if difference.high < 0 else "no_clear_difference"


def pairs_of(
    before: Sequence[float | None], after: Sequence[float | None]
) -> list[tuple[int, int, Pair]]:
    """The days of the same weekday, in their order: (place before, place after, pair). `before`:
    whole weeks up to the day before the release; `after`: as many days, from the day after it; None
    is a day without a value.
    """
    found = []
    for place, value in enumerate(after):
        # The day of the release lies between, so that the first after is of the second before.
        other = place + 1 if (place + 1) % WEEK else place + 1 - WEEK
        held = before[other]
        if value is not None and held is not None:
            found.append((other, place, Pair(held, value)))
    return found
