"""The search for the capacity: doubling, bisection, and where it ends."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.studies.capacity import Step, knee_svg, next_rate


def search(capacity: float, start: float, most: float = math.inf) -> list[tuple[float, bool]]:
    """What is tried of a target that holds up to `capacity`."""
    tried: list[tuple[float, bool]] = []
    rate: float | None = min(start, most)
    while rate is not None and len(tried) < 60:
        tried.append((rate, rate <= capacity))
        rate = next_rate(tried, most)
    return tried


@given(st.floats(3, 20_000), st.floats(1, 5_000))
def test_it_comes_to_within_a_few_percent(capacity: float, start: float) -> None:
    tried = search(capacity, start)
    assert len(tried) <= 40
    held = max((rate for rate, good in tried if good), default=0.0)
    assert held <= capacity
    assert held >= capacity / 1.06 - 1.1


def test_it_begins_by_doubling_and_then_halves_the_gap() -> None:
    rates = [rate for rate, _ in search(300, 50)]
    assert rates[:5] == [50, 100, 200, 400, 300]


def test_it_goes_down_where_the_first_breaks() -> None:
    assert search(30, 100)[1] == (50, False)
    assert search(30, 100)[2] == (25, True)


def test_it_does_not_go_above_the_most() -> None:
    assert search(10_000, 50, most=120) == [(50, True), (100, True), (120, True)]


def test_a_target_that_never_holds_ends() -> None:
    assert not any(good for _, good in search(0, 100))


@pytest.mark.parametrize("confirmed", [True, False])
def test_the_knee_is_a_picture(confirmed: bool) -> None:
    steps = [
        Step(100.0, True, "", 100.0, 0.05, 0.0, (0.0, 5.0)),
        Step(200.0, False, "<&> broke", 150.0, math.inf, 0.2, (6.0, 11.0)),
    ]
    root = ET.fromstring(knee_svg(steps, steps[0] if confirmed else None))
    assert root.tag.endswith("svg")
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == 2
