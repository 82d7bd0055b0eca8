"""The document that machines read: `result.json` of one run, and what `--json` prints for several.

Its shape is a promise: fields may be added within a format version, none changes its meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from chaoskit.errors import Exit, worst_exit
from chaoskit.interfaces import Reporter
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.run import Run
from chaoskit.model.verdict import Finding, Gate
from chaoskit.reporters.answer import answer, exit_code, verdict_of
from chaoskit.reporters.failure import Failure
from chaoskit.reporters.file import write_text

if TYPE_CHECKING:
    from chaoskit.reporters.columns import Ints, LoadColumns

__all__ = ["RESULT_VERSION", "Json", "JsonReporter", "load_section", "result_document", "result_text"]

RESULT_VERSION = 1
"""1: first."""

Json: TypeAlias = Union[str, int, float, bool, Sequence["Json"], Mapping[str, "Json"], None]

JUDGED = (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY, Phase.LOAD)
"""The windows that are told, in their order."""

_QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}


class JsonReporter(Reporter):
    """Writes `result.json`: the run's verdict, gates, findings and load in numbers, for machines."""

    kind = "json"
    file = "result.json"

    def write(self, run: Run, history: History, folder: Path) -> Path:
        return write_text(folder / self.file, result_text([(run, history)]))


def result_text(
    runs: Sequence[tuple[Run, History]], failed: Sequence[Failure] = (), *, interrupted: bool = False
) -> str:
    """The document as text, ending with a newline."""
    document = result_document(runs, failed, interrupted=interrupted)
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def result_document(
    runs: Sequence[tuple[Run, History]], failed: Sequence[Failure] = (), *, interrupted: bool = False
) -> dict[str, Json]:
    """All that machines read of these runs, and of what did not come to one; `interrupted` says that others were still
    to come. Seconds as numbers; null where there is no finite number."""
    codes = [*(exit_code(run) for run, _ in runs), *(one.error.exit_code for one in failed)]
    code = worst_exit([*codes, Exit.INTERRUPTED] if interrupted else codes)
    return {
        "format_version": RESULT_VERSION,
        "verdict": verdict_of(code).value,
        "as_expected": not failed and not interrupted and all(run.as_expected for run, _ in runs),
        "exit_code": int(code),
        "runs": [_run(run, history) for run, history in runs],
        "failed": [_failure(one) for one in failed],
    }


def _failure(failure: Failure) -> dict[str, Json]:
    return {
        "name": failure.name,
        "exit_code": int(failure.error.exit_code),
        "problems": [
            {"file": one.file, "line": one.line, "column": one.column, "path": one.path,
             "message": one.message, "hint": one.hint}
            for one in failure.problems
        ],
    }  # fmt: skip


def _run(run: Run, history: History) -> dict[str, Json]:
    return {
        "id": run.id,
        "title": run.title,
        "experiment": run.experiment,
        "variant": run.variant,
        "seed": run.seed,
        "folder": run.folder,
        "expected": run.expected.value,
        "verdict": run.verdict.value,
        "as_expected": run.as_expected,
        "answer": answer(run),
        "proxy": run.proxy,
        "started": run.started,
        "finished": run.finished,
        "interrupted": run.interrupted,
        "error": run.error,
        "windows": {phase.value: _spans(run.windows[phase.value]) for phase in JUDGED if run.windows.get(phase.value)},
        "faults": [
            {
                "id": fault.id,
                "kind": fault.kind,
                "on": list(fault.on),
                "says": fault.says,
                "injected": fault.injected,
                "in_force": fault.in_force,
                "undone": fault.undone,
            }
            for fault in run.faults
        ],
        "gates": [_gate(gate) for gate in run.gates],
        "findings": [_finding(finding) for finding in run.findings],
        "load": load_section(history),
        "undo_left": [{"id": undo.id, "owner": undo.owner, "says": undo.says} for undo in run.undo_left],
        "notes": list(run.notes),
    }


def _gate(gate: Gate) -> dict[str, Json]:
    return {"gate": gate.gate, "open": gate.open, "because": gate.because, "evidence": _spans(gate.evidence)}


def _finding(finding: Finding) -> dict[str, Json]:
    return {
        "hypothesis": finding.hypothesis,
        "kind": finding.kind,
        "verdict": finding.verdict.value,
        "because": finding.because,
        "phase": finding.phase,
        "expected": finding.expected,
        "measured": _number(finding.measured),
        "unit": finding.unit,
        "interval": None if finding.interval is None else [_number(end) for end in finding.interval],
        "bound": _number(finding.bound),
        "samples": finding.samples,
        "lane": finding.lane,
        "evidence": _spans(finding.evidence),
        "aborted": finding.aborted,
    }


def load_section(history: History) -> dict[str, Json]:
    """Counts and quantiles by request name and phase; names that were not planned in a phase are left out of it."""
    from chaoskit.reporters.columns import LoadColumns

    phases = [phase for phase in JUDGED if history.windows.get(phase)]
    columns = LoadColumns(history.load().entries)
    window = columns.phase_index([history.windows[phase] for phase in phases])
    found: dict[str, Json] = {}
    for first in range(0, len(columns.names), _AT_ONCE):
        found.update(_load(columns, window, history, phases, columns.names[first : first + _AT_ONCE], first))
    return found


_AT_ONCE = 100
"""Names whose histograms are held at once: experiments have had thousands."""


def _load(
    columns: LoadColumns, window: Ints, history: History, phases: Sequence[Phase], names: Sequence[str], first: int
) -> dict[str, Json]:
    """The section of some names; the first of them is the `first` of all."""
    import numpy as np

    from chaoskit.reporters.columns import quantiles

    mine = (window >= 0) & (columns.name >= first) & (columns.name < first + len(names))
    group = np.where(mine, (columns.name - first) * len(phases) + window, -1)
    groups = len(names) * len(phases)

    def total(values: Ints) -> list[int]:
        return [int(value) for value in np.bincount(group[mine], weights=values[mine], minlength=groups)]

    planned, failures = total(columns.requests), total(columns.failures)
    counts = {
        "requests": planned,
        "succeeded": total(columns.ok),
        "failures": total(columns.failed),
        "unfinished": total(columns.unfinished),
        "dropped": total(columns.dropped),
        "reconnects": total(columns.reconnects),
    }
    answered = total(columns.ok + columns.failed)
    above = np.array(failures, dtype=np.int64)
    times = {}
    for measure, records in (
        ("response", columns.response),
        ("service", columns.service),
        ("send_lag", columns.send_lag),
    ):
        matrix, lowest = records.matrix(group, groups)
        times[measure] = quantiles(matrix, lowest, tuple(_QUANTILES.values()), above if measure != "send_lag" else None)
    causes: list[dict[str, int]] = [{} for _ in range(groups)]
    for cause, rows in columns.cause_rows(mine).items():
        for row, count in rows:
            told = causes[group[row]]
            told[cause] = told.get(cause, 0) + count
    seconds = [sum(end - start for start, end in history.windows[phase]) for phase in phases]
    found: dict[str, Json] = {}
    for number, name in enumerate(names):
        told_phases: dict[str, Json] = {}
        for place, phase in enumerate(phases):
            i = number * len(phases) + place
            if planned[i]:
                told_phases[phase.value] = {
                    **{key: values[i] for key, values in counts.items()},
                    "rate": _number(answered[i] / seconds[place]),
                    **{
                        measure: {q: _number(float(values[row, i])) for row, q in enumerate(_QUANTILES)}
                        for measure, values in times.items()
                    },
                    "causes": causes[i],
                }
        if told_phases:
            found[name] = told_phases
    return found


def _spans(spans: Sequence[Span]) -> list[Json]:
    return [[start, end] for start, end in spans]


def _number(value: float | None) -> float | None:
    """Six significant digits, null for what JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")
