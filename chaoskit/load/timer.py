"""Wake up at an instant: a timerfd in the gevent loop, to about 50 µs; loop timers (1 ms) where there is none."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any

from gevent import get_hub

__all__ = ["Alarm", "LoopAlarm", "TimerfdAlarm", "alarm"]

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_FLAGS = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class Alarm:
    """Calls `ring` in the loop at or after the instant given to `at`, once for each."""

    def at(self, instant: float) -> None:
        """Absolute CLOCK_MONOTONIC; replaces the one set before. An instant that has passed rings at once."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class TimerfdAlarm(Alarm):
    """Raises OSError where the platform has no timerfd."""

    def __init__(self, ring: Callable[[], None]) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("timerfd is Linux only")
        library = ctypes.CDLL(None, use_errno=True)
        self._settime = library.timerfd_settime
        self._fd = library.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._pointer = ctypes.byref(self._spec)
        self._ring = ring
        self._watcher: Any = get_hub().loop.io(self._fd, 1)
        self._watcher.start(self._on_ring)

    def at(self, instant: float) -> None:
        value = self._spec.value
        seconds = int(instant)
        value.seconds = seconds
        # 0 and 0 would disarm; rounding up keeps it from ringing early.
        value.nanoseconds = int((instant - seconds) * 1e9) + 1
        if value.nanoseconds >= 1_000_000_000:
            value.seconds, value.nanoseconds = seconds + 1, 0
        self._settime(self._fd, _ABSOLUTE, self._pointer, None)

    def _on_ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # set anew since
        self._ring()

    def close(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None
            os.close(self._fd)


class LoopAlarm(Alarm):
    """On the loop's own timers."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: Any = None

    def at(self, instant: float) -> None:
        self.close()
        # The loop's "now" may be old: without an update the timer would ring early.
        self._timer = get_hub().loop.timer(max(instant - monotonic(), 0.0))
        self._timer.start(self._ring, update=True)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None


def alarm(ring: Callable[[], None]) -> Alarm:
    """The best that this platform has."""
    try:
        return TimerfdAlarm(ring)
    except (OSError, AttributeError):
        return LoopAlarm(ring)
