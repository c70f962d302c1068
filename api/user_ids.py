"""The name that the API gives a person, beside the id that the caller gave."""

import base64
import binascii

from domain.errors import Rejected

_PREFIX = "usr_"


def public_id(user_id: str) -> str:
    """`usr_` and the id in base64url without padding: it fits into any address."""
    return _PREFIX + base64.urlsafe_b64encode(user_id.encode()).decode().rstrip("=")


def is_public(given: str) -> bool:
    """Whether it may be one of those."""
    return given.startswith(_PREFIX)


def user_id_of(public: str, field: str) -> str:
    """The other way round. Raises Rejected."""
    try:
        text = public.removeprefix(_PREFIX)
        user_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        user_id = ""
    if not user_id or public_id(user_id) != public:  # the reader skips what is not of its alphabet
        raise Rejected(field, "is not an id that POST /v1/users answered")
    return user_id
