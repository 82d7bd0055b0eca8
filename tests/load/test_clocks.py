"""Clocks of other machines: what pings tell, and what they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.load.clocks import Offset, Ping, drifted, offset

delays = st.floats(0.0001, 0.5)


@given(ahead=st.floats(-1e6, 1e6), trips=st.lists(st.tuples(delays, delays), min_size=1, max_size=8))
def test_the_truth_lies_within_the_uncertainty(ahead: float, trips: list[tuple[float, float]]) -> None:
    pings = [Ping(100.0, 100.0 + there + ahead, 100.0 + there + back) for there, back in trips]
    found = offset(pings)
    assert abs(found.ahead - ahead) <= found.uncertainty + 1e-6
    assert found.uncertainty == pytest.approx(min(there + back for there, back in trips) / 2, abs=1e-9)


def test_clocks_that_ran_apart_make_it_uncertain() -> None:
    assert drifted(Offset(5.0, 0.001), Offset(5.0005, 0.001)) == pytest.approx(0.0015)
    assert drifted(Offset(5.0, 0.001), Offset(5.3, 0.001)) == pytest.approx(0.301)
    assert drifted(Offset(5.0, 0.02), Offset(5.0, 0.001)) == pytest.approx(0.02)


def test_without_an_answer_there_is_no_offset() -> None:
    with pytest.raises(ValueError, match="no ping"):
        offset([])
