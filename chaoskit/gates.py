"""The conditions without which a run cannot tell, judged from its history. Never mixed with findings."""

from __future__ import annotations

from collections.abc import Sequence

from chaoskit.interfaces import Fault
from chaoskit.model.history import History, Phase, SteadyBound
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Gate

__all__ = [
    "GENERATOR_LIMITS",
    "bound_text",
    "clock_gate",
    "generator_gate",
    "measure_text",
    "parts_gate",
    "samples_gate",
    "steady_gate",
    "trace_gates",
]

GENERATOR_LIMITS = {"send_lag_p99": 0.1, "cpu": 0.95}
"""Beyond these the generator, not the target, may have made what was measured. Seconds; share of one core."""

_JUDGED = (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY, Phase.LOAD)


def steady_gate(bounds: Sequence[SteadyBound], history: History, *, until: float | None = None) -> Gate:
    """Whether the baseline was in its steady state (point estimates). `until` cuts the baseline short: before the
    injection the last requests of the baseline are still on their way."""
    spans = history.windows.get(Phase.BASELINE, [])
    if until is not None:
        spans = [(start, min(end, until)) for start, end in spans if start < until]
    view = history.between(spans)
    load = view.load()
    if not load.requests:
        return Gate(gate="steady state", open=False, because="no request was seen in baseline", evidence=tuple(spans))
    held = []
    for bound in bounds:
        part = view.load(bound.of) if bound.of else load
        claim = bound_text(bound)
        if not bound.holds(part):
            measured = measure_text(bound.measure, bound.measured(part))
            because = f"baseline is out of its steady state: {claim}, but measured {measured}"
            return Gate(gate="steady state", open=False, because=because, evidence=tuple(spans))
        held.append(f"{claim} (measured {measure_text(bound.measure, bound.measured(part))})")
    because = "baseline held " + " and ".join(held) if held else f"{load.requests} requests in baseline; no bound asked"
    return Gate(gate="steady state", open=True, because=because, evidence=tuple(spans))


def bound_text(bound: SteadyBound) -> str:
    """`p95 of checkout ≤ 250 ms`."""
    of = f" of {bound.of}" if bound.of else ""
    parts = []
    if bound.most is not None:
        parts.append(f"{bound.measure}{of} ≤ {measure_text(bound.measure, bound.most)}")
    if bound.least is not None:
        parts.append(f"{bound.measure}{of} ≥ {measure_text(bound.measure, bound.least)}")
    return " and ".join(parts)


def measure_text(measure: str, value: float) -> str:
    """A value in the words of its measure."""
    if measure in ("error_rate", "availability"):
        return f"{value * 100:.3g}%"
    if measure == "throughput":
        return f"{value:.3g}/s"
    return duration_text(value)


def generator_gate(history: History) -> Gate:
    """Whether the generator kept up: send lag, CPU, and nothing dropped below its in-flight cap."""
    said = []
    for phase in _JUDGED:
        view = history.during(phase)
        load = view.load()
        if not load.requests:
            continue
        if load.dropped_below_cap:
            because = (
                f"the generator dropped {load.dropped_below_cap} of {load.requests} requests in {phase} although its"
                " in-flight cap was not reached: give it more workers or ask for a lower rate"
            )
            return Gate(gate="generator", open=False, because=because, evidence=view.view_spans)
        lag = load.percentile(0.99, of="send_lag")
        if lag > GENERATOR_LIMITS["send_lag_p99"]:
            because = (
                f"the generator sent late in {phase}: p99 of the send lag was {duration_text(lag)}, above"
                f" {duration_text(GENERATOR_LIMITS['send_lag_p99'])}: give it more workers or ask for a lower rate"
            )
            return Gate(gate="generator", open=False, because=because, evidence=view.view_spans)
        used = [point.value for point in view.metric("generator_cpu")]
        if used and sum(used) / len(used) > GENERATOR_LIMITS["cpu"]:
            because = (
                f"the generator used {sum(used) / len(used):.0%} of a core in {phase}, above"
                f" {GENERATOR_LIMITS['cpu']:.0%}: give it more workers or ask for a lower rate"
            )
            return Gate(gate="generator", open=False, because=because, evidence=view.view_spans)
        if lag == lag:
            said.append(f"{duration_text(lag)} in {phase}")
    return Gate(gate="generator", open=True, because="p99 of the send lag was " + (", ".join(said) or "not measured"))


def samples_gate(history: History) -> Gate:
    """Whether there was load to judge in every window that the run had."""
    counted = []
    for phase in _JUDGED:
        spans = [span for span in history.windows.get(phase, []) if span[1] - span[0] >= 0.5]
        if not spans:
            continue
        requests = history.between(spans).load().requests
        if not requests:
            because = f"no load to judge in {phase}: not one request was planned there"
            return Gate(gate="samples", open=False, because=because, evidence=tuple(spans))
        counted.append(f"{requests} in {phase}")
    if not counted:
        return Gate(gate="samples", open=False, because="the run ended before there was any load to judge")
    return Gate(gate="samples", open=True, because=f"requests: {', '.join(counted)}")


def parts_gate(history: History, faults: Sequence[Fault]) -> Gate:
    """Whether every part of ours, and every service that no fault was to take down, stayed alive."""
    for event in [*history.events("load_cut"), *history.events("worker_lost")]:
        return Gate(gate="parts alive", open=False, because=event.text, evidence=((event.at, event.at + 1.0),))
    meant = {name for fault in faults for name in fault.replicas(history.topology)}
    for event in [*history.events("died"), *history.events("exited")]:
        part = event.about.get("part") or event.about.get("replica", "")
        if part and part not in meant:
            because = f"{part} died {duration_text(event.at)} into the run: {event.text or 'it exited'}"
            return Gate(gate="parts alive", open=False, because=because, evidence=((event.at, event.at + 1.0),))
    return Gate(gate="parts alive", open=True, because="load, proxy, probes and every service that was to stay did")


def trace_gates(history: History, faults: Sequence[Fault]) -> list[Gate]:
    """One gate for each fault: whether it was proven to bite."""
    gates = []
    for fault in faults:
        span = history.fault(fault.id)
        if span.active is None:
            because = f"{span.says or fault.kind} was never injected"
            gates.append(Gate(gate="trace", open=False, because=because))
            continue
        trace = fault.trace(history)
        gates.append(Gate(gate="trace", open=trace.bit, because=trace.because, evidence=trace.evidence))
    return gates


def clock_gate(history: History) -> Gate:
    """Whether every foreign clock could be read to within one slot."""
    for event in history.events("clock"):
        if float(event.about.get("uncertainty", "0")) > 0.1:
            return Gate(gate="clock", open=False, because=event.text, evidence=((event.at, event.at),))
    because = "every stamp is of this host's monotonic clock, or within one slot of it"
    return Gate(gate="clock", open=True, because=because)
