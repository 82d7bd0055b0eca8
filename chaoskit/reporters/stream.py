"""A run as it happens, one JSON object a line: for dashboards and pipelines that do not wait for the end.

    begin → phase · second · health · breaker · injected · undone · … → gate · finding → end
    begin → … → failed: it could not be carried out

Every line has `event`, `run` (counted from 1 in one command) and, where it happened at a time, `at` (seconds since
warmup began). Fields may be added; none changes its meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

from chaoskit.model.histogram import Histogram
from chaoskit.model.observation import BreakerChange, Event, LoadSlot, Observation, ProbeResult
from chaoskit.model.run import Run
from chaoskit.reporters.answer import answer
from chaoskit.reporters.json import Json

__all__ = ["STREAM_VERSION", "EventStream"]

STREAM_VERSION = 1
"""1: first."""

_LATE = 0.5
"""Seconds that a second stays open for slots that come late."""


class EventStream:
    """A recorder's listener: hand it every observation of one run. `write` gets whole lines; one thread at a time."""

    def __init__(self, write: Callable[[str], None], *, run: int = 1) -> None:
        self._write = write
        self._run = run
        self._seconds: dict[int, _Second] = {}
        self._told = -1
        self._health: dict[str, bool] = {}

    def begin(self, *, title: str, experiment: str, variant: str | None, seed: int) -> None:
        """The first line of a run."""
        about: dict[str, Json] = {"title": title, "experiment": experiment, "variant": variant, "seed": seed}
        self._line("begin", {"format_version": STREAM_VERSION, **about})

    def __call__(self, seen: Observation) -> None:
        if isinstance(seen, LoadSlot):
            if seen.ended is not None:
                second = math.floor(seen.ended + 1e-6)
                if second > self._told:
                    self._seconds.setdefault(second, _Second()).add(seen)
            return
        self._close(seen.at - 1.0 - _LATE)
        if isinstance(seen, Event):
            self._event(seen)
        elif isinstance(seen, ProbeResult):
            if self._health.get(seen.name) is not seen.ok:
                self._health[seen.name] = seen.ok
                self._line("health", {"at": seen.at, "name": seen.name, "ok": seen.ok, "because": seen.because})
        elif isinstance(seen, BreakerChange):
            self._line("breaker", {"at": seen.at, "edge": seen.edge, "state": seen.state})

    def finish(self, run: Run) -> None:
        """The last lines of a run: gates, findings, verdict."""
        self._close(math.inf)
        for gate in run.gates:
            self._line("gate", {"gate": gate.gate, "open": gate.open, "because": gate.because})
        for finding in run.findings:
            self._line(
                "finding",
                {
                    "hypothesis": finding.hypothesis,
                    "verdict": finding.verdict.value,
                    "phase": finding.phase,
                    "because": finding.because,
                },
            )
        self._line(
            "end",
            {
                "id": run.id,
                "verdict": run.verdict.value,
                "as_expected": run.as_expected,
                "answer": answer(run),
                "folder": run.folder,
            },
        )

    def fail(self, because: str) -> None:
        """The last line of a run that could not be carried out."""
        self._close(math.inf)
        self._line("failed", {"because": because})

    def _event(self, seen: Event) -> None:
        if seen.kind == "phase":
            window: dict[str, Json] = {key: float(seen.about[key]) for key in ("start", "end") if key in seen.about}
            self._line("phase", {"at": seen.at, "phase": seen.text, **window})
        else:
            self._line(seen.kind, {"at": seen.at, "text": seen.text, "about": dict(seen.about)})

    def _close(self, until: float) -> None:
        """Tell the seconds that began at or before `until`."""
        for second in sorted(second for second in self._seconds if second <= until):
            self._line("second", {"at": second, **self._seconds.pop(second).told()})
            self._told = second

    def _line(self, event: str, fields: Mapping[str, Json]) -> None:
        told = {"event": event, "run": self._run, **fields}
        self._write(json.dumps(told, ensure_ascii=False, allow_nan=False) + "\n")


class _Second:
    """Requests that ended in one second."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.response = Histogram()

    def add(self, slot: LoadSlot) -> None:
        self.ok += slot.ok
        self.failed += slot.failed + slot.dropped
        self.response.add_bytes(slot.response)

    def told(self) -> dict[str, Json]:
        """Quantiles over all that ended; null where the rank falls among failures."""
        quantiles = {f"p{q * 100:g}": self.response.quantile(q, above=self.failed) for q in (0.5, 0.95, 0.99)}
        return {
            "succeeded": self.ok,
            "failed": self.failed,
            **{name: float(f"{value:.4g}") if math.isfinite(value) else None for name, value in quantiles.items()},
        }
