"""Asking for a person to be erased. What is then done is infrastructure/eraser.py."""

import re
from collections.abc import Collection
from typing import NamedTuple, Protocol
from uuid import UUID

from domain.errors import NotFound, Rejected
from domain.junk import is_junk
from domain.limits import MAX_REASON_CHARS


class Wanted(NamedTuple):
    """`distinct_id` is any of the person's ids, `asked_by` the id of the key."""

    app_id: UUID
    distinct_id: str
    reason: str | None
    asked_by: UUID
    erasure_id: UUID


class Register(Protocol):
    """Who was erased. What is done within one use of it is done together or not at all."""

    def erasure_of(self, app_id: UUID, distinct_id: str) -> UUID | None:
        """The erasure that this id was or is part of."""

    def ids_of_person(self, app_id: UUID, distinct_id: str) -> Collection[str]:
        """Empty: nobody has this id."""

    def add(self, wanted: Wanted, ids: Collection[str]) -> None:
        """From now on these ids are refused. Waits for others who do the same."""


def request(register: Register, wanted: Wanted) -> UUID:
    """The erasure's id: that of an earlier one, if it is of the same person. Raises Rejected,
    NotFound.
    """
    if is_junk(wanted.distinct_id):
        raise Rejected("user_id", "is what programs send for nobody in particular, hence no person")
    known = register.erasure_of(wanted.app_id, wanted.distinct_id)
    if known is not None:
        return known
    ids = register.ids_of_person(wanted.app_id, wanted.distinct_id)
    if not ids:
        raise NotFound("nobody with this id has sent an event")
    _check_reason(wanted.reason, ids)
    register.add(wanted, ids)
    return register.erasure_of(wanted.app_id, wanted.distinct_id) or wanted.erasure_id


def _check_reason(reason: str | None, ids: Collection[str]) -> None:
    """It is kept, so it must not name whom it is about."""
    if reason is None:
        return
    if len(reason) > MAX_REASON_CHARS or not reason.isprintable():
        raise Rejected("reason", f"must be at most {MAX_REASON_CHARS} printable characters")
    if any(re.search(rf"(?<!\w){re.escape(one)}(?!\w)", reason) for one in ids):
        raise Rejected("reason", "names the person; it is kept, so say it without their ids")
