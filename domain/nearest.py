"""Messages about a name that is none of those there are."""

from collections.abc import Sequence
from difflib import get_close_matches

_LONGEST = 64  # of a name that may be meant for another; comparing is quadratic


def told(known: Sequence[str], name: str) -> str:
    """What follows "is no ...": the nearest name, and all that there are."""
    return f"{meant(known, name) or '.'} Known: {', '.join(known) or 'none'}"


def meant(known: Sequence[str], name: str) -> str:
    """The nearest name alone, where there are too many to tell; empty where none is near."""
    near = get_close_matches(name[:_LONGEST], known, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""
