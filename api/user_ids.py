"""The name that the API gives a person, beside the id that the caller gave."""

import base64

_PREFIX = "usr_"


def public_id(user_id: str) -> str:
    """`usr_` and the id in base64url without padding: it fits into any address."""
    return _PREFIX + base64.urlsafe_b64encode(user_id.encode()).decode().rstrip("=")
