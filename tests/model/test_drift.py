"""A baseline that drifts is told, one that wobbles is not."""

from __future__ import annotations

import pytest

from chaoskit.model.drift import baseline_drift
from chaoskit.testing import HistoryBuilder


def test_a_baseline_that_warms_up_is_told() -> None:
    history = HistoryBuilder().load("checkout", rate=80, response=lambda at: 0.3 - 0.02 * at).build()
    assert baseline_drift(history).startswith("the baseline drifted: the median response time fell by ")


@pytest.mark.parametrize("seed", range(10))
def test_one_that_wobbles_is_not(seed: int) -> None:
    assert baseline_drift(HistoryBuilder(seed=seed).load("checkout", rate=80, spread=0.3).build()) == ""


def test_a_small_trend_is_of_no_consequence_and_nothing_is_no_trend() -> None:
    history = HistoryBuilder().load("checkout", rate=80, response=lambda at: 0.1 + 0.001 * at, spread=0).build()
    assert baseline_drift(history) == ""
    assert baseline_drift(HistoryBuilder().build()) == ""
