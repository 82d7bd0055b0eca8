"""Histograms keep every duration to half a percent, and merge by addition."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.model.histogram import Histogram, bucket_of, bucket_value, decode, encode

seconds = st.floats(min_value=1e-5, max_value=60.0, allow_nan=False)


@given(seconds)
def test_a_duration_comes_back_to_within_half_a_percent(value: float) -> None:
    assert abs(bucket_value(bucket_of(value)) - value) <= 0.005 * value


@given(st.lists(seconds), st.lists(seconds))
def test_merging_is_the_same_as_recording_everything_in_one(first: list[float], second: list[float]) -> None:
    one, two, both = Histogram(), Histogram(), Histogram()
    for value in first:
        one.record(value)
        both.record(value)
    for value in second:
        two.record(value)
        both.record(value)
    merged = Histogram.merged([one.to_bytes(), two.to_bytes()])
    assert merged.counts == both.counts
    assert merged.total == len(first) + len(second)


@given(st.lists(seconds, min_size=1), st.floats(min_value=0.0, max_value=1.0))
def test_quantiles_are_those_of_the_raw_samples(values: list[float], q: float) -> None:
    held = Histogram()
    for value in values:
        held.record(value)
    rank = max(1, math.ceil(q * len(values) - 1e-9))
    exact = sorted(values)[rank - 1]
    assert held.quantile(q) == pytest.approx(exact, rel=0.0051)


@pytest.mark.parametrize(
    ("samples", "above", "q", "expected"),
    [
        ([], 0, 0.5, math.nan),
        ([], 3, 0.5, math.inf),
        ([0.1] * 95, 5, 0.95, 0.1),
        ([0.1] * 94, 6, 0.95, math.inf),
    ],
    ids=["nothing at all", "only failures", "failures just above the rank", "sad: failures reach the rank"],
)
def test_failures_rank_above_every_success(samples: list[float], above: int, q: float, expected: float) -> None:
    held = Histogram()
    for value in samples:
        held.record(value)
    got = held.quantile(q, above=above)
    assert got == pytest.approx(expected, rel=0.005, nan_ok=True)


def test_bytes_that_are_cut_short_are_refused() -> None:
    data = encode({5: 1, 6: 70_000})
    assert decode(data) == {5: 1, 6: 70_000}
    with pytest.raises(ValueError, match="cut short"):
        decode(data[:-1])


def test_durations_out_of_range_stay_in_the_outer_buckets() -> None:
    assert bucket_of(-1.0) == bucket_of(0.0) == 0
    assert bucket_of(1e9) == bucket_of(1e12)
