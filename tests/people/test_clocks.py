"""What is said by clocks that are ahead, and of one request, stands where the log has it."""

from datetime import timedelta

import pytest

from api import cursors
from api.user_ids import public_id, user_id_of
from domain.errors import Rejected
from domain.tracking import Identified
from tests.fixtures.history import NOON

RECORDED = NOON + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-3600, NOON - timedelta(hours=1)), (0, RECORDED), (0.001, RECORDED), (36_000, RECORDED)],
)
def test_nothing_stands_after_what_is_recorded_later(seconds, expected):
    said = Identified(message_id="m", received_at=NOON, timestamp=NOON + timedelta(seconds=seconds))
    assert said.ordered_at(RECORDED) == expected


def test_a_receiver_whose_clock_is_ahead_of_the_logs_changes_nothing():
    at = NOON + timedelta(minutes=1)
    said = Identified(message_id="m", received_at=at, timestamp=at - timedelta(seconds=1))
    assert said.ordered_at(RECORDED) == RECORDED


@pytest.mark.parametrize("given", ["YWRh", "usr_YW!Rh", "usr_YWRh====", "usr_", "usr_YWR"])
def test_only_what_was_answered_is_an_internal_id(given):
    assert user_id_of(public_id("ada"), "id") == "ada"
    with pytest.raises(Rejected):
        user_id_of(given, "id")


def test_a_cursor_with_a_time_of_no_zone_is_none_of_ours():
    query = cursors.query_of("history")
    kind = tuple[cursors.Moment, bytes, int]
    good = cursors.encode_place(query, (NOON, b"", 1))
    assert cursors.decode_place(good, query, kind) == (NOON, b"", 1)
    with pytest.raises(Rejected):
        cursors.decode_place(
            cursors.encode_place(query, (NOON.replace(tzinfo=None), b"", 1)), query, kind
        )
