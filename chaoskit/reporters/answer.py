"""The answer of a run in one sentence, and its numbers as people write them: the words that all reporters share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaoskit.errors import Exit
from chaoskit.model.history import Span
from chaoskit.model.run import Run
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["again", "answer", "exit_code", "interval_text", "measure_text", "measured_text", "span_text", "verdict_of"]


def answer(run: Run) -> str:
    """What a reader takes away if they read only one sentence."""
    if run.error:
        return f"The run could not be carried out: {_sentence(run.error)}"
    aborted = next((found for found in run.findings if found.aborted and found.verdict is Verdict.REFUTED), None)
    if aborted is not None:
        return _sentence(aborted.because)
    if run.interrupted:
        return "The run was interrupted, so it cannot tell."
    if run.verdict is Verdict.INCONCLUSIVE and not run.findings and all(gate.open for gate in run.gates):
        bitten = f"; {_count(len(run.faults), 'fault')} went in, bit, and came out again" if run.faults else ""
        return f"No question was asked, so there is nothing to judge{bitten}."
    if run.verdict is Verdict.INCONCLUSIVE:
        return f"The run cannot tell: {_sentence(_why_not(run))}"
    if run.verdict is Verdict.REFUTED:
        broken = [found.because for found in run.findings if found.verdict is Verdict.REFUTED]
        return _sentence(broken[0]) if broken else "A hypothesis was refuted."
    count = len(run.findings)
    if not count:
        return "Nothing was claimed, and the run could have told."
    every = "The one hypothesis" if count == 1 else f"All {count} hypotheses"
    proven = " while the faults were proven to bite" if run.faults else ""
    return f"{every} held{proven}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")


def _why_not(run: Run) -> str:
    shut = next((gate for gate in run.gates if not gate.open), None)
    if shut is not None:
        return shut.because
    unsure = next((found for found in run.findings if found.verdict is Verdict.INCONCLUSIVE), None)
    return unsure.because if unsure is not None else "nothing was claimed"


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def exit_code(run: Run) -> Exit:
    """The exit code that one run stands for."""
    if run.undo_left:
        return Exit.UNDO_LEFT
    if run.interrupted:
        return Exit.INTERRUPTED
    if run.error:
        return Exit.COULD_NOT_RUN
    if run.as_expected:
        return Exit.AS_EXPECTED
    return Exit.INCONCLUSIVE if run.verdict is Verdict.INCONCLUSIVE else Exit.REFUTED


def verdict_of(code: Exit) -> Verdict:
    """The one verdict over several runs whose merged exit code this is."""
    if code is Exit.AS_EXPECTED:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if code is Exit.REFUTED else Verdict.INCONCLUSIVE


def again(run: Run) -> str:
    """The command that runs it again; empty for an experiment that was made in Python."""
    if not run.experiment:
        return ""
    variant = f" --variant {run.variant}" if run.variant else ""
    return f"chaoskit run {run.experiment}{variant} --seed {run.seed}"


def measure_text(value: float | None, unit: str) -> str:
    """A value in its unit: `101 ms`, `12.5%`, `80/s`, `1.8×`; `–` where there is none."""
    if value is None or value != value:
        return "–"
    if unit == "s":
        return duration_text(value)
    if unit == "share":
        return f"{value * 100:.3g}%"
    if value in (float("inf"), float("-inf")):
        return "∞"
    number = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{number}{unit.removeprefix('1')}" if unit in ("1/s", "×", "%") else f"{number} {unit}".rstrip()


def interval_text(finding: Finding) -> str:
    """`95 ms … 120 ms`; empty where the finding has no interval."""
    if finding.interval is None:
        return ""
    low, high = (measure_text(end, finding.unit) for end in finding.interval)
    return f"{low} … {high}"


def measured_text(finding: Finding) -> str:
    """What was measured, with its interval where there is one."""
    text = measure_text(finding.measured, finding.unit)
    interval = interval_text(finding)
    return f"{text} ({interval})" if interval else text


def span_text(spans: Sequence[Span] | Iterable[Span]) -> str:
    """`8.0–18.0 s`, several separated by commas."""
    return ", ".join(f"{start:.1f}–{end:.1f} s" if end > start else f"{start:.1f} s" for start, end in spans)
