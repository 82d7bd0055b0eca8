"""Timers that never fire early and seldom late: a heap of deadlines behind one timerfd.

libuv and epoll count in whole milliseconds, so a loop's own timer is up to a millisecond off in either direction.
A timerfd has the kernel's resolution. Where there is none (macOS), the loop's timers serve, armed again when early.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import os
import sys
from collections.abc import Callable
from itertools import count
from time import monotonic

__all__ = ["Timer", "Timers"]

_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_MONOTONIC = 1


class _Timespec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("s", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


class Timer:
    """One deadline. `cancel` is free; a cancelled timer leaves the heap when its time comes."""

    __slots__ = ("call", "due")

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Timers:
    """All timers of one event loop; use from its thread only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._armed = float("inf")
        self._handle: asyncio.TimerHandle | None = None
        self._fd = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
            self._spec = _Timespec(0, 0, 0, 0)
            self._spec_at = ctypes.byref(self._spec)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._fired)

    def at(self, due: float, call: Callable[[], None]) -> Timer:
        """Call once `monotonic()` has reached `due`."""
        timer = Timer(due, call)
        heapq.heappush(self._heap, (due, next(self._numbers), timer))
        if due < self._armed:
            self._arm(due)
        return timer

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        return self.at(monotonic() + seconds, call)

    def close(self) -> None:
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _arm(self, due: float) -> None:
        self._armed = due
        if self._fd >= 0:
            # An absolute time of zero would disarm: anything in the past fires at once.
            self._spec.s, self._spec.ns = divmod(max(1, int(due * 1e9)), 1_000_000_000)
            self._libc.timerfd_settime(self._fd, _ABSOLUTE, self._spec_at, None)
            return
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_later(max(0.0, due - monotonic()), self._fired)

    def _fired(self) -> None:
        if self._fd >= 0:
            try:
                os.read(self._fd, 8)
            except BlockingIOError:
                pass  # armed anew between its expiry and this call
        self._armed = float("inf")
        heap = self._heap
        now = monotonic()
        while heap and (heap[0][0] <= now or heap[0][2].call is None):
            call = heapq.heappop(heap)[2].call
            if call is not None:
                call()
        if heap and heap[0][0] < self._armed:
            self._arm(heap[0][0])
