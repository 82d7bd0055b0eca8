"""Looks at many places again and again, each in a thread of its own and on a schedule of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

__all__ = ["Look", "look_around", "until_next"]

Look = Callable[[float, threading.Event], None]
"""One look, begun at an instant (absolute CLOCK_MONOTONIC). Says nothing any more once the event is set."""

_PATIENCE = 0.2


def until_next(began: float, every: float, now: float) -> float:
    """Seconds until the next instant of the schedule began + k·every: those that were missed are let go."""
    return every - (now - began) % every


def look_around(looks: Mapping[str, Look], every: float, stop: threading.Event) -> None:
    """Carry out every look (by its name) each `every` seconds until `stop`.

    One that hangs keeps no other from its time and is never begun twice at once; at the end it is not waited for.
    Their times are spread over the interval: all at once they would be a burst that the target feels.
    """
    began = time.monotonic()

    def work(look: Look, first: float) -> None:
        stop.wait(max(0.0, first - time.monotonic()))
        while not stop.is_set():
            look(time.monotonic(), stop)
            stop.wait(until_next(first, every, time.monotonic()))

    threads = [
        threading.Thread(target=work, args=(look, began + every * place / len(looks)), name=name, daemon=True)
        for place, (name, look) in enumerate(looks.items())
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    until = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
