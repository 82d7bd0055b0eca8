"""The document that machines read: `result.json` of one run, and what `--json` prints for several.

Its shape is a promise: fields may be added within a format version, none changes its meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, Union

from chaoskit.errors import worst_exit
from chaoskit.interfaces import Reporter
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.load_view import LoadView, Measure
from chaoskit.model.run import Run
from chaoskit.model.verdict import Finding, Gate
from chaoskit.reporters.answer import answer, exit_code, verdict_of
from chaoskit.reporters.file import write_text

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


def result_text(runs: Sequence[tuple[Run, History]]) -> str:
    """The document as text, ending with a newline."""
    return json.dumps(result_document(runs), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def result_document(runs: Sequence[tuple[Run, History]]) -> dict[str, Json]:
    """All that machines read of these runs. Seconds as numbers; null where there is no finite number."""
    code = worst_exit(exit_code(run) for run, _ in runs)
    return {
        "format_version": RESULT_VERSION,
        "verdict": verdict_of(code).value,
        "as_expected": all(run.as_expected for run, _ in runs),
        "exit_code": int(code),
        "runs": [_run(run, history) for run, history in runs],
    }


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
        "samples": finding.samples,
        "lane": finding.lane,
        "evidence": _spans(finding.evidence),
        "aborted": finding.aborted,
    }


def load_section(history: History) -> dict[str, Json]:
    """Counts and quantiles by request name and phase; names that were not planned in a phase are left out of it."""
    by_phase = {phase: _by_name(history.during(phase).load()) for phase in JUDGED if history.windows.get(phase)}
    return {
        name: {phase.value: _load(views[name]) for phase, views in by_phase.items() if name in views}
        for name in history.load_names()
        if any(name in views for views in by_phase.values())
    }


def _by_name(view: LoadView) -> dict[str, LoadView]:
    # One pass, where a view for each name would be one pass each: experiments have had thousands of names.
    found: dict[str, LoadView] = {}
    for entry in view.entries:
        name = entry[1].name
        if name not in found:
            found[name] = LoadView([], view.spans)
        found[name].entries.append(entry)
    return found


def _load(view: LoadView) -> dict[str, Json]:
    return {
        "requests": view.requests,
        "succeeded": view.ok,
        "failures": view.failed,
        "unfinished": view.unfinished,
        "dropped": view.dropped,
        "rate": _number(view.answered_rate),
        "response": _quantiles(view, "response"),
        "service": _quantiles(view, "service"),
        "send_lag": _quantiles(view, "send_lag"),
        "causes": dict(view.causes.most_common()),
        "reconnects": view.reconnects,
    }


def _quantiles(view: LoadView, of: Measure) -> dict[str, Json]:
    return {name: _number(view.percentile(q, of=of)) for name, q in _QUANTILES.items()}


def _spans(spans: Sequence[Span]) -> list[Json]:
    return [[start, end] for start, end in spans]


def _number(value: float | None) -> float | None:
    """Six significant digits, null for what JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")
