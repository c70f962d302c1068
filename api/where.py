"""Parameters that narrow a list: conditions in JSON."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from litestar.params import QueryParameter

from api.shapes import refusal
from domain.admission import UNREADABLE
from domain.conditions import Where
from domain.errors import Rejected
from domain.json_objects import ROOT, examine

WhereText = Annotated[
    str | None,
    QueryParameter(
        description='JSON: [{"property": "plan", "operator": "equals", "value": "pro"}]'
    ),
]
_decode_where = msgspec.json.Decoder(tuple[Where, ...]).decode


def read_where(text: str | None, check: Callable[[tuple[Where, ...]], None]) -> tuple[Where, ...]:
    """`check` and this raise Rejected."""
    if text is None:
        return ()
    _check_exact(text)
    try:
        found = _decode_where(text)
    except msgspec.ValidationError as error:
        raise refusal(error, tuple[Where, ...], "where") from None
    except UNREADABLE as error:
        raise Rejected("where", f"is not a JSON list of conditions: {error}") from None
    check(found)
    return found


def _check_exact(text: str) -> None:
    """Raises Rejected for what the decoder would let pass: a key that comes twice, a number that
    it would round.
    """
    try:
        examine(b'{"where": %s}' % text.encode(), "")
    except Rejected as error:
        if error.field != ROOT:  # else it is no JSON, which the decoder tells by its own places
            raise
