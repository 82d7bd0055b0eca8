"""The schedule: no send lost, none early, none drawn twice; levels of users."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.load.arrivals import arrivals, level_at, next_above, times, trace_base
from chaoskit.traffic import LoadSpec

INF = float("inf")


@st.composite
def schedules(draw: st.DrawFn) -> list[tuple[float, float, float, float]]:
    """Legs as a load has them: levels that hold, rise, fall and jump, the last one without end."""
    legs, at = [], 0.0
    for _ in range(draw(st.integers(0, 4))):
        length = draw(st.floats(0.05, 5.0))
        first, last = draw(st.floats(0, 400)), draw(st.floats(0, 400))
        legs.append((at, at + length, first, first if draw(st.booleans()) else last))
        at += length
    level = draw(st.floats(0, 400))
    return [*legs, (at, INF, level, level)]


def area(legs: list[tuple[float, float, float, float]], until: float) -> float:
    """Integral of the rate, by small steps: another way than the schedule's own."""
    total = 0.0
    for start, end, first, last in legs:
        stop = min(end, until)
        if stop > start:
            slope = 0.0 if first == last else (last - first) / (end - start)
            total += (stop - start) * (first + first + slope * (stop - start)) / 2
    return total


@given(schedules(), st.floats(0.1, 20.0))
@settings(max_examples=150, deadline=None)
def test_as_many_are_sent_as_the_rate_adds_up_to(legs: list[tuple[float, float, float, float]], until: float) -> None:
    sent = list(itertools.takewhile(lambda at: at < until, times(legs)))
    expected = area(legs, until)
    # The k-th goes out where the sum reaches k, the first at 0: ⌈sum⌉ of them, but for the last digit.
    assert math.ceil(expected - 1e-6) <= len(sent) <= math.ceil(expected + 1e-6)
    assert all(a <= b for a, b in itertools.pairwise(sent))
    for number in range(0, len(sent), 17):
        assert area(legs, sent[number]) == pytest.approx(number, abs=1e-5)


@given(st.floats(0.5, 5000.0), st.integers(0, 200_000))
@settings(max_examples=100, deadline=None)
def test_a_constant_rate_does_not_drift(rate: float, number: int) -> None:
    legs = [(0.0, INF, rate, rate)]
    at = next(itertools.islice(times(legs), min(number, 2000), None))
    assert at == pytest.approx(min(number, 2000) / rate, rel=1e-12)


@given(schedules(), st.integers(0, 1000), st.floats(0.1, 10.0))
@settings(max_examples=60, deadline=None)
def test_a_poisson_process_repeats_with_its_seed(
    legs: list[tuple[float, float, float, float]], seed: int, until: float
) -> None:
    def sent() -> list[float]:
        return list(itertools.takewhile(lambda at: at < until, times(legs, poisson=True, seed=seed)))

    assert sent() == sent()
    assert all(a <= b for a, b in itertools.pairwise(sent()))


def test_a_poisson_process_has_its_mean_and_its_spread() -> None:
    counts = [0] * 2000
    for at in itertools.takewhile(lambda at: at < 200, times([(0, INF, 50.0, 50.0)], poisson=True, seed=3)):
        counts[int(at * 10)] += 1
    mean = sum(counts) / len(counts)
    variance = sum((count - mean) ** 2 for count in counts) / len(counts)
    assert mean == pytest.approx(5.0, rel=0.05)
    assert variance == pytest.approx(mean, rel=0.15)


@given(schedules(), st.integers(1, 7), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_workers_send_each_arrival_once(legs: list[tuple[float, float, float, float]], workers: int, seed: int) -> None:
    def sent() -> list[tuple[int, float, int]]:
        everything = arrivals(legs, [1.0, 2.5], seed=seed, poisson=True)
        return list(itertools.takewhile(lambda arrival: arrival.at < 5, everything))

    alone = sent()
    shares = [[a for a in sent() if a.number % workers == worker] for worker in range(workers)]
    assert sorted(itertools.chain(*shares)) == alone


def test_the_mix_follows_the_weights() -> None:
    drawn = [arrival.which for arrival in itertools.islice(arrivals([(0, INF, 1, 1)], [1, 3, 6], seed=5), 20_000)]
    for which, share in enumerate((0.1, 0.3, 0.6)):
        assert drawn.count(which) / len(drawn) == pytest.approx(share, abs=0.015)


@given(schedules(), st.floats(0, 300), st.floats(0, 10))
@settings(max_examples=200, deadline=None)
def test_a_user_wakes_when_the_level_passes_it(
    legs: list[tuple[float, float, float, float]], level: float, at: float
) -> None:
    wakes = next_above(legs, level, at)
    assert wakes >= at
    before = min(wakes, at + 30)
    for step in range(100):
        probe = at + (before - at) * step / 100
        if probe < wakes - 1e-6:
            assert level_at(legs, probe) <= level + 1e-6
    if wakes < INF:
        assert level_at(legs, wakes + 1e-6) >= level - 1e-3


def test_trace_bases_differ_by_seed() -> None:
    assert len({trace_base(seed) for seed in range(100)}) == 100


def test_legs_of_a_file_become_what_is_sent() -> None:
    spec = LoadSpec.model_validate(
        {
            "stages": [{"rate": "10/s", "for": "2s"}, {"rate": "30/s", "for": "4s", "ramp": "2s"}],
            "spike": {"times": 2, "at": "1s", "lasts": "500ms"},
            "requests": [{"path": "/"}],
        }
    )
    legs = [tuple(leg) for leg in spec.legs()]
    sent = list(itertools.takewhile(lambda at: at < 6, times(legs)))  # type: ignore[arg-type]
    assert len(sent) == 10 * 2 + 5 + 40 + 60
    assert spec.planned(0, 6) == pytest.approx(len(sent))
    assert sum(1 <= at < 1.5 for at in sent) == 10
