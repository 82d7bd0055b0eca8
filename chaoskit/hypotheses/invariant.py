"""What must always be true is true in the end: a sum, a count, a state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from pydantic import JsonValue, model_validator

from chaoskit.hypotheses.claim import Part, finding, unknown_name
from chaoskit.hypotheses.reads import CannotTell, PathText, as_text, read_at
from chaoskit.interfaces import Hypothesis, Named, Setting
from chaoskit.model.history import History, Phase
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["Invariant", "Place"]


class Place(Setting):
    """A place in the answer of another step."""

    read: str
    """Name of a step of the verify phase."""
    at: PathText
    """JSONPath in its answer."""


class Invariant(Hypothesis):
    """A value that is read at the end is what it must be.

    What it measures: the value (or the sum of the values) at a JSONPath in the answer of a step of the verify phase,
    against a constant, bounds, or a value that another step read.

    Formula:
        value, or sum of the values, at `at` of `read`  = equals · = same_as · ≥ min · ≤ max

    Example:
        verify: [{name: money, path: /accounts/sum}, {name: sagas, path: "/sagas?state=pending"}]
        {kind: invariant, read: money, at: $.total, equals: 100000}         # none is created, none is lost
        {kind: invariant, read: sagas, at: $.count, equals: 0}              # every one ends
        {kind: invariant, read: charges, at: "$[*].amount", same_as: {read: orders, at: "$[*].paid"}}

    Limits: it sees the end, not what was wrong in between. Give the system time to settle (`until` of a step). An
    answer that is not there, no JSON, or without that place is inconclusive.
    """

    kind: ClassVar[str] = "invariant"
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.VERIFY,)

    read: str
    """Name of the step of the verify phase."""
    at: PathText
    """JSONPath of the value; several numbers are added up."""
    equals: JsonValue = None
    """What it must be."""
    min: float | None = None
    """Least that it may be."""
    max: float | None = None
    """Most that it may be."""
    same_as: Place | None = None
    """Where another step reads what it must be the same as."""

    @model_validator(mode="after")
    def _something(self) -> Invariant:
        given = self.model_fields_set & {"equals", "min", "max", "same_as"}
        if not given or (("equals" in given or "same_as" in given) and len(given) > 1):
            raise ValueError("expected equals, same_as, or min and max: what the value must be")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"nothing is at least {self.min:g} and at most {self.max:g}")
        return self

    def check_names(self, named: Named) -> Sequence[tuple[str, str]]:
        found = unknown_name("verify step", self.read, named.steps, "read")
        if self.same_as is not None:
            found += unknown_name("verify step", self.same_as.read, named.steps, "same_as.read")
        return found

    def expected(self) -> str:
        what = f"{self.at} of {self.read}"
        if self.same_as is not None:
            return f"{what} = {self.same_as.at} of {self.same_as.read}"
        if "equals" in self.model_fields_set:
            return f"{what} = {as_text(self.equals)}"
        parts = [f"≥ {self.min:g}"] if self.min is not None else []
        return f"{what} {' and '.join(parts + ([f'≤ {self.max:g}'] if self.max is not None else []))}"

    def judge(self, history: History) -> Finding:
        try:
            part = self._judged(history)
        except CannotTell as error:
            part = Part(Verdict.INCONCLUSIVE, str(error))
        return finding(self, [part._replace(phase=str(Phase.VERIFY))])

    def _judged(self, history: History) -> Part:
        value = _value(history, self.read, self.at)
        what = f"{self.at} of {self.read}"
        number = float(value) if isinstance(value, int | float) else None
        if self.same_as is not None:
            wanted: JsonValue = _value(history, self.same_as.read, self.same_as.at)
            said = f"{self.same_as.at} of {self.same_as.read}, which was {as_text(wanted)}"
        elif "equals" in self.model_fields_set:
            wanted, said = self.equals, as_text(self.equals)
        else:
            return self._bounded(value, what, number)
        held = _same(value, wanted)
        because = f"{what} was {as_text(value)} at the end, {'as' if held else 'not'} {said}"
        return Part(Verdict.SUPPORTED if held else Verdict.REFUTED, because, number, samples=1)

    def _bounded(self, value: JsonValue, what: str, number: float | None) -> Part:
        if number is None:
            raise CannotTell(f"{what} is {as_text(value)}, which is no number")
        below = self.min is not None and number < self.min
        above = self.max is not None and number > self.max
        side = f"below {self.min:g}" if below else f"above {self.max:g}" if above else "as it must be"
        verdict = Verdict.REFUTED if below or above else Verdict.SUPPORTED
        return Part(verdict, f"{what} was {as_text(value)} at the end, {side}", number, samples=1)


def _value(history: History, step: str, path: str) -> JsonValue:
    """The one value at a place; the sum of several numbers. Raises CannotTell."""
    values = read_at(history, step, path)
    if not values:
        raise CannotTell(f"the answer to {step!r} has nothing at {path}")
    if len(values) == 1 and "*" not in path:
        return values[0]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        raise CannotTell(f"the answer to {step!r} has several values at {path} that are no numbers")
    return sum(numbers) if all(isinstance(number, int) for number in numbers) else math.fsum(numbers)


def _same(value: JsonValue, wanted: JsonValue) -> bool:
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (value, wanted))
    if numbers and isinstance(value, int | float) and isinstance(wanted, int | float):
        return math.isclose(value, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return value == wanted
