from __future__ import annotations

import threading
import time

import pytest

from chaoskit.probes.rounds import look_around, until_next


def test_missed_instants_of_the_schedule_are_let_go() -> None:
    assert until_next(10.0, 0.25, 10.01) == pytest.approx(0.24)
    assert until_next(10.0, 0.25, 11.1) == pytest.approx(0.15)


def test_one_that_hangs_keeps_no_other_from_its_time_and_is_not_waited_for() -> None:
    stop, hanging = threading.Event(), threading.Event()
    looks: dict[str, list[float]] = {"quick": [], "slow": []}

    def quick(at: float, _: threading.Event) -> None:
        looks["quick"].append(at)

    def slow(at: float, _: threading.Event) -> None:
        looks["slow"].append(at)
        hanging.wait(30)

    thread = threading.Thread(target=look_around, args=({"quick": quick, "slow": slow}, 0.05, stop))
    thread.start()
    time.sleep(0.6)
    stop.set()
    thread.join(5)
    assert not thread.is_alive()
    hanging.set()
    assert len(looks["slow"]) == 1
    assert len(looks["quick"]) >= 6


def test_times_are_spread_over_the_interval_and_do_not_drift() -> None:
    stop = threading.Event()
    seen: dict[int, list[float]] = {number: [] for number in range(4)}
    looks = {str(n): (lambda at, _, n=n: seen[n].append(at)) for n in range(4)}
    thread = threading.Thread(target=look_around, args=(looks, 0.2, stop))
    thread.start()
    time.sleep(1.3)
    stop.set()
    thread.join(5)
    first = [times[0] - seen[0][0] for times in seen.values()]
    assert first == pytest.approx([0.0, 0.05, 0.1, 0.15], abs=0.04)
    for times in seen.values():
        assert (times[-1] - times[0]) / (len(times) - 1) == pytest.approx(0.2, abs=0.05)


def test_nothing_to_look_at_ends_with_the_stop() -> None:
    stop = threading.Event()
    stop.set()
    look_around({}, 0.1, stop)
