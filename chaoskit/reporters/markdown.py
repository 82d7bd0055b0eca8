"""A summary in Markdown, for the step summaries and merge-request comments of CI."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from chaoskit.errors import Exit, FileError, Problem
from chaoskit.interfaces import Reporter
from chaoskit.model.history import History, Phase
from chaoskit.model.run import Run
from chaoskit.model.verdict import Verdict
from chaoskit.reporters.answer import again, answer, measure_text, measured_text
from chaoskit.reporters.failure import Failure
from chaoskit.reporters.file import write_text

__all__ = ["MarkdownReporter", "markdown_text", "scorecard"]

MARKS = {Verdict.SUPPORTED: "✅", Verdict.REFUTED: "❌", Verdict.INCONCLUSIVE: "⚠️"}

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&-])")


class MarkdownReporter(Reporter):
    """Writes `summary.md`: verdict, findings, gates and response times as Markdown tables, for CI."""

    kind = "markdown"
    file = "summary.md"

    def write(self, run: Run, history: History, folder: Path) -> Path:
        return write_text(folder / self.file, markdown_text(run, history))


def markdown_text(run: Run, history: History) -> str:
    """The summary of one run."""
    unexpected = "" if run.as_expected else f" (expected {run.expected.value})"
    lines = [
        f"## {MARKS[run.verdict]} {run.verdict.value}{unexpected}: {_inline(run.title)}",
        "",
        f"**{_inline(answer(run))}**",
        "",
    ]
    if run.undo_left:
        lines += ["> **A fault may still be in place.** Take it out with `chaoskit recover`:", ">"]
        lines += [f"> - {_inline(undo.says or undo.id)}" for undo in run.undo_left] + [""]
    if run.findings:
        head = ("", "hypothesis", "expected", "measured", "because")
        lines += [
            *_table(
                head, ((MARKS[f.verdict], f.hypothesis, f.expected, measured_text(f), f.because) for f in run.findings)
            ),
            "",
        ]
    shut = [gate for gate in run.gates if not gate.open]
    if shut:
        lines += ["Shut gates, because of which the run cannot tell:", ""]
        lines += [*_table(("gate", "because"), ((gate.gate, gate.because) for gate in shut)), ""]
    elif run.gates:
        lines += [f"All {len(run.gates)} gates were open.", ""]
    lines += _load_lines(history)
    if run.faults:
        said = "; ".join(f"{fault.says or fault.kind} on {', '.join(fault.on)}" for fault in run.faults)
        lines += [f"Broken: {_inline(said)}", ""]
    lines += [f"- {_inline(note)}" for note in run.notes] + ([""] if run.notes else [])
    if command := again(run):
        lines += [f"Again: {_code(command)}", ""]
    return "\n".join(lines)


def scorecard(runs: Sequence[Run], failed: Sequence[Failure] = ()) -> str:
    """One table over the runs of a suite, and over what did not come to one."""
    head = ("", "question", "variant", "verdict", "expected", "answer")
    rows = [
        (
            MARKS[run.verdict] if run.as_expected else "❗",
            run.title,
            run.variant or "",
            run.verdict.value,
            run.expected.value,
            answer(run),
        )
        for run in runs
    ]
    # A file's problem says where it is; the name of a run says which one it was.
    rows += [("❗", one.name, "", one.says, "", _told(one, problem)) for one in failed for problem in one.problems]
    held, asked = sum(run.as_expected for run in runs), len(runs) + len(failed)
    refused = not runs and all(one.error.exit_code is Exit.USAGE for one in failed)
    title = "❗ nothing was run" if refused else f"{held} of {asked} runs as expected"
    return "\n".join([f"## {title}", "", *_table(head, rows), ""])


def _told(failure: Failure, problem: Problem) -> str:
    return str(problem) if isinstance(failure.error, FileError) else problem.message


def _load_lines(history: History) -> list[str]:
    rows = []
    for phase in (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY, Phase.LOAD):
        load = history.during(phase).load()
        if load.requests:
            quantiles = [measure_text(load.percentile(q), "s") for q in (0.5, 0.95, 0.99)]
            counts = (phase.value, str(load.requests), measure_text(load.answered_rate, "1/s"))
            rows.append((*counts, measure_text(load.error_rate, "share"), *quantiles))
    if not rows:
        return []
    return [*_table(("phase", "requests", "answered", "errors", "p50", "p95", "p99"), rows), ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(' --- ' for _ in head)}|"]
    return lines + [f"| {' | '.join(_inline(cell) for cell in row)} |" for row in rows]


def _inline(text: str) -> str:
    """Text that no Markdown reader takes for markup, a mention or a link."""
    flat = " ".join(text.split())
    return _SPECIAL.sub(r"\\\1", flat).replace("@", "@\u200b").replace("://", ":\u200b//")


def _code(text: str) -> str:
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence}{text}{fence}" if "`" not in text else f"{fence} {text} {fence}"
