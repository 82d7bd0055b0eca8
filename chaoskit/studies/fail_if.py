"""A regression that must not be, as people type it: `p95 +10%`, `p99 of checkout in fault +50ms`."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chaoskit.errors import UsageError
from chaoskit.model.units import parse_delta, parse_rate, parse_share
from chaoskit.reporters.json import JUDGED
from chaoskit.studies.sides import MEASURES, Key
from chaoskit.wording import did_you_mean

__all__ = ["PHASES", "FailIf", "check_gates"]

PHASES = tuple(phase.value for phase in JUDGED)

_GATE = re.compile(r"\s*([a-z_]+[0-9.]*)(?:\s+of\s+(\S.*?))?(?:\s+in\s+(\S+))?\s*([+-])\s*([0-9.]\S*)\s*")


@dataclass(frozen=True)
class FailIf:
    """A regression that must not be: `p95 +10%`, `p99 of checkout in fault +50ms`, `error_rate +1%`, `throughput -5%`.

    Percentages are relative to side A; for `error_rate` they are points.
    """

    text: str
    measure: str
    of: str
    phase: str
    most: float
    """How much may be added (negative: taken away), as a share of A or absolute."""
    relative: bool

    @classmethod
    def parse(cls, text: str) -> FailIf:
        """Raises UsageError with an example."""
        match = _GATE.fullmatch(text)
        if match is None:
            raise UsageError(f"{text!r} is no gate", hint="such as --fail-if 'p95 of checkout +10%'")
        measure, of, phase, sign, amount = match.groups()
        if measure not in MEASURES:
            raise UsageError(f"no measure {measure!r} in {text!r}", hint=did_you_mean(measure, MEASURES))
        if phase is not None and phase not in PHASES:
            if of is None or (close := did_you_mean(phase, PHASES, all_of_them=False)):
                raise UsageError(f"no phase {phase!r} in {text!r}", hint=close if of else did_you_mean(phase, PHASES))
            of, phase = text[match.start(2) : match.end(3)], None  # a name that holds the word
        factor = 1.0 if sign == "+" else -1.0
        if (factor < 0) != (measure == "throughput"):
            better = (
                "throughput is worse when it falls: -5%"
                if measure == "throughput"
                else f"{measure} is worse when it rises: +10%"
            )
            raise UsageError(f"{text!r} would fail on an improvement", hint=better)
        try:
            value, relative = _amount(measure, amount)
        except ValueError as error:
            raise UsageError(f"{text!r}: {error}") from error
        return cls(text.strip(), measure, of or "", phase or "", factor * value, relative)

    def meant(self, key: Key, phases: Sequence[str]) -> bool:
        """Whether it is about a key; without a phase it is about the fault (or the load, where there is none)."""
        phase = self.phase or next((one for one in ("fault", "load") if one in phases), "baseline")
        return key.measure == self.measure and key.phase == phase and (not self.of or key.of == self.of)


def _amount(measure: str, text: str) -> tuple[float, bool]:
    """How much, and whether that is a share of side A. Raises ValueError."""
    relative = False
    if measure == "error_rate":
        value = parse_share(text)
    elif measure == "throughput" and not text.endswith("%"):
        value = parse_rate(text)
    else:
        delta = parse_delta(f"+{text}")
        relative = delta.share is not None
        value = (delta.seconds or 0.0) if delta.share is None else delta.share
    if not math.isfinite(value):
        raise ValueError("expected an amount that is finite")
    return value, relative


def check_gates(gates: Sequence[FailIf], names: Collection[str], phases: Collection[str] = PHASES) -> None:
    """Hold gates against the requests (none: not known before) and the phases that there are, before anything is run
    or judged. Raises UsageError with what may have been meant."""
    for gate in gates:
        if names and gate.of and gate.of not in names:
            raise UsageError(f"no request {gate.of!r} in {gate.text!r}", hint=did_you_mean(gate.of, names))
        if gate.phase and gate.phase not in phases:
            known = f"there are: {', '.join(phases)}"
            raise UsageError(f"no time is planned for the phase of {gate.text!r}", hint=known)
