"""What code hosts show beside the lines of an experiment's file: GitHub's workflow commands, GitLab's code quality.

Formats: https://docs.github.com/actions/reference/workflow-commands-for-github-actions (`::error file=…,line=…::…`)
and https://docs.gitlab.com/ci/testing/code_quality/ (a list of findings with fingerprint, severity and location).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chaoskit.document import Document, read_text
from chaoskit.errors import Exit, FileError
from chaoskit.model.run import Run
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.reporters.answer import answer, measured_text
from chaoskit.reporters.failure import Failure

__all__ = ["GITLAB_FILE", "Note", "github_text", "gitlab_text", "notes"]

GITLAB_FILE = "gl-code-quality-report.json"

_GITLAB = {"error": "major", "warning": "minor", "alarm": "blocker"}


@dataclass(frozen=True)
class Note:
    """One remark at a place. `level`: alarm (a fault may be left) · error (refuted, or not to be carried out) · warning
    (cannot tell)."""

    level: str
    title: str
    text: str
    file: str
    line: int
    check: str


def notes(runs: Iterable[Run], failed: Iterable[Failure] = ()) -> Iterator[Note]:
    """What deserves a remark: all that made a run come out otherwise than expected, faults that are left, and what did
    not come to a run."""
    for failure in failed:
        level = "alarm" if failure.error.exit_code is Exit.UNDO_LEFT else "error"
        for problem in failure.problems:
            title = f"{failure.name}: {problem.path or failure.says}"
            text = f"{problem.message} ({problem.hint})" if problem.hint else problem.message
            yield Note(level, title, text, problem.file, max(problem.line, 1), failure.says.replace(" ", "-"))
    for run in runs:
        document = _document(run)
        name = f"{run.title} [{run.variant}]" if run.variant else run.title
        for undo in run.undo_left:
            text = f"a fault may still be in place: {undo.says or undo.id} (chaoskit recover)"
            yield Note("alarm", name, text, run.experiment, 1, "undo")
        if run.as_expected:
            continue
        told = False
        if not (run.expected is Verdict.REFUTED and run.verdict is Verdict.SUPPORTED):
            for gate in run.gates:
                if not gate.open:
                    told = True
                    yield Note("warning", f"{name}: gate {gate.gate} is shut", gate.because, run.experiment, 1, "gate")
            for finding in run.findings:
                if finding.verdict is Verdict.SUPPORTED or (told and finding.verdict is Verdict.INCONCLUSIVE):
                    continue
                told = True
                level = "error" if finding.verdict is Verdict.REFUTED else "warning"
                text = f"{finding.because} (expected {finding.expected}; measured {measured_text(finding)})"
                title = f"{name}: {finding.hypothesis} is {finding.verdict}"
                yield Note(level, title, text, run.experiment, _line(document, finding), finding.kind)
        if not told:
            text = f"{run.verdict}, expected {run.expected}: {answer(run)}"
            yield Note("error", name, text, run.experiment, 1, "verdict")


def github_text(runs: Sequence[Run], failed: Sequence[Failure] = ()) -> str:
    """Workflow commands, one a line; empty where there is nothing to remark."""
    lines = []
    for note in notes(runs, failed):
        where = f"file={_property(note.file)},line={note.line}," if note.file else ""
        level = "warning" if note.level == "warning" else "error"
        lines.append(f"::{level} {where}title={_property(note.title)}::{_data(note.text)}\n")
    return "".join(lines)


def gitlab_text(runs: Sequence[Run], failed: Sequence[Failure] = ()) -> str:
    """A code quality report."""
    found = []
    for note in notes(runs, failed):
        # The same remark keeps its fingerprint from run to run: numbers in the text do not count.
        key = f"{note.file}\0{note.title}\0{note.check}\0{note.line}"
        found.append(
            {
                "description": f"{note.title}: {note.text}",
                "check_name": f"chaoskit/{note.check}",
                "fingerprint": hashlib.sha256(key.encode("utf-8", "replace")).hexdigest(),
                "severity": _GITLAB[note.level],
                "location": {"path": note.file or "experiment", "lines": {"begin": note.line}},
            }
        )
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _document(run: Run) -> Document | None:
    """The experiment as it was written, with places; None where there is no file or it cannot be read again."""
    if not run.experiment or not run.source:
        return None
    try:
        return read_text(run.source, run.experiment)
    except FileError:
        return None


def _line(document: Document | None, finding: Finding) -> int:
    """The line of the hypothesis that a finding is about; 1 where that is not known."""
    data = document.data if document is not None else None
    claims = data.get("hypotheses") if isinstance(data, dict) else None
    if document is None or not isinstance(claims, list):
        return 1
    for index, claim in enumerate(claims):
        if isinstance(claim, dict) and finding.hypothesis in (claim.get("name"), claim.get("kind")):
            place = document.places.get(("hypotheses", index))
            return place.value[0] if place is not None else 1
    return 1


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
