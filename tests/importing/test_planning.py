"""Which column is what, and what a row is called."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from api.dialects import native
from commands.import_plan import Row, Wanted, plan
from commands.import_times import read_time
from commands.importing import Drafting
from domain.admission import arrived
from domain.errors import Rejected
from domain.tracking import Client

UTC = ZoneInfo("UTC")
MESSAGE = {"event_name": "e", "user_id": "u"}
ARRIVAL = arrived(received_at=datetime(2026, 6, 1, tzinfo=UTC), client=Client(), new_id=str)


def planned(cells, names=None, **wanted):
    rows = [Row(number, row) for number, row in enumerate(cells, start=1)]
    return plan(names or list(cells[0]), rows, Wanted(**wanted))


def ids(cells, **wanted):
    drafting = Drafting(planned(cells, **wanted))
    return [drafting.message_id(Row(n, row)) for n, row in enumerate(cells, start=1)]


def row(**cells):
    return {"event": "e", "user": "u", "time": "2026-01-01", **cells}


@pytest.mark.parametrize(
    ("names", "user", "time"),
    [
        (["event", "user", "timestamp"], "user", "timestamp"),
        (["event_name", "userId", "time"], "userId", "time"),
        (["Event Name", "User ID", "Occurred At"], "User ID", "Occurred At"),
        (["eventType", "distinct_id", "ts"], "distinct_id", "ts"),
        (["action", "customer_id", "created_at", "date"], "customer_id", "created_at"),
    ],
)
def test_usual_names_are_found(names, user, time):
    columns = planned([dict.fromkeys(names, "x")]).columns
    found = columns["event"], columns["user_id"], columns["timestamp"]
    assert found == (names[0], user, time)


def test_a_column_that_is_asked_for_wins_over_a_usual_name():
    columns = planned([row(who="w")], columns={"user_id": "who"}).columns
    assert columns["user_id"] == "who"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["user", "time"], "event"),
        (["event", "time"], "user_id or anonymous_id"),
        (["event", "user"], "timestamp"),
    ],
)
def test_a_file_without_what_every_event_needs_is_refused_with_the_option_that_mends_it(
    names, missing
):
    with pytest.raises(Rejected) as refusal:
        planned([dict.fromkeys(names, "x")])
    assert refusal.value.field == missing
    assert "--set" in refusal.value.issue


def test_a_constant_stands_for_a_column():
    assert planned([{"user": "u", "time": "2026"}], constants={"event": "visit"}).constants == {
        "event": "visit"
    }


def test_a_column_that_is_not_there_is_refused_by_name():
    with pytest.raises(Rejected, match="no column whom"):
        planned([row()], columns={"user_id": "whom"})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2.5", "-3"], "number"),
        (["true", "False"], "boolean"),
        (["1", "x"], None),
        (["007", "008"], None),  # a leading zero would be lost
        (["1e5"], None),
        (["9007199254740993"], None),  # beyond 2^53 it would be another number
        (["1", "true"], None),
        (["NaN"], None),
    ],
)
def test_a_column_has_a_kind_when_all_its_values_have(values, kind):
    assert planned([row(n=value) for value in values]).kinds.get("n") == kind


def test_a_hash_that_looks_like_a_number_stays_text_beside_those_that_do_not():
    assert "commit" not in planned([row(commit="1234567890"), row(commit="12ab34cd56")]).kinds


def test_equal_rows_are_told_apart_by_their_number():
    first, second, other, third = ids([row(), row(), row(n="1"), row()])
    assert len({first, second, other, third}) == 4
    assert [second, third] == [f"{first}-2", f"{first}-3"]


def test_a_longer_version_of_a_file_names_its_old_rows_as_before():
    before = ids([row(n="1"), row(), row()])
    after = ids([row(n="0"), row(n="1"), row(), row(), row()])
    assert set(before) < set(after)


def test_the_order_of_columns_and_empty_new_ones_change_no_name():
    assert ids([{"event": "e", "user": "u", "time": "1", "n": "1"}]) == ids(
        [{"n": "1", "time": "1", "user": "u", "event": "e"}]
    )


def test_constants_are_part_of_what_a_row_says():
    assert ids([row()], constants={"shop": "a"}) != ids([row()], constants={"shop": "b"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31 12:00:00", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00+02:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("20260131", "2026-01-31T00:00:00+00:00"),
    ],
)
def test_times_are_read_as_iso_8601(text, expected):
    assert read_time(text, UTC).isoformat() == expected


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z", "2026-01-31 12:00:00+02:00", "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00.1234567Z", "2026-01-31T12:00:00",
    ],
)  # fmt: skip
def test_what_the_api_takes_for_a_time_a_file_says_too(text):
    answer = native.admit(msgspec.json.encode({**MESSAGE, "timestamp": text}), ARRIVAL)
    assert read_time(text, UTC) == answer.original_timestamp


def test_a_time_without_an_offset_is_of_the_zone_that_was_said():
    summer = read_time("2026-07-01 12:00", ZoneInfo("Europe/Berlin"))
    assert summer.isoformat() == "2026-07-01T12:00:00+02:00"


@pytest.mark.parametrize(("text", "expected"), [("1767225600", 1767225600), ("1.5", 1.5)])
def test_numbers_are_epoch_times(text, expected):
    assert read_time(text, UTC) == expected


def test_what_is_no_time_is_left_for_the_rules_to_refuse():
    assert read_time("31/01/2026", UTC) == "31/01/2026"


def drafted(cells, **wanted):
    return msgspec.json.decode(Drafting(planned([cells], **wanted)).body(Row(1, cells)))


def test_a_row_without_a_time_is_refused_and_not_dated_today():
    drafting = Drafting(planned([row()]))
    with pytest.raises(Rejected, match="timestamp: is missing"):
        drafting.body(Row(1, {"event": "e", "user": "u"}))


def test_a_constant_that_looks_like_a_number_is_an_id_all_the_same():
    assert drafted(row(), constants={"user_id": "42", "n": "42"})["user_id"] == "42"


def test_a_message_id_may_be_a_member_of_a_member():
    cells = row(meta={"id": "m-1"})
    assert drafted(cells, columns={"message_id": "meta.id"})["message_id"] == "m-1"


def test_one_message_id_for_all_rows_is_refused():
    with pytest.raises(Rejected, match="--map message_id"):
        planned([row()], constants={"message_id": "m"})


def test_rows_that_can_not_be_read_say_nothing_about_the_kinds_of_columns():
    rows = [Row(1, row(line="1")), Row(2, {"line": "x"}, "is broken")]
    assert plan(list(row(line="1")), rows, Wanted()).kinds["line"] == "number"
