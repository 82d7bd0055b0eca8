"""What pipelines read of a command, whatever came of it: JUnit XML, a Markdown summary, annotations, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaoskit.errors import ChaoskitError

if TYPE_CHECKING:
    from chaoskit.reporters.failure import Failure
    from chaoskit.runner import Finished

__all__ = ["Outputs"]


@dataclass(frozen=True)
class Outputs:
    """Which of them were asked for. `aside` says that standard output belongs to a document."""

    junit: Path | None
    summary: Path | None
    annotations: str | None
    """`github` (printed) or `gitlab` (a file)."""
    as_json: bool
    aside: bool

    def write(self, finished: Sequence[Finished], failed: Sequence[Failure]) -> None:
        """All but the JSON document. Raises OSError."""
        runs = [one.run for one in finished]
        if self.junit is not None:
            from chaoskit.reporters.junit import junit_text

            self.junit.parent.mkdir(parents=True, exist_ok=True)
            self.junit.write_text(junit_text(runs, failed), encoding="utf-8")
        if self.summary is not None:
            from chaoskit.reporters.markdown import markdown_text, scorecard

            parts = [scorecard(runs, failed)] if len(runs) > 1 or failed else []
            parts += [markdown_text(one.run, one.history) for one in finished]
            self.summary.parent.mkdir(parents=True, exist_ok=True)
            with self.summary.open("a", encoding="utf-8") as file:
                file.write("\n".join(parts) + "\n")
        if self.annotations is not None:
            from chaoskit.reporters.annotations import GITLAB_FILE, github_text, gitlab_text

            if self.annotations == "github":
                click.echo(github_text(runs, failed), nl=False, err=self.aside)
            else:
                Path(GITLAB_FILE).write_text(gitlab_text(runs, failed), encoding="utf-8")

    def print_json(self, finished: Sequence[Finished], failed: Sequence[Failure], *, interrupted: bool = False) -> None:
        """The document, where it was asked for."""
        if self.as_json:
            from chaoskit.reporters.json import result_text

            click.echo(result_text(finished, failed, interrupted=interrupted), nl=False)

    def refused(self, error: ChaoskitError) -> None:
        """Nothing was run: that is what pipelines read then, not what an earlier command left."""
        from chaoskit.reporters.failure import refusals

        failed = refusals(error)
        try:
            self.write([], failed)
        except OSError as unwritten:  # what was wrong at first is the error that counts
            click.echo(f"{unwritten.filename} was not written: {unwritten.strerror}", err=True)
        self.print_json([], failed)
