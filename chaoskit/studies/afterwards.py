"""What is made of a game day when it is over: its windows, its gates, and what was asked. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence

from chaoskit.experiment import Experiment
from chaoskit.interfaces import Fault
from chaoskit.model.credentials import without_secrets
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT, slot_start
from chaoskit.model.verdict import Gate
from chaoskit.runner import judge
from chaoskit.traffic import LoadSpec

__all__ = ["as_asked", "gates_of", "windows_of"]

_UNASKED = Gate(gate="steady state", open=True, because="a game day asks for no steady state")
_NO_LOAD = LoadSpec.model_validate({"rate": "1/s", "requests": [{"path": "/"}]})
"""A question has a load; this one is never sent."""


def windows_of(faults: Sequence[Span], end: float) -> dict[Phase, list[Span]]:
    """The windows of a game day in which faults were in at these spans: baseline before the first, fault while any is
    in, recovery after; without faults the one window of a plain load. On slot boundaries."""
    end = slot_start(end)
    if not faults:
        return {Phase.LOAD: [(0.0, end)]} if end > 0 else {}
    merged: list[Span] = []
    for start, stop in sorted((slot_start(start), min(slot_start(stop + SLOT), end)) for start, stop in faults):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    after = [stop for _, stop in merged]
    before = [*(start for start, _ in merged[1:]), end]
    found = {
        Phase.BASELINE: [(0.0, merged[0][0])],
        Phase.FAULT: merged,
        Phase.RECOVERY: list(zip(after, before, strict=True)),
    }
    kept = {phase: [(start, stop) for start, stop in spans if stop > start] for phase, spans in found.items()}
    return {phase: spans for phase, spans in kept.items() if spans}


def gates_of(target: str, load: LoadSpec | None, faults: Sequence[Fault], history: History) -> list[Gate]:
    """Whether each fault bit and everything else stayed alive; with a load of ours, whether it kept up too."""
    question = Experiment(title="game day", target=target, load=load or _NO_LOAD)
    _, gates = judge(question, faults, history, [_UNASKED])
    told = {"parts alive", "trace", "clock"} | ({"generator", "samples"} if load else set())
    return [gate for gate in gates if gate.gate in told or (gate.gate == "judge" and not gate.open)]


def as_asked(target: str, load: LoadSpec | None) -> str:
    """What was put up and sent, as a reader sees it."""
    spec = load.model_dump(mode="json", by_alias=True, exclude_defaults=True) if load else None
    return json.dumps({"target": target, "load": without_secrets(spec)}, indent=2)
