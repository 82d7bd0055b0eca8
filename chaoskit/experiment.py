"""Experiment: what the user wrote, validated. Read with `chaoskit.load(path)`; every field is data, nothing runs."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, InstanceOf, ValidationInfo, field_validator

from chaoskit.interfaces import Fault, Hypothesis, Probe, Setting
from chaoskit.model.history import Phase, Span, SteadyBound
from chaoskit.model.observation import SLOT, slot_start
from chaoskit.model.units import Duration, parse_duration, parse_rate, parse_share
from chaoskit.model.verdict import Verdict
from chaoskit.target import scalars_as_text
from chaoskit.traffic import LoadSpec

__all__ = ["GATE_MARGIN", "AbortCondition", "Experiment", "Phases", "Step", "Variant"]


GATE_MARGIN = 0.3
"""Seconds before the injection at which the steady state is judged and relative faults are resolved."""


class Phases(Setting):
    """Lengths of the windows, in their order."""

    warmup: Duration = 2.0
    baseline: Duration = 6.0
    fault: Duration = 10.0
    recovery: Duration = 6.0

    @property
    def total(self) -> float:
        return self.warmup + self.baseline + self.fault + self.recovery

    def spans(self) -> dict[Phase, tuple[float, float]]:
        """Planned windows in seconds since warmup began, on slot boundaries."""
        start = 0.0
        found: dict[Phase, tuple[float, float]] = {}
        for phase in (Phase.WARMUP, Phase.BASELINE, Phase.FAULT, Phase.RECOVERY):
            end = round(start + getattr(self, phase.value), 1)
            found[phase] = (start, end)
            start = end
        return found

    @property
    def judged_baseline(self) -> Span:
        """The part of the baseline in which the steady state is judged: what is sent after it is still on its way."""
        start, end = self.spans()[Phase.BASELINE]
        return start, slot_start(end - GATE_MARGIN - SLOT)


class Variant(Setting):
    """The same question asked of another arrangement of the target."""

    expect: Verdict = Verdict.SUPPORTED
    """The verdict that counts as held."""
    breaks: tuple[str, ...] = ()
    """Names of hypotheses that must be refuted, with `expect: refuted`."""
    env: dict[str, dict[str, str]] = {}
    """Environment by service, over that of the target."""

    @field_validator("env", mode="before", json_schema_input_type=dict[str, dict[str, str | int | float]])
    @classmethod
    def _scalars_are_text(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {service: scalars_as_text(env) for service, env in value.items()}


class Step(Setting):
    """One request of `setup` or `verify`, sent to the entry service, in order."""

    name: str = ""
    method: str = "GET"
    path: str
    headers: dict[str, str] = {}
    json_: object = Field(default=None, alias="json")
    body: str = ""
    expect: tuple[int, ...] = (200, 201, 202, 204)
    capture: dict[str, str] = {}
    """Name → JSONPath in the answer; later steps and requests use `${name}`."""
    timeout: Duration = 10.0
    until: Duration = 0.0
    """Repeat until the expected status comes, for at most this long."""


_ABORT = re.compile(r"\s*([a-z_]+[0-9.]*)(?:\s+of\s+(\S+))?\s*(>=|<=|>|<|≥|≤)\s*(\S+)\s+for\s+(\S+)\s*")


class AbortCondition(Setting):
    """Stop the fault at once, undo and say so: `error_rate > 50% for 2s`, `p95 of checkout > 2s for 3s`."""

    text: str
    measure: str
    of: str = ""
    above: float | None = None
    below: float | None = None
    holds_for: Duration

    @classmethod
    def parse(cls, value: object) -> object:
        """Raises ValueError with an example."""
        if not isinstance(value, str):
            return value
        match = _ABORT.fullmatch(value)
        if not match:
            raise ValueError(f"expected a condition such as 'error_rate > 50% for 2s', not {value!r}")
        measure, of, sign, bound, holds_for = match.groups()
        if measure in ("error_rate", "availability"):
            limit = parse_share(bound)
        elif measure == "throughput":
            limit = parse_rate(bound)
        elif re.fullmatch(r"p[0-9]{1,2}(\.[0-9]+)?", measure):
            limit = parse_duration(bound)
        else:
            raise ValueError(f"expected error_rate, availability, throughput or p50 … p99.9, not {measure!r}")
        held = parse_duration(holds_for)
        bounds = {"above": limit} if sign in (">", ">=", "≥") else {"below": limit}
        return cls(text=value.strip(), measure=measure, of=of or "", holds_for=held, **bounds)

    def bound(self) -> SteadyBound:
        """The bound that must be *broken* for `holds_for` to abort."""
        return SteadyBound(measure=self.measure, of=self.of, most=self.above, least=self.below)


class Experiment(Setting):
    """One question, asked of a target that breaks. The title is the hypothesis as a sentence."""

    title: str
    """The hypothesis as a sentence: what a report begins with."""
    description: str = ""
    """Why one may expect it, for readers."""
    tags: tuple[str, ...] = ()
    """Patterns and faults it is about; suites group by them."""
    target: str
    """Name of a folder in `targets/`, or the path of a target file."""
    deployer: str = "process"
    """How the target is put up."""
    load: LoadSpec
    """The traffic, from warmup to the end of recovery."""
    phases: Phases = Phases()
    """How long each phase is."""
    setup: tuple[Step, ...] = ()
    """Requests before the load: schemas, seed data, tokens."""
    verify: tuple[Step, ...] = ()
    """Requests after it, once the system has settled: final reads."""
    judge: Literal["interval", "point"] = "interval"
    """How hypotheses that do not say are judged: `interval` (a bound inside the measured interval is too close to
    call) or `point` (the measured value alone decides)."""
    steady_state: tuple[InstanceOf[Hypothesis], ...] = ()
    """What must hold in baseline: otherwise nothing is broken, and the run cannot tell."""
    faults: tuple[InstanceOf[Fault], ...] = ()
    """What is broken."""
    probes: tuple[InstanceOf[Probe], ...] = ()
    """What is watched beside taps, health and metrics."""
    hypotheses: tuple[InstanceOf[Hypothesis], ...] = ()
    """What is claimed."""
    blast_radius: tuple[str, ...] = ()
    """Edges and services that faults may touch; required with faults."""
    abort_when: tuple[
        Annotated[AbortCondition, BeforeValidator(AbortCondition.parse, json_schema_input_type=str)], ...
    ] = ()
    """Conditions that stop the faults at once: `error_rate > 50% for 2s`, `p95 of checkout > 2s for 3s`. One, or a
    list."""
    variants: dict[str, Variant] = {}
    """The same question asked of several arrangements of the target; `run` runs all of them."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts beside this machine that load may go to; each needs `--allow-host` too."""
    seed: int = 1
    """The same seed gives the same arrivals, values and rolls."""
    file: Path | None = Field(default=None, exclude=True)
    """Where it was read from; names of targets are looked up beside it."""
    source: str = Field(default="", exclude=True)
    """As written."""

    @field_validator("abort_when", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_is_a_list_too(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("faults", mode="after")
    @classmethod
    def _ids(cls, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        """Each by its name or kind, with a number from the second of a kind on."""
        seen: Counter[str] = Counter()
        named = []
        for fault in faults:
            stem = fault.name or fault.kind
            seen[stem] += 1
            named.append(fault.model_copy(update={"id": stem if seen[stem] == 1 else f"{stem}-{seen[stem]}"}))
        return tuple(named)

    @field_validator("steady_state", "hypotheses", mode="after")
    @classmethod
    def _judged_alike(cls, claims: tuple[Hypothesis, ...], info: ValidationInfo) -> tuple[Hypothesis, ...]:
        """The experiment's way of judging, for every claim that has a choice and made none."""
        judge = info.data.get("judge", "interval")
        result = []
        for claim in claims:
            fields = type(claim).model_fields
            choice = [name for name, field in fields.items() if "judge" in (name, field.alias)]
            unset = [name for name in choice if getattr(claim, name) is None]
            result.append(claim.model_copy(update=dict.fromkeys(unset, judge)) if unset else claim)
        return tuple(result)

    def bounds(self) -> list[SteadyBound]:
        """The steady state as data."""
        return [bound for held in self.steady_state for bound in held.as_bounds()]
