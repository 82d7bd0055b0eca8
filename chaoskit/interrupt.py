"""Ctrl-C, SIGTERM and SIGHUP as a request to end in good order: undo, take down, report what was seen.

While nothing but waiting goes on, a signal only sets a flag that the run looks at; in a `breakable` stretch (a deploy
that waits for a service) it raises `Interrupted` there. Signals during the clean-up change nothing: it is quick.
The safety lever, pulled while a run goes on, does what a signal does.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from chaoskit.lever import Pulled, pulled

__all__ = ["Interrupt", "Interrupted"]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_LOOK = 0.25
"""Seconds between two looks at the safety lever."""


class Interrupted(Exception):
    """The user asked for the end, in a stretch that may be broken off."""


class Interrupt:
    """Takes over the signals while it is entered (in the main thread; elsewhere only `request` ends a run)."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._breakable = False
        self._before: dict[int, Any] = {}
        self._left = threading.Event()
        self._handling = threading.Lock()
        self._lever: Pulled | None = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for name in _SIGNALS:
                number = getattr(signal, name, None)
                if number is not None:
                    self._before[number] = signal.signal(number, self._on_signal)
        self._left.clear()
        threading.Thread(target=self._watch_lever, name="lever", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        with self._handling:  # whoever raises a signal for the lever must find it handled
            before, self._before = self._before, {}
        for number, handler in before.items():
            signal.signal(number, handler)

    def _watch_lever(self) -> None:
        while not self._left.wait(_LOOK):
            self._lever = pulled()
            if self._lever is None:
                continue
            with self._handling:
                if signal.SIGTERM in self._before:
                    # To the main thread itself: it must hear it also in the middle of a wait.
                    main = threading.main_thread().ident
                    assert main is not None, "it runs"
                    signal.pthread_kill(main, signal.SIGTERM)
                else:
                    self._requested.set()
            return

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._requested.set()
        if self._breakable:
            self._breakable = False  # once: the clean-up that follows is not broken off
            raise Interrupted

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    @property
    def because(self) -> str:
        """Why the end was requested, in words."""
        if self._lever is not None:
            return f"the safety lever was {self._lever}"
        return "the run was interrupted by its user"

    def request(self) -> None:
        """What Ctrl-C does, from another thread."""
        self._requested.set()

    def wait(self, seconds: float) -> bool:
        """Sleep at most so long; whether the end was requested."""
        return self._requested.wait(max(seconds, 0.0))

    @contextlib.contextmanager
    def breakable(self) -> Iterator[None]:
        """A stretch in which a signal raises `Interrupted` (as one that came before does at its start)."""
        if self.requested:
            raise Interrupted
        self._breakable = True
        try:
            yield
        finally:
            self._breakable = False
