"""Histograms of durations and their percentiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gql_api.record.statistics.histogram import Histogram, bin_of

_DURATIONS = st.lists(st.integers(0, 10**10) | st.integers(0, 100), min_size=1, max_size=60)


@given(st.integers(1, 10**12))
def test_a_bin_is_narrow(milliseconds: int) -> None:
    """A duration 20 percent longer is in another bin, and no longer duration in a bin before."""
    assert bin_of(milliseconds) <= bin_of(milliseconds + 1)
    assert bin_of(milliseconds) < bin_of(milliseconds * 12 // 10 + 1)


@given(_DURATIONS, st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_near_the_exact_one(durations: list[int], share: float) -> None:
    """It is not beyond 19 percent of a duration that the exact percentile lies at, nor beyond what was measured."""
    found = Histogram.of(durations).percentile(share)
    exact = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]
    assert found is not None
    assert min(durations) <= found * 1000 <= max(durations)
    assert exact / 1.2 <= found * 1000 <= exact * 1.2 + 1e-6


@given(_DURATIONS)
def test_percentiles_rise_to_the_exact_maximum(durations: list[int]) -> None:
    """The median is not above the 95th percentile, that not above the 99th, and that not above the longest."""
    histogram = Histogram.of(durations)
    p50, p95, p99 = (histogram.percentile(share) or 0.0 for share in (0.5, 0.95, 0.99))
    assert p50 <= p95 <= p99 <= (histogram.longest or 0.0)
    assert histogram.longest == max(durations) / 1000


@given(_DURATIONS, _DURATIONS)
def test_histograms_add_up(some: list[int], others: list[int]) -> None:
    """The bins of two histograms, added up, are those of all durations."""
    both = Histogram.of(some)
    for number, durations in Histogram.of(others).bins.items():
        both.add(number, durations)
    assert both == Histogram.of([*some, *others])
    assert both.count == len(some) + len(others)


def test_a_single_duration_is_every_percentile() -> None:
    """It is exact, as are equal ones; without any there is none."""
    for durations in ([1234], [1234] * 7):
        histogram = Histogram.of(durations)
        assert [histogram.percentile(share) for share in (0.5, 0.95, 0.99)] == pytest.approx([1.234] * 3)
    assert (Histogram().percentile(0.5), Histogram().longest) == (None, None)
    assert Histogram.of([0]).longest == 0.0
