"""End runs of other processes: asked, then by their guardian, then by force, then from their journals.

SIGTERM to the harness ─10 s─► SIGTERM to its guardian, which takes over ─15 s─► SIGKILL to both ─► recover
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from chaoskit.errors import UsageError
from chaoskit.journal import Left, journals, read
from chaoskit.processes import ProcessId, running
from chaoskit.recover import Recovered, recover

__all__ = ["Stopped", "stop_runs"]

_ASKED = 10.0
_TAKEN_OVER = 15.0
_KILLED = 5.0
_FINISHED = 5.0
"""Seconds that each way gets; the last are for reports, which a harness writes when everything is down."""
_LOOK = 0.05


@dataclass
class Stopped:
    """What became of one run."""

    run: str
    label: str
    was_on: bool
    """Whether it was still going on; else something was left of it."""
    took: float
    """Seconds until nothing was left."""
    how: str
    """`asked` · `by its guardian` · `killed` · `recovered`."""
    recovered: Recovered | None = None

    @property
    def clean(self) -> bool:
        return self.recovered is None or self.recovered.clean


def stop_runs(
    wanted: Collection[str] | None = None, *, tell: Callable[[str], None] = lambda _text: None
) -> list[Stopped]:
    """End these runs of this user (None: all), and wait until nothing is left of them. `tell` hears what is waited for.

    Raises UsageError where there is no run of such an id.
    """
    found = [left for left in journals() if wanted is None or left.run in wanted]
    found = [left for left in found if os.getpid() not in {process.pid for process in left.in_charge()}]
    if wanted is not None and (missing := set(wanted) - {left.run for left in found}):
        known = ", ".join(left.run for left in journals()) or "none"
        raise UsageError(f"no run {min(missing)!r} is going on", hint=f"there are: {known}")
    ways = (
        ("asked", _ASKED, ""),
        ("by its guardian", _TAKEN_OVER, "does not answer: its guardian takes over"),
        ("killed", _KILLED, "goes on: it is killed"),
    )
    began = time.monotonic()
    on = [left for left in found if left.in_progress]
    ended: dict[str, tuple[str, float]] = {}
    for way, patience, said in ways:
        for left in (still := [left for left in on if left.run not in ended]):
            if said:
                tell(f"{left.run} {said}")
            _send_way(left, way)
        for run in _await_runs(still, patience):
            ended[run] = (way, time.monotonic() - began)
    done = [_finished(left, left in on, *ended.get(left.run, ("recovered", 0.0))) for left in found]
    _await_harnesses([left.harness for left in on if left.harness is not None])
    return done


def _send_way(left: Left, way: str) -> None:
    if way == "by its guardian":
        _send(left.guardian, signal.SIGTERM)
    else:
        _send(left.harness, signal.SIGTERM if way == "asked" else signal.SIGKILL)
    if way == "killed":
        _send(left.guardian, signal.SIGKILL)  # the kernel ends what it launched; its journal is recovered below


def _await_runs(runs: Sequence[Left], patience: float) -> Iterator[str]:
    """Each run as soon as it is over, until all are or it takes too long."""
    until = time.monotonic() + patience
    left = {run.run for run in runs}
    while left and time.monotonic() < until:
        over = [run for run in left if not _on(run)]
        left.difference_update(over)
        yield from over
        if left:
            time.sleep(_LOOK)


def _finished(left: Left, was_on: bool, how: str, took: float) -> Stopped:
    """Recover what its journal says is left, where it still says something."""
    began = time.monotonic()
    recovered = None
    if _journal(left.run) is not None:
        try:
            recovered = recover(left.run)
        except UsageError as error:  # it goes on whatever was done, or its journal was refused just now
            recovered = Recovered(left.run, left.label, in_progress=_on(left.run))
            recovered.left += [(undo, error.message) for undo in left.undos]
    return Stopped(left.run, left.label, was_on, took + time.monotonic() - began, how, recovered)


def _on(run: str) -> bool:
    left = _journal(run)
    return left is not None and left.in_progress


def _journal(run: str) -> Left | None:
    try:
        return read(run)
    except UsageError:  # gone with its run; one that is refused was passed over by `journals` already
        return None


def _send(process: ProcessId | None, number: int) -> None:
    """A signal to exactly this process, which hears it also where it is stopped."""
    if process is None or not running(process):
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)
        os.kill(process.pid, signal.SIGCONT)


def _await_harnesses(harnesses: Sequence[ProcessId]) -> None:
    """A harness writes its reports when everything is down. One that goes on belongs to somebody (a test session)."""
    until = time.monotonic() + _FINISHED
    while any(running(process) for process in harnesses) and time.monotonic() < until:
        time.sleep(_LOOK)
