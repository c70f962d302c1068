"""People in our own dialect: POST /v1/users (one), /v1/users/batch.

An upsert: what it names changes, everything else stays. Both spellings are read, as in
api/dialects/native.py, and a field that is not ours is refused.
"""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus

import msgspec
from msgspec import UNSET, Raw, UnsetType

from api.dialects import native
from api.dialects.message import Names, common
from api.dialects.request import Answer, BatchBody, Item, Parsed, open_batch, refusal, united
from api.user_ids import public_id
from commands.ingest import Outcome, Submitted
from domain.admission import UNREADABLE, Arrival, Clock, check_size, checked_object, may_hold_nul
from domain.errors import Rejected
from domain.junk import is_junk
from domain.operations import checked_operations
from domain.tracking import EMPTY, Identified

NAME = "users"
_NAMES = Names(NAME, "message_id", "user_id", "anonymous_id", "sent_at")
_IN_TRAITS = "is not a field of a user; put it into traits"
_MOST_EMAIL_CHARS = 254  # RFC 5321, section 4.5.3.1.3, without the brackets
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_PHONE = re.compile(r"\+[1-9][0-9 ()./-]*")
_MOST_PHONE_CHARS = 40
_MOST_DIGITS = 15  # ITU-T E.164
_LEAST_DIGITS = 7


class UserBody(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    user_id: str | None = None
    user_id_camel: str | None = msgspec.field(name="userId", default=None)
    anonymous_id: str | None = None
    anonymous_id_camel: str | None = msgspec.field(name="anonymousId", default=None)
    message_id: str | None = None
    message_id_camel: str | None = msgspec.field(name="messageId", default=None)
    timestamp: Clock = None
    sent_at: Clock = None
    sent_at_camel: Clock = msgspec.field(name="sentAt", default=None)
    email: str | UnsetType | None = UNSET
    phone: str | UnsetType | None = UNSET
    origin: Raw = EMPTY
    traits: Raw = EMPTY
    properties: Raw = EMPTY
    set_once: Raw = EMPTY
    set_once_camel: Raw = msgspec.field(name="setOnce", default=EMPTY)
    increment: Raw = EMPTY
    append: Raw = EMPTY
    union: Raw = EMPTY
    unset: Raw = EMPTY
    context: Raw = EMPTY


class UsersBody(BatchBody, gc=False, forbid_unknown_fields=True, kw_only=True):
    users: list[Raw]


_decode = msgspec.json.Decoder(UserBody).decode
_decode_batch = msgspec.json.Decoder(UsersBody).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def parse_one(body: bytes) -> Parsed:
    return Parsed(items=[body], suspect=may_hold_nul(body))


def parse_batch(body: bytes) -> Parsed:
    """Raises Rejected when the request as a whole can't be read, TooLarge for too many users."""
    return open_batch(body, "users", _decode_batch)


def admit(body: Item, arrival: Arrival) -> Identified:
    """Raises Rejected."""
    check_size(body)
    try:
        user = _decode(body)
    except UNREADABLE as error:
        raise refusal(body, error, _IN_TRAITS) from None
    _unite_spellings(user)
    if user.user_id is None:
        raise Rejected("user_id", "is missing; name the user")
    fields = common(user, arrival, _NAMES)
    _check_person(user.user_id, "user_id")
    _check_person(user.anonymous_id, "anonymous_id")
    traits, unset = _traits(user, arrival.suspect)
    operations = checked_operations(
        {
            "set_once": user.set_once,
            "increment": user.increment,
            "append": user.append,
            "union": user.union,
            "unset": user.unset,
        },
        unset=unset,
        suspect=arrival.suspect,
    )
    return Identified(traits=traits, operations=operations, **fields)


def _unite_spellings(user: UserBody) -> None:
    if user.user_id_camel is not None:
        user.user_id = united(user.user_id, user.user_id_camel, "user_id")
    if user.anonymous_id_camel is not None:
        user.anonymous_id = united(user.anonymous_id, user.anonymous_id_camel, "anonymous_id")
    if user.message_id_camel is not None:
        user.message_id = united(user.message_id, user.message_id_camel, "message_id")
    if user.sent_at_camel is not None:
        user.sent_at = united(user.sent_at, user.sent_at_camel, "sent_at")
    if user.set_once_camel is not EMPTY:
        if user.set_once is not EMPTY:
            raise Rejected("set_once", "comes in both spellings; send one")
        user.set_once = user.set_once_camel


def _check_person(distinct_id: str | None, field: str) -> None:
    """SDKs send such ids and are put up with; who calls this route can mend it."""
    if distinct_id is not None and is_junk(distinct_id):
        issue = "is what programs send for nobody in particular; send the id of one person"
        raise Rejected(field, issue)


# --- traits --------------------------------------------------------------------------------


def _traits(user: UserBody, suspect: bool) -> tuple[Raw, list[str]]:  # noqa: FBT001  as checked_object has it
    """What is set, and the names of what is unset because it is null."""
    traits = _object(user.traits, "traits", suspect)
    properties = _object(user.properties, "properties", suspect)
    own = dict(_own(user, suspect))
    if not own and (traits is EMPTY or properties is EMPTY):
        return (properties if traits is EMPTY else traits), []
    members = _members(traits)
    for name, value in _members(properties).items():
        if not _same(members.setdefault(name, value), value):
            raise Rejected(f"properties.{name}", "comes in traits too, with another value")
    for name, told in own.items():
        if not _same(members.setdefault(name, told), told):
            raise Rejected(name, "comes in traits or properties too, with another value")
    unset = [name for name, value in own.items() if bytes(value) == b"null"]
    for name in unset:
        del members[name]
    return checked_object(Raw(_encode(members)), "traits", suspect) if members else EMPTY, unset


def _object(raw: Raw, field: str, suspect: bool) -> Raw:  # noqa: FBT001  see above
    checked = checked_object(raw, field, suspect)
    return EMPTY if bytes(checked) == b"{}" else checked


def _own(user: UserBody, suspect: bool) -> Iterator[tuple[str, Raw]]:  # noqa: FBT001  see above
    """The traits that have fields of their own."""
    for name, value, check in (
        ("email", user.email, _check_email),
        ("phone", user.phone, _check_phone),
    ):
        if value is UNSET:
            continue
        if isinstance(value, str):
            check(value)
        yield name, Raw(_encode(value))
    if user.origin is not EMPTY:
        origin = checked_object(user.origin, "origin", suspect)
        yield "origin", Raw(b"null") if origin is EMPTY else origin


def _check_email(email: str) -> None:
    if len(email) > _MOST_EMAIL_CHARS or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise Rejected("email", "is no e-mail address, such as ada@example.com; null unsets it")


def _check_phone(phone: str) -> None:
    digits = sum(map(str.isdigit, phone))
    good = _LEAST_DIGITS <= digits <= _MOST_DIGITS and len(phone) <= _MOST_PHONE_CHARS
    if not good or not _PHONE.fullmatch(phone):
        issue = "is no phone number with + and the country code, such as +49 30 901820; null"
        raise Rejected("phone", f"{issue} unsets it")


def _same(one: Raw, other: Raw) -> bool:
    return one is other or bytes(one) == bytes(other) or _sorted(one) == _sorted(other)


def _sorted(raw: Raw) -> bytes:
    """Bytes, so that 1 and true differ."""
    return msgspec.json.encode(msgspec.json.decode(raw), order="sorted")


# --- answers -------------------------------------------------------------------------------


class UserTaken(msgspec.Struct):
    """`user_id` is our name for the person, `external_id` the caller's."""

    user_id: str
    external_id: str
    event_id: str
    position: int
    duplicate: bool
    message: str
    success: bool = True


def answer_one(outcomes: Sequence[Outcome], submitted: Sequence[Submitted]) -> Answer:
    """202. Raises Rejected or Conflict, which the API answers like any other."""
    taken = native.taken(outcomes[0])
    (user,) = submitted
    assert isinstance(user, Identified)  # what is taken was admitted here
    assert user.user_id is not None
    told = UserTaken(
        public_id(user.user_id),
        user.user_id,
        taken.event_id,
        taken.position,
        taken.duplicate,
        taken.message,
    )
    return Answer(HTTPStatus.ACCEPTED, _encode(told))


def answer_batch(outcomes: Sequence[Outcome], _submitted: Sequence[Submitted]) -> Answer:
    """202 even when some were refused: each user has its own result."""
    return native.answer_batch(outcomes, noun="users")
