"""What SDKs send, as it is kept on the log: tracked, identified, aliased, grouped.

Every SDK dialect is translated into these four shapes. JSON objects that only the sender
understands (`properties`, `traits`, `context`) stay the bytes that were received.
"""

from datetime import datetime
from typing import ClassVar

import msgspec

EMPTY = msgspec.Raw(b"{}")


class Client(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where the message came from, as seen at the edge. Personal data: one place, so that
    erasure finds it. `country` is ISO 3166-1 alpha-2 from a CDN header, when there was one.
    """

    ip: str | None = None
    user_agent: str | None = None
    country: str | None = None


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Common to all messages.

    `message_id` is the sender's own id and, with the app, the idempotency key for ever.
    `timestamp` is when it happened by our clock: received_at - (sent_at - original_timestamp),
    the rule of Segment's spec. The three it was computed from are kept beside it.
    """

    message_id: str
    timestamp: datetime
    received_at: datetime
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    context: msgspec.Raw = EMPTY
    source: str = "native"
    client: Client = Client()

    @property
    def distinct_id(self) -> str:
        """The id that this message counts for: the known one if there is one."""
        return self.user_id or self.anonymous_id or ""

    def ordered_at(self, recorded_at: datetime) -> datetime:
        """Where it stands among what is said of who is whom. What happened when it was received,
        or later by a clock that is ahead, has the place that it got on the log. So it never comes
        before what was answered already (two requests may be recorded in another order than they
        were received), nor after what is recorded later.
        """
        is_now = self.timestamp >= self.received_at or self.timestamp >= recorded_at
        return recorded_at if is_now else self.timestamp


class Tracked(Message, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Something that somebody did. `kind` is track, page or screen; a page or a screen has its
    name in `event` and its properties hold what the SDK put beside it.
    """

    TOPIC: ClassVar[str] = "tracked.v1"
    event: str
    kind: str = "track"
    properties: msgspec.Raw = EMPTY


class Identified(Message, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Traits of a person, said with one of their ids; with both ids also that these are the same
    person. `traits` are set; `operations` are the other ways to change one (domain/traits.py).
    """

    TOPIC: ClassVar[str] = "identified.v1"
    traits: msgspec.Raw = EMPTY
    operations: msgspec.Raw = EMPTY


class Aliased(Message, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """`previous_id` and `user_id` are said to be the same person. `forced_by` is the id of the key
    that joins two known users against the rule, and `reason` why.
    """

    TOPIC: ClassVar[str] = "aliased.v1"
    previous_id: str
    forced_by: str | None = None
    reason: str | None = None


class Unmerged(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The links between these pairs of ids no longer hold. `timestamp` is later than that of every
    link that was known when it was asked for; it counts from when it was recorded, if that is later
    still. `done_by` is the id of the key that asked for it.
    """

    TOPIC: ClassVar[str] = "unmerged.v1"
    user_id: str
    pairs: tuple[tuple[str, str], ...]
    timestamp: datetime
    received_at: datetime
    done_by: str
    reason: str | None = None


class Grouped(Message, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The person belongs to a group (a company, a team), which has traits of its own."""

    TOPIC: ClassVar[str] = "grouped.v1"
    group_id: str
    group_type: str = "company"
    traits: msgspec.Raw = EMPTY


class Refused(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A message that broke a rule, kept with the reason so that it can be replayed.

    `body` is what was received, base64 (it may not be text). `field` and `issue` are those of
    the `Rejected` that the sender was told.
    """

    TOPIC: ClassVar[str] = "refused.v1"
    body: bytes
    field: str
    issue: str
    received_at: datetime
    dialect: str
    kind: str | None = None
    sent_at: datetime | None = None
    client: Client = Client()


class RefusalReplayed(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A refused message was taken after all; `event_id` names what it became."""

    TOPIC: ClassVar[str] = "refusal.replayed.v1"
    refused_id: str
    event_id: str
    replayed_at: datetime
