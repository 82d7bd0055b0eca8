"""Undo what runs have left behind, from their journals alone: by hand, at the next run, and for the guardian.

Faults first, then processes, then what must wait for them (data folders). Doing it twice is the same as once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from chaoskit.errors import ChaoskitError, CouldNotRun, Exit, UsageError
from chaoskit.journal import Journal, JournaledProcess, Left, forget, journals, lock, read
from chaoskit.model.undo import Undo
from chaoskit.processes import RUN_MARK, Ending, end_all, marked, running, send, table
from chaoskit.registry import undo_owner

__all__ = ["Recovered", "main", "recover", "recover_after_guardian", "recover_all"]

_GRACE = 0.7
_PATIENCE = 10.0
_PASSES = 2.0  # between two sweeps: something may appear after whoever asked for it has died


@dataclass(slots=True)
class Recovered:
    """What was done about one journal."""

    run: str
    label: str = ""
    undone: list[Undo] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    """Names of processes that were still there."""
    left: list[tuple[Undo, str]] = field(default_factory=list)
    """What may still be in place, and why."""
    still_running: list[int] = field(default_factory=list)
    """Pids that did not end."""
    in_progress: bool = False
    """The run goes on: nothing was done."""

    @property
    def clean(self) -> bool:
        return not (self.left or self.still_running or self.in_progress)


def recover_all() -> list[Recovered]:
    """Undo what every run that is over has left; runs in progress are told apart and not touched."""
    return [_recover(left.run) for left in journals()]


def recover(run: str) -> Recovered:
    """Undo what this run has left. Raises UsageError where there is no such journal, or the run is in progress."""
    left = read(run)
    done = _recover(run)
    if done.in_progress:
        pids = ", ".join(str(process.pid) for process in left.in_charge())
        raise UsageError(f"run {run} is still going on (process {pids})", hint=f"chaoskit stop {run}")
    return done


def recover_after_guardian(run: str) -> Recovered:
    """For the harness of a run whose guardian died: undo what that has not. Nothing to do where it did it all."""
    return Recovered(run) if _gone(run) else _recover(run, in_charge=True)


def _recover(run: str, *, in_charge: bool = False, by_guardian: bool = False) -> Recovered:
    """`in_charge`: this is the run's harness, or its guardian started us. The guardian forgets the journal itself, and
    finds by descent what a sweep would."""
    done = Recovered(run)
    try:
        with lock(run):
            left = read(run)
            done.label = left.label
            if not in_charge and left.in_progress:
                done.in_progress = True
                return done
            journal = Journal.append_to(run)
            try:
                _undo_all(left, journal, done, sweep=not by_guardian)
            finally:
                journal.close()
            if done.clean and not by_guardian:
                forget(run)
    except UsageError:
        if not _gone(run):
            raise  # refused, not merely recovered by somebody else in the meantime
    return done


def _gone(run: str) -> bool:
    return run not in {left.run for left in journals()}


def _undo_all(left: Left, journal: Journal, done: Recovered, *, sweep: bool) -> None:
    owners = {undo.owner: undo_owner(undo.owner) for undo in left.undos}
    newest_first = left.undos[::-1]
    waiting = [undo for undo in newest_first if getattr(owners[undo.owner], "after_processes", False)]
    for undo in newest_first:
        if undo not in waiting:
            _apply(undo, owners[undo.owner], journal, done)
    if left.this_boot:
        _end_processes(left.run, left.processes, journal, done, sweep=sweep)
    for undo in waiting:
        _apply(undo, owners[undo.owner], journal, done)


def _apply(undo: Undo, owner: type[Any] | None, journal: Journal, done: Recovered) -> None:
    if owner is None:
        done.left.append((undo, f"nothing here knows how to undo {undo.owner!r}"))
        return
    try:
        owner.apply_undo(undo, None)
    except Exception as error:  # noqa: BLE001 - the others must still be undone; this one is reported as left
        done.left.append((undo, str(error) or type(error).__name__))
        return
    done.undone.append(undo)
    with suppress(CouldNotRun):  # a full disk: then it is undone again the next time, which changes nothing
        journal.done(undo.id)


def _end_processes(
    run: str, processes: Sequence[JournaledProcess], journal: Journal, done: Recovered, *, sweep: bool
) -> None:
    numbers = {item.process: item.child for item in processes}
    done.ended += [item.name for item in processes if running(item.process)]
    endings = [Ending(item.process, f"{run}/{item.child}", item.stop_signal, _GRACE) for item in processes]
    stubborn = set(end_all(endings, _PATIENCE))
    done.still_running += [process.pid for process in stubborn]
    with suppress(CouldNotRun):  # a full disk: start times protect whoever has those pids the next time
        for process in numbers.keys() - stubborn:
            journal.gone(numbers[process])
    if not sweep:
        return
    passes = 0
    until = time.monotonic() + _PATIENCE
    while passes < 2 and time.monotonic() < until:
        strays = marked(RUN_MARK, run, table()) - {os.getpid()}
        send(strays, signal.SIGKILL)
        passes = 0 if strays else passes + 1
        if passes < 2:
            time.sleep(0.05 if strays else _PASSES)


def main() -> None:
    """What the guardian starts: `python -m chaoskit.recover RUN`. It ends the processes that are left itself too."""
    try:
        done = _recover(sys.argv[1], in_charge=True, by_guardian=True)
    except ChaoskitError as error:
        print(error, file=sys.stderr)  # noqa: T201 - goes to the guardian's log
        sys.exit(error.exit_code)
    for undo, because in done.left:
        print(f"not undone: {undo.says or undo.id}: {because}", file=sys.stderr)  # noqa: T201 - the same
    sys.exit(Exit.UNDO_LEFT if done.left else Exit.AS_EXPECTED)


if __name__ == "__main__":
    main()
