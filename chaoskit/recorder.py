"""One queue, one thread: every observation goes to the history file, to memory and to listeners, in that order.

    emit (any thread, absolute clock) ──► queue ──► recorder thread ──┬─► history.jsonl
                                                                      ├─► memory
                                                                      └─► listeners (seconds since warmup began)

Until `begin(t0)` tells when warmup begins, observations wait: before that their place on the run's clock is unknown.
Events are told to listeners at once all the same (people want to know what is being waited for), with `at` = −0.1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType

import msgspec

from chaoskit.model.credentials import Hidden
from chaoskit.model.observation import Event, LoadSlot, MetricPoint, Observation, ProbeResult, TapCall, TapSlot

__all__ = ["Listener", "Recorder", "on_run_clock"]

Listener = Callable[[Observation], None]
"""Called in the recorder's thread with every observation, in the order of arrival. Must be quick."""

_BEFORE = -0.1
_DIGITS = 7
"""0.1 µs: slot starts come out as the multiples of 0.1 that they are."""


def on_run_clock(seen: Observation, t0: float) -> Observation:
    """The same observation with its stamps in seconds since `t0` (absolute CLOCK_MONOTONIC)."""
    at = round(seen.at - t0, _DIGITS)
    if isinstance(seen, LoadSlot):
        ended = None if seen.ended is None else round(seen.ended - t0, _DIGITS)
        return msgspec.structs.replace(seen, at=at, ended=ended)
    if isinstance(seen, TapSlot) and seen.calls:
        return msgspec.structs.replace(seen, at=at, calls=tuple(_call(call, t0) for call in seen.calls))
    return msgspec.structs.replace(seen, at=at)


def _call(call: TapCall, t0: float) -> TapCall:
    end = None if call.end is None else round(call.end - t0, _DIGITS)
    return msgspec.structs.replace(call, start=round(call.start - t0, _DIGITS), end=end)


def _without(hidden: Hidden, seen: Observation) -> Observation:
    """What was seen without values that must not be kept, in all that is text; names stay as they are."""
    if not hidden:
        return seen
    if isinstance(seen, Event):
        about = {key: hidden.text(value) for key, value in seen.about.items()}
        return msgspec.structs.replace(seen, text=hidden.text(seen.text), about=about)
    if isinstance(seen, ProbeResult):
        return msgspec.structs.replace(seen, because=hidden.text(seen.because))
    if isinstance(seen, MetricPoint):
        labels = {key: hidden.text(value) for key, value in seen.labels.items()}
        return msgspec.structs.replace(seen, labels=labels)
    if isinstance(seen, TapSlot) and seen.calls:
        calls = (msgspec.structs.replace(call, path=hidden.text(call.path)) for call in seen.calls)
        return msgspec.structs.replace(seen, calls=tuple(calls))
    return seen


class _Begin:
    def __init__(self, t0: float) -> None:
        self.t0 = t0


class _Mark:
    def __init__(self) -> None:
        self.reached = threading.Event()


class Recorder:
    """Records one run. `emit` is an `interfaces.Emit`; the file holds one JSON observation a line. Values that must not
    be kept (`hidden`) are cut out of each before anybody sees it."""

    def __init__(self, file: Path, hidden: Hidden | None = None) -> None:
        self._file = file
        self._hidden = hidden or Hidden()
        self._queue: SimpleQueue[Observation | _Begin | _Mark | None] = SimpleQueue()
        self._listeners: list[Listener] = []
        self._memory: list[Observation] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def listen(self, listener: Listener) -> None:
        """Add a listener; it hears what is recorded from now on."""
        self._listeners.append(listener)

    def emit(self, seen: Observation) -> None:
        """Take one observation, stamped with absolute CLOCK_MONOTONIC. Any thread; never blocks."""
        self._queue.put(seen)

    def begin(self, t0: float) -> None:
        """Warmup begins at `t0` (absolute CLOCK_MONOTONIC, a multiple of 0.1 s)."""
        self._queue.put(_Begin(t0))

    def flush(self, timeout: float = 10.0) -> None:
        """Return when all that was emitted before is recorded. Raises what the recorder's thread died of."""
        mark = _Mark()
        self._queue.put(mark)
        if not mark.reached.wait(timeout) and self._error is None:
            raise TimeoutError(f"the recorder did not catch up within {timeout:g} s")
        if self._error is not None:
            raise self._error

    def seen(self) -> list[Observation]:
        """What is recorded so far, in the order of arrival."""
        return self._memory.copy()

    def close(self) -> None:
        """Record what is queued, then end; idempotent. Raises what the recorder's thread died of."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _tell(self, seen: Observation) -> None:
        for listener in self._listeners:
            listener(seen)

    def _work(self) -> None:
        encoder = msgspec.json.Encoder()
        t0: float | None = None
        waiting: list[Observation] = []
        try:
            with self._file.open("ab") as file:
                while (item := self._queue.get()) is not None:
                    if isinstance(item, _Mark):
                        file.flush()
                        item.reached.set()
                        continue
                    if isinstance(item, _Begin):
                        t0 = item.t0
                        batch, waiting = waiting, []
                    elif t0 is None:
                        waiting.append(item)
                        if isinstance(item, Event):
                            self._tell(_without(self._hidden, msgspec.structs.replace(item, at=_BEFORE)))
                        continue
                    else:
                        batch = [item]
                    for raw in batch:
                        seen = _without(self._hidden, on_run_clock(raw, t0))
                        file.write(encoder.encode(seen) + b"\n")
                        self._memory.append(seen)
                        if isinstance(item, _Begin) and isinstance(seen, Event):
                            continue  # told when it came
                        self._tell(seen)
        except BaseException as error:  # noqa: BLE001 - handed to whoever flushes or closes
            self._error = error
