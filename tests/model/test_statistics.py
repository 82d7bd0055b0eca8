"""Intervals cover what they should, corrections correct, trends are found and noise is not one."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from chaoskit.model.statistics import (
    block_width,
    difference_interval,
    draws,
    holm,
    interval_of,
    none_seen_at_most,
    permutation_p,
    requests_for_quantile,
    requests_for_share,
    student_t,
    trend,
)


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (100, 1.984)])
def test_students_t_is_that_of_the_tables(freedom: int, t: float) -> None:
    assert student_t(0.975, freedom) == pytest.approx(t, rel=2e-3)


@pytest.mark.parametrize("blocks", [6, 10, 30])
def test_an_interval_over_blocks_covers_the_mean_about_as_often_as_it_says(blocks: int) -> None:
    noise = np.random.default_rng(7)
    covered = 0
    for trial in range(300):
        values = noise.normal(0.0, 1.0, blocks)
        found = interval_of(draws(blocks, seed=trial) @ values / blocks, blocks)
        assert found is not None
        covered += found[0] <= 0.0 <= found[1]
    assert 0.90 <= covered / 300 <= 0.99


def test_too_few_blocks_and_resamples_without_a_value_have_no_interval() -> None:
    assert interval_of(np.ones(100), 3) is None
    assert interval_of(np.array([1.0, math.nan]), 10) is None


def test_an_interval_keeps_infinity() -> None:
    assert interval_of(np.array([0.1] * 500 + [math.inf] * 500), 10) == (0.1, math.inf)


def test_draws_are_as_many_as_there_are_blocks_and_repeat_with_their_seed() -> None:
    weights = draws(12, resamples=50, seed=3)
    assert weights.shape == (50, 12)
    assert (weights.sum(axis=1) == 12).all()
    assert (weights == draws(12, resamples=50, seed=3)).all()


def test_blocks_are_a_second_and_grow_for_long_windows() -> None:
    assert [block_width(seconds) for seconds in (5, 600, 3600)] == [1.0, 1.0, 6.0]


def test_samples_for_quantiles_and_shares() -> None:
    assert [requests_for_quantile(q) for q in (0.5, 0.9, 0.95, 0.99, 0.999)] == [6, 36, 72, 368, 3688]
    assert [requests_for_share(share) for share in (0.0, 0.01, 0.99, 1.0)] == [1, 300, 300, 1]
    assert none_seen_at_most(300) < 0.01
    assert none_seen_at_most(0) == 1.0


def test_a_drift_is_found_and_noise_is_none() -> None:
    noise = random.Random(1)
    flat = [0.1 + noise.gauss(0, 0.01) for _ in range(30)]
    rising = [value + 0.002 * step for step, value in enumerate(flat)]
    found, none = trend(rising), trend(flat)
    assert found is not None and none is not None
    assert found.p_value < 0.001 < 0.05 < none.p_value
    assert found.change == pytest.approx(0.45, abs=0.15)


def test_a_trend_takes_five_finite_values() -> None:
    assert trend([1.0, 2.0, 3.0, 4.0]) is None
    assert trend([1.0, 2.0, math.inf, 4.0, 5.0]) is None
    constant = trend([1.0] * 10)
    assert constant is not None and (constant.slope, constant.p_value) == (0.0, pytest.approx(1.0))


def test_holm_multiplies_the_smallest_most_and_never_turns_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_runs_are_compared_as_the_unit() -> None:
    apart = difference_interval([1.0, 1.1, 0.9], [2.0, 2.1, 1.9])
    assert apart is not None and apart[0] > 0.7 and apart[1] < 1.3
    same = difference_interval([1.0, 1.1, 0.9], [1.05, 0.95, 1.0])
    assert same is not None and same[0] < 0 < same[1]
    assert difference_interval([1.0], [2.0, 3.0]) is None
    assert difference_interval([1.0, 1.0], [3.0, 3.0]) == (2.0, 2.0)


def test_a_permutation_is_exact_for_few_runs_and_never_says_zero() -> None:
    assert permutation_p([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(0.1)
    assert 0 < permutation_p([1.0] * 20, [2.0] * 20) < 0.001
    assert permutation_p([1.0, 2.0], [1.0, 2.0]) == 1.0
