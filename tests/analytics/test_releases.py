"""The impact of a release: Student's t, pairs of the same weekday, verdicts."""

from datetime import date, timedelta

import pytest

from domain.errors import Rejected
from domain.releases import Pair, check_days, impact, pairs_of
from domain.student import quantile


@pytest.mark.parametrize(  # NIST Engineering Statistics Handbook, 1.3.6.7.2
    ("degrees", "t"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (83, 1.989)],
)
def test_quantiles_are_those_of_the_table(degrees, t):
    assert quantile(0.975, degrees) == pytest.approx(t, abs=5e-4)


def test_a_quantile_to_ten_digits():
    assert quantile(0.975, 6) == pytest.approx(2.4469118511449692, abs=1e-9)
    assert quantile(0.9, 1) == pytest.approx(3.0776835371752531, abs=1e-9)


@pytest.mark.parametrize("days", [7, 14, 84])
def test_days_are_compared_with_the_same_weekday(days):
    released = date(2026, 3, 11)
    before = [released - timedelta(days=days - place) for place in range(days)]
    after = [released + timedelta(days=1 + place) for place in range(days)]
    pairs = pairs_of([float(place) for place in range(days)], [1.0] * days)
    assert [place for _, place, _ in pairs] == list(range(days))
    assert sorted(other for other, _, _ in pairs) == list(range(days))
    assert all(before[o].weekday() == after[a].weekday() for o, a, _ in pairs)


def test_a_day_without_a_value_has_no_pair():
    pairs = pairs_of([1.0] * 7, [None, 2.0, *[None] * 5])
    assert [(other, place) for other, place, _ in pairs] == [(2, 1)]


def test_an_interval_as_reckoned_by_hand():
    found = impact([Pair(10, 12), Pair(20, 23), Pair(10, 11), Pair(20, 22)])
    # Differences 2, 3, 1, 2: mean 2, standard deviation 0.816497, t of three degrees 3.182446.
    reach = 3.182446 * 0.816497 / 2
    assert found.difference.value == 2
    assert found.difference.low == pytest.approx(2 - reach, abs=1e-5)
    assert found.difference.high == pytest.approx(2 + reach, abs=1e-5)
    assert found.relative.value == pytest.approx(2 / 15)
    assert (found.mean_before, found.mean_after, found.pairs) == (15, 17, 4)
    assert found.verdict == "higher"


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([], "not_enough_data"),
        ([Pair(1, 2)] * 3, "not_enough_data"),
        ([Pair(1, 2)] * 4, "higher"),
        ([Pair(2, 1)] * 4, "lower"),
        ([Pair(1, 1)] * 4, "no_clear_difference"),
        ([Pair(1, 5), Pair(5, 1), Pair(2, 3), Pair(3, 3)], "no_clear_difference"),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_out_zero(pairs, verdict):
    found = impact(pairs)
    assert found.verdict == verdict
    assert (found.difference is None) == (verdict == "not_enough_data")


def test_of_nothing_before_there_is_no_relative_difference():
    found = impact([Pair(0, 2)] * 4)
    assert found.relative is None
    assert found.difference.value == 2


def test_a_fall_below_a_negative_mean_keeps_its_bounds_in_order():
    found = impact([Pair(-10, -12), Pair(-10, -11), Pair(-10, -13), Pair(-10, -12)])
    assert found.verdict == "lower"
    assert found.relative.low < found.relative.value < found.relative.high


@pytest.mark.parametrize("days", [0, 1, 8, 91, -7])
def test_days_are_whole_weeks(days):
    with pytest.raises(Rejected, match="whole weeks"):
        check_days(days)
