"""Ids that programs send for nobody in particular."""

import re

_JUNK = frozenset(
    (
        "anon",
        "anonymous",
        "anonymousid",
        "anonymous_id",
        "distinctid",
        "distinct_id",
        "email",
        "false",
        "guest",
        "id",
        "n/a",
        "nan",
        "nil",
        "none",
        "not_authenticated",
        "null",
        "true",
        "undefined",
        "unknown",
        "userid",
        "user_id",
        "[object object]",
        "{}",
        "[]",
    )
)
_NOTHING = re.compile(r"[-_.0\s]*")  # 0, 0000, 00000000-0000-0000-0000-000000000000, -
_QUOTES = "'\"`()<>"


def is_junk(distinct_id: str) -> bool:
    """Whether it is what programs send for nobody in particular."""
    word = distinct_id.strip().strip(_QUOTES).strip().casefold()
    return word in _JUNK or _NOTHING.fullmatch(word) is not None
