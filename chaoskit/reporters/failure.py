"""What did not come to a run: a file that is wrong, or an experiment that could not be carried out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chaoskit.errors import ChaoskitError, Exit, FileError, Problem

__all__ = ["Failure", "refusals"]


@dataclass(frozen=True)
class Failure:
    """One of them. `name` is the run's, or the file's; `file` is the experiment's, empty where there is none."""

    name: str
    error: ChaoskitError
    file: str = ""

    @property
    def says(self) -> str:
        """In two or three words."""
        if self.error.exit_code is Exit.UNDO_LEFT:
            return "a fault may be left"
        return "refused" if self.error.exit_code is Exit.USAGE else "could not run"

    @property
    def problems(self) -> Sequence[Problem]:
        """Each with its place; where the error has none, that is the beginning of the experiment's file."""
        if isinstance(self.error, FileError):
            return self.error.problems
        return [Problem(self.file, 1 if self.file else 0, 0, "", self.error.message, self.error.hint)]

    @property
    def text(self) -> str:
        """All that is known, in lines."""
        hint = f"hint: {self.error.hint}" if self.error.hint else ""
        return "\n".join(part for part in (self.error.message, hint, self.error.detail) if part)


def refusals(error: ChaoskitError) -> list[Failure]:
    """An error before anything ran, as one failure for each file that it is about."""
    if not isinstance(error, FileError):
        return [Failure("chaoskit run", error)]
    files = dict.fromkeys(problem.file for problem in error.problems)
    return [Failure(name, FileError([one for one in error.problems if one.file == name]), name) for name in files]
