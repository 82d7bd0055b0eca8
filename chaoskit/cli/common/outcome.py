"""What a finished run comes to, for people: verdict first, then every finding with its reason, then shut gates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chaoskit.cli.console import Screen, mark_of
from chaoskit.errors import Exit
from chaoskit.model.repeats import merge_repeats
from chaoskit.model.run import Run
from chaoskit.reporters.answer import answer, measure_text, measured_text
from chaoskit.reporters.failure import Failure

__all__ = ["tell_repeats", "tell_run", "tell_suite"]

_WIDEST = 56
"""Columns are not made wider than this for one long claim."""


def tell_run(screen: Screen, run: Run) -> None:
    """Verdict, findings and why, gates that are shut, what is left, and where the report is."""
    mark, style = mark_of(run.verdict)
    expected = " as expected" if run.as_expected else f", expected {run.expected}"
    if run.as_expected and run.variant is None:
        expected = ""
    screen.always((f"{mark} {run.verdict}", f"bold {style}"), f"{expected}  {_name(run)}")
    if screen.quiet:
        return
    screen.line((answer(run), "italic"), indent=2)
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*_cells(run), strict=True)]
    for finding, cells in zip(run.findings, _cells(run), strict=True):
        mark, style = mark_of(finding.verdict)
        row = "  ".join(text.ljust(width) for text, width in zip(cells, widths, strict=True)).rstrip()
        screen.line((f"{mark} ", style), row, indent=2)
        screen.line((finding.because, "" if finding.verdict != "supported" else "dim"), indent=6)
    shut = [gate for gate in run.gates if not gate.open]
    for gate in shut:
        screen.line(("gate shut: ", "yellow"), f"{gate.gate}: {gate.because}", indent=2)
    if run.gates and not shut:
        screen.line((f"all {len(run.gates)} gates open: {', '.join(gate.gate for gate in run.gates)}", "dim"), indent=2)
    for undo in run.undo_left:
        screen.always(("may still be in place: ", "bold red"), undo.says or undo.id, "  (chaoskit recover)", indent=2)
    for note in run.notes:
        screen.line((f"note: {note}", "dim"), indent=2)
    report = Path(run.folder) / "report.html"
    if run.folder:
        screen.line("report: ", (str(report if report.exists() else run.folder), "underline"), indent=2)
    screen.line()


def tell_suite(screen: Screen, runs: Sequence[Run], failed: Sequence[Failure], code: Exit) -> None:
    """All runs in one table, where there were several."""
    if len(runs) + len(failed) < 2:
        return
    held = sum(run.as_expected for run in runs)
    screen.line((f"{held} of {len(runs) + len(failed)} runs as expected", "bold green" if code == 0 else "bold"))
    for run in runs:
        mark, style = ("✓", "green") if run.as_expected else mark_of(run.verdict)
        wanted = "" if run.as_expected else f", expected {run.expected}"
        screen.line((f"{mark if run.as_expected else '!'} ", style), f"{run.verdict}{wanted}  {_name(run)}", indent=2)
    for one in failed:
        screen.line(("! ", "red"), f"{one.says}  {one.name}: {one.error.message.splitlines()[0]}", indent=2)


def tell_repeats(screen: Screen, runs: Sequence[Run]) -> None:
    """What the runs of one experiment come to together, each claim with the run as the unit. Runs that could not tell
    (a shut gate) are left out, and said so."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_name(run), []).append(run)
    for name, same in groups.items():
        told = [run for run in same if all(gate.open for gate in run.gates)]
        if len(same) < 2 or not told:
            continue
        left_out = f", {len(same) - len(told)} left out for a shut gate" if len(told) < len(same) else ""
        screen.line((f"{len(told)} runs of {name} together{left_out}", "bold"))
        for merged in merge_repeats([run.findings for run in told]):
            mark, style = ("!", "bold yellow") if merged.flips else mark_of(merged.verdict)
            parts = [merged.hypothesis, merged.because]
            if merged.measured is not None:
                parts.append(f"mean {measure_text(merged.measured, merged.unit)}")
            if merged.interval is not None:
                low, high = (measure_text(end, merged.unit) for end in merged.interval)
                parts.append(f"95% sure: {low} to {high}")
            screen.line((f"{mark} ", style), "  ".join(parts), indent=2)


def _cells(run: Run) -> list[tuple[str, str, str]]:
    rows = []
    for finding in run.findings:
        phase = f" in {finding.phase}" if finding.phase else ""
        rows.append((finding.hypothesis, f"{finding.expected}{phase}", measured_text(finding)))
    return rows


def _name(run: Run) -> str:
    return f"{run.title} [{run.variant}]" if run.variant else run.title
