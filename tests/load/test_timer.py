"""Alarms ring at or after their instant, never before, whichever kind they are."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import gevent
import pytest

from chaoskit.load.timer import Alarm, LoopAlarm, TimerfdAlarm, alarm

KINDS = [LoopAlarm, *([TimerfdAlarm] if sys.platform.startswith("linux") else [])]


@pytest.mark.parametrize("kind", KINDS)
def test_it_rings_once_and_never_early(kind: Callable[[Callable[[], None]], Alarm]) -> None:
    rung: list[float] = []
    made = kind(lambda: rung.append(time.monotonic()))
    wanted = []
    for number in range(30):
        instant = time.monotonic() + 0.0007 * number
        wanted.append(instant)
        made.at(instant)
        while len(rung) <= number:
            gevent.sleep(0.001)
    gevent.sleep(0.01)
    made.close()
    assert len(rung) == 30
    assert all(at >= instant for at, instant in zip(rung, wanted, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_instant_counts(kind: Callable[[Callable[[], None]], Alarm]) -> None:
    rung: list[float] = []
    made = kind(lambda: rung.append(time.monotonic()))
    made.at(time.monotonic() + 0.01)
    later = time.monotonic() + 0.05
    made.at(later)
    gevent.sleep(0.1)
    made.close()
    made.close()
    assert len(rung) == 1
    assert rung[0] >= later


def test_the_best_is_taken() -> None:
    made = alarm(lambda: None)
    assert isinstance(made, KINDS[-1])
    made.close()
