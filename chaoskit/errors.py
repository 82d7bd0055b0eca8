"""Every error that ends a command, as one tree; each class knows its exit code.

    ChaoskitError
    ├── UsageError (2)            a flag, a name or a combination that makes no sense
    │   └── FileError (2)         a file that does not say what it should: carries every Problem found in it
    ├── CouldNotRun (4)           the experiment could not be carried out
    │   ├── DeployError (4)       a service did not start, get ready, or stay up
    │   ├── ProxyError (4)        a Toxiproxy (ours or another) is not there or refused
    │   ├── LoadError (4)         the load worker could not start or died
    │   ├── MissingPart (4)       something that was asked for is not on this machine
    │   └── CouldNotTell (3)      the run can go on no further without becoming meaningless: a shut gate, not a failure
    └── UndoError (5)             a fault may still be in place

Codes over several runs merge with `worst_exit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "ChaoskitError",
    "CouldNotRun",
    "CouldNotTell",
    "DeployError",
    "Exit",
    "FileError",
    "LoadError",
    "MissingPart",
    "Problem",
    "ProxyError",
    "UndoError",
    "UsageError",
    "worst_exit",
]


class Exit(IntEnum):
    """What a command's exit code says."""

    AS_EXPECTED = 0
    REFUTED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    COULD_NOT_RUN = 4
    UNDO_LEFT = 5
    INTERRUPTED = 130


_LEFTMOST = (
    Exit.UNDO_LEFT,
    Exit.INTERRUPTED,
    Exit.COULD_NOT_RUN,
    Exit.USAGE,
    Exit.REFUTED,
    Exit.INCONCLUSIVE,
    Exit.AS_EXPECTED,
)


def worst_exit(codes: Iterable[int]) -> Exit:
    """Merge the codes of several runs: the leftmost of 5, 130, 4, 2, 1, 3, 0 that occurred."""
    seen = set(codes)
    return next((code for code in _LEFTMOST if code in seen), Exit.AS_EXPECTED)


class ChaoskitError(Exception):
    """What went wrong, and what to do about it. `cli` prints it and exits with `exit_code`."""

    exit_code: Exit = Exit.COULD_NOT_RUN

    def __init__(self, message: str, *, hint: str = "", detail: str = "") -> None:
        """`hint` says what to do next; `detail` is shown verbatim (a log's tail)."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UsageError(ChaoskitError):
    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file. `line` and `column` count from 1; 0 where there is no position."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}:{key} {self.message}{hint}"


class FileError(UsageError):
    """A file with problems: all of them, in the order of their lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class CouldNotRun(ChaoskitError):
    exit_code = Exit.COULD_NOT_RUN


class DeployError(CouldNotRun):
    pass


class ProxyError(CouldNotRun):
    pass


class LoadError(CouldNotRun):
    pass


class MissingPart(CouldNotRun):
    pass


class CouldNotTell(CouldNotRun):
    """A fault cannot go in meaningfully. The runner makes a shut gate of it; the message says what it would take."""

    exit_code = Exit.INCONCLUSIVE


class UndoError(ChaoskitError):
    exit_code = Exit.UNDO_LEFT
