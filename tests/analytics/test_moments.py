"""One reader of times for all questions."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from domain.errors import Rejected
from domain.moments import known_zone, read_moment

BERLIN = ZoneInfo("Europe/Berlin")
DATES = ["2026-11-02", "20261102", "2026-W45-1", "2026W451", "2026-w45-1", "2026-306", "2026306"]
TIMES = [
    ("2026-11-02T01:30", 0),
    ("2026-11-02 01:30", 0),
    ("2026-11-02t00:30z", 0),
    ("20261102T013000", 0),
    ("2026-W45-1T01:30", 0),
    ("2026-306T01:30", 0),
    ("2026-11-02T00:30:00,25Z", 250_000),
    ("2026-11-02T06:00:00.250+0530", 250_000),
    ("1793579400", 0),
    ("1793579400250", 250_000),
    (1793579400, 0),
    (1793579400250, 250_000),
]
WRONG = [
    *("", "null", "yesterday", "infinity", "now", "2026", "2026-11", "202611", "2026-W45"),
    *("1793579400.5", "-1793579400", "179357940", "17935794000", "1e9", "+1793579400"),
    *("2026-02-30", "2026-366", "2026-000", "2026-W54-1", "2026-11-02x01:30", "2026-11-02T"),
    *("2026-11-02T25:00", "2026-11-02\n", " 2026-11-02", "\uff12026-11-02", "a\0b"),
    *(5, -1, 10**500),
]


@pytest.mark.parametrize("form", DATES)
def test_a_date_is_its_first_instant_and_as_an_end_the_last(form):
    first = read_moment(form, "from", BERLIN, is_end=False)
    assert first == datetime(2026, 11, 1, 23, tzinfo=UTC)
    assert read_moment(form, "to", BERLIN, is_end=True) == datetime(2026, 11, 2, 23, tzinfo=UTC)


@pytest.mark.parametrize(("form", "micros"), TIMES)
@pytest.mark.parametrize("is_end", [False, True])
def test_a_time_is_an_instant(form, micros, is_end):
    found = read_moment(form, "to", BERLIN, is_end=is_end)
    assert found == datetime(2026, 11, 2, 0, 30, 0, micros, tzinfo=UTC)


@pytest.mark.parametrize("form", WRONG)
def test_what_is_no_time_or_could_be_two_is_refused_with_an_example(form):
    with pytest.raises(Rejected) as refused:
        read_moment(form, "from", BERLIN, is_end=False)
    assert refused.value.field == "from"
    assert "2026-01-31T12:00:00Z" in refused.value.issue


@pytest.mark.parametrize(
    "form",
    ["1999-12-31", "9999-12-31", "2101-01-01", "0001-01-01T00:00+14:00", "9999999999"],
)
@pytest.mark.parametrize("is_end", [False, True])
def test_a_time_out_of_range_is_told_the_range(form, is_end):
    with pytest.raises(Rejected, match="must lie in the years 2000 to 2100"):
        read_moment(form, "to", BERLIN, is_end=is_end)


def test_a_plus_that_an_address_made_a_space_is_explained():
    with pytest.raises(Rejected, match="%2B"):
        read_moment("2026-11-02T01:30:00 01:00", "from", BERLIN, is_end=False)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Asia/Calcutta", "Etc/GMT-14"])
def test_a_zone_has_a_name_of_the_iana_list(name):
    assert known_zone(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("localtime", "posixrules", "Factory", "right/UTC", "posix/UTC", "Europe", "tzdata.zi"),
        *("", ".", "../UTC", "/etc/localtime", "europe/berlin", "Mars/Olympus", "a\0b"),
    ],
)
def test_no_other_zone_is_known(name):
    with pytest.raises(Rejected, match="try Europe/Berlin"):
        known_zone(name)
