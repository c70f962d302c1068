"""Names in a caller's SQL: which may stand there, and how they are written."""

import re

from sqlglot import exp

from domain.errors import Rejected
from projections.sql.views import INNER, NAMES

# No dot, which would part the name in two; no bracket or quotation mark, which would end it.
_NAME = re.compile(r"[^\W\d][\w -]{0,63}")
_SHOWN = re.compile(r"[\w ()+*/<>=!,.%|'\[\]-]{1,100}")


def name_of(node: object) -> str:
    """The text of an identifier. Raises Rejected."""
    text = str(node.this) if isinstance(node, exp.Identifier) else ""
    if not _NAME.fullmatch(text) or text.startswith("__"):
        issue = f"{text[:64]!r} is no name here: letters, digits, _, - and spaces, at most 64"
        raise Rejected("query", issue)
    if text.lower() in INNER:
        raise Rejected("query", f"there is no {text}")
    return text


def name_of_relation(node: object) -> str:
    """Of a CTE, or of something in FROM. Raises Rejected for the name of a view."""
    text = name_of(node)
    if text.lower() in NAMES:
        raise Rejected("query", f"{text} is the name of a view; call it otherwise")
    return text


def quoted(text: str) -> str:
    """`text` is from this module."""
    return f"`{text}`"


def shown(text: str, place: int) -> str:
    """What a column without a name of its own is called: what was written, where that is plain."""
    return text if _SHOWN.fullmatch(text) else f"column_{place}"


def no_such_table(text: str) -> Rejected:
    return Rejected("query", f"there is no table {text}; there are {', '.join(NAMES)}")
