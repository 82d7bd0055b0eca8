"""Three-valued answers and how they merge: the rules of who wins, in one place.

gates      any shut            → inconclusive, whatever the findings say
findings   any refuted         → refuted
           any inconclusive    → inconclusive
           else                → supported
abort      an abort condition that fired refutes, and outranks the gates that it caused
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from chaoskit.model.history import Span

__all__ = ["Finding", "Gate", "Trace", "Verdict", "merge"]


class Verdict(StrEnum):
    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One claim judged: the line that a reader sees first."""

    hypothesis: str
    """Its name (default: its kind)."""
    kind: str
    verdict: Verdict
    because: str
    """One sentence with the measured value, the bound, the window and the moment it broke."""
    expected: str
    """The claim as a formula: `p95 ≤ 0.4 s`."""
    measured: float | None = None
    unit: str = ""
    """`s`, `share`, `1/s`, `×`, …: of `measured` and `interval`."""
    interval: tuple[float, float] | None = None
    bound: float | None = None
    """What `measured` was held against, in its unit, where it was held against one number."""
    phase: str = ""
    samples: int = 0
    evidence: tuple[Span, ...] = ()
    """The seconds to draw: where it broke, or where it was measured."""
    lane: str = ""
    """The edge, replica or request name it is about, where it is about one."""
    aborted: bool = False
    """Whether this is the finding of an abort condition that fired."""


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the experiment could tell at all. Never mixed with findings."""

    gate: str
    """steady state · generator · host · trace · parts alive · samples · clock · judge · interrupted."""
    open: bool
    because: str
    evidence: tuple[Span, ...] = ()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence that one fault bit (or not), from what the taps, the load and the probes saw."""

    fault: str
    bit: bool
    because: str
    evidence: tuple[Span, ...] = ()


def merge(findings: Iterable[Finding], gates: Iterable[Gate]) -> Verdict:
    """The verdict of a run. No finding at all is inconclusive: nothing was claimed."""
    judged = list(findings)
    if any(finding.aborted and finding.verdict is Verdict.REFUTED for finding in judged):
        return Verdict.REFUTED
    if not judged or any(not gate.open for gate in gates):
        return Verdict.INCONCLUSIVE
    verdicts = {finding.verdict for finding in judged}
    for verdict in (Verdict.REFUTED, Verdict.INCONCLUSIVE):
        if verdict in verdicts:
            return verdict
    return Verdict.SUPPORTED
