"""The conditions without which a run cannot tell, judged from its history. Never mixed with findings."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, isfinite
from statistics import fmean
from typing import NamedTuple

from chaoskit.interfaces import Fault
from chaoskit.model.history import History, Phase, Span, SteadyBound
from chaoskit.model.observation import SLOT
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Gate

__all__ = [
    "GENERATOR_LIMITS",
    "HOST_LIMITS",
    "bound_text",
    "clock_gate",
    "generator_gate",
    "host_gate",
    "measure_text",
    "parts_gate",
    "samples_gate",
    "steady_gate",
    "trace_gates",
]

GENERATOR_LIMITS = {"send_lag_p99": 0.1, "loop_lag": 0.1, "loop_stood": 0.05, "cpu": 0.95}
"""Beyond these the generator, not the target, may have made what was measured. Seconds that the p99 of its sends may be
late; seconds that its loop may stand still, and the share of a phase that longer ones may take; share of one core."""
HOST_LIMITS = {"wait": 0.0006, "others": 0.2, "stolen": 0.3, "starved": 0.1}
"""Beyond these something outside of the run may have made what was measured. Seconds that a process waits for a core
each time it has something to do, while others use this share of the cores; share of the cores that a hypervisor takes;
share of a phase in which that may be so (a single second of it always may). A healthy shop at 80/s on 2 cores waits
0.04 ms; beside four busy loops it waits 0.3 ms, and its requests do not feel it; at 1.3 ms they take thrice as long.
Where a hypervisor took a quarter of the cores the shop's p50 was 8% and its p95 17% longer, and p95 of the send lag was
7 ms (14 ms at most, over 115 seconds of such neighbours, of 10% to 40%)."""

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
    """Whether the generator kept up: send lag, lag of its loop, CPU, and nothing dropped below its in-flight cap."""
    said = []
    for phase in _JUDGED:
        view = history.during(phase)
        if not view.load().requests:
            continue
        if behind := _behind(view, phase):
            because = f"{behind}: {_cure(view)}"
            return Gate(gate="generator", open=False, because=because, evidence=view.view_spans)
        lag = view.load().percentile(0.99, of="send_lag")
        if lag == lag:
            said.append(f"{duration_text(lag)} in {phase}")
    return Gate(gate="generator", open=True, because="p99 of the send lag was " + (", ".join(said) or "not measured"))


def _behind(view: History, phase: Phase) -> str:
    """In what the generator was behind in a phase; empty where it kept up. With several workers the worst one says."""
    load = view.load()
    if load.dropped_below_cap:
        return (
            f"the generator dropped {load.dropped_below_cap} of {load.requests} requests in {phase} although its"
            " in-flight cap was not reached"
        )
    lag, most = load.percentile(0.99, of="send_lag"), GENERATOR_LIMITS["send_lag_p99"]
    if lag > most:
        late = f"p99 of the send lag was {duration_text(lag)}, above {duration_text(most)}"
        return f"the generator sent late in {phase}: {late}"
    least, share = GENERATOR_LIMITS["loop_lag"], GENERATOR_LIMITS["loop_stood"]
    stood = max((fsum(lag for lag in lags if lag > least) for lags in _each(view, "loop_lag")), default=0.0)
    if stood > share * view.seconds:
        return (
            f"the generator stood still for {duration_text(stood)} of {duration_text(view.seconds)} of {phase}, for"
            f" more than {duration_text(least)} at a time (allowed: {share:.0%} of a phase), and read answers late"
        )
    used = max((fmean(shares) for shares in _each(view, "cpu")), default=0.0)
    if used > GENERATOR_LIMITS["cpu"]:
        return f"the generator used {used:.0%} of a core in {phase}, above {GENERATOR_LIMITS['cpu']:.0%}"
    return ""


def _each(view: History, name: str) -> list[list[float]]:
    """What each worker said of itself in a view."""
    by_worker: dict[str, list[float]] = {}
    for point in view.metric(f"generator_{name}"):
        if isfinite(point.value):
            by_worker.setdefault(point.source, []).append(point.value)
    return list(by_worker.values())


def _cure(view: History) -> str:
    """What helps a generator that is behind."""
    starved = [moment for moment in _moments(view) if moment.starved]
    if starved:
        return f"{_outside(starved)}: stop that work, or run where nothing else does"
    crowded = [moment for moment in _moments(view) if moment.waited > HOST_LIMITS["wait"]]
    if crowded:
        return (
            "the run's own processes filled this machine: ask for a lower rate, or send from another machine"
            " (`chaoskit load worker --join`)"
        )
    return "give it more workers or ask for a lower rate"


class _Moment(NamedTuple):
    """About a second of what the machine had left for the run."""

    span: Span
    waited: float
    """Seconds that a process of the run waited for a core each time it had something to do."""
    others: float
    """Cores that processes outside of the run used."""
    stolen: float
    """Cores that a hypervisor took away."""
    cores: float

    @property
    def taken(self) -> bool:
        """Whether a hypervisor took more than it may."""
        return self.stolen / self.cores > HOST_LIMITS["stolen"]

    @property
    def crowded(self) -> bool:
        """Whether the run waited longer than it may, and not because of itself."""
        outside = (self.others + self.stolen) / self.cores
        return self.waited > HOST_LIMITS["wait"] and outside > HOST_LIMITS["others"]

    @property
    def starved(self) -> bool:
        """Whether something outside of the run kept it from a core."""
        return self.taken or self.crowded


def _moments(view: History) -> list[_Moment]:
    """What the machine had left, second by second. Replicas that a fault acts on are left out: they are to wait."""
    meant = {name for fault in view.faults for name in fault.replicas}
    waits: dict[float, list[float]] = {}
    turns: dict[float, list[float]] = {}
    for kind, found in (("wait", waits), ("turns", turns)):
        for point in [*view.metric(f"host_{kind}"), *view.metric(f"service_{kind}")]:
            if point.source not in meant and isfinite(point.value):
                found.setdefault(point.at, []).append(point.value)
    stolen = {point.at: point.value for point in view.metric("host_stolen")}
    cores = {point.at: point.value for point in view.metric("host_cores")}
    return [
        _Moment(
            (max(point.at - 1.0, 0.0), point.at),
            fsum(waits.get(point.at, [])) / max(fsum(turns.get(point.at, [])), 1.0),
            point.value,
            stolen.get(point.at, 0.0),
            max(cores.get(point.at, 1.0), 1.0),
        )
        for point in view.metric("host_others")
        if isfinite(point.value)
    ]


def _outside(moments: Sequence[_Moment]) -> str:
    """What was taken from the run, and by whom."""
    cores = f"of {moments[0].cores:g} cores"
    others, stolen = fmean(m.others for m in moments), fmean(m.stolen for m in moments)
    if stolen > others:
        return f"the machine beneath this one took {stolen:.2g} {cores} away"
    return f"other work on this machine used {others:.2g} {cores}"


def _crossed(starved: Sequence[_Moment]) -> str:
    """What was taken from the run beside the limit that it crossed; where two were crossed in turns, both."""
    said = []
    for some, said_of, most in (
        ([moment for moment in starved if moment.crowded], _waiting, duration_text(HOST_LIMITS["wait"])),
        ([moment for moment in starved if not moment.crowded], _outside, f"{HOST_LIMITS['stolen']:.0%} of them"),
    ):
        if some:
            often = f" in {len(some)} of these" if len(some) < len(starved) else ""
            said.append(f"{said_of(some)}{often} (allowed: {most})")
    return ", and ".join(said)


def _waiting(moments: Sequence[_Moment]) -> str:
    waited = duration_text(fmean(moment.waited for moment in moments))
    return f"{_outside(moments)}, and its processes waited {waited} each time they had something to do"


def host_gate(history: History) -> Gate:
    """Whether nothing outside of the run (other work on this machine, a hypervisor) kept its processes from a core."""
    said = []
    for phase in _JUDGED:
        moments = _moments(history.during(phase))
        starved = [moment for moment in moments if moment.starved]
        if len(starved) > max(1, HOST_LIMITS["starved"] * len(moments)):
            because = (
                f"the run was kept from the processor in {len(starved)} of {len(moments)} s of {phase}:"
                f" {_crossed(starved)}; more is allowed for {HOST_LIMITS['starved']:.0%} of a phase. Stop that work,"
                " or run where nothing else does"
            )
            return Gate(gate="host", open=False, because=because, evidence=tuple(moment.span for moment in starved))
        if moments:
            own = sum(moment.waited > HOST_LIMITS["wait"] for moment in moments) > HOST_LIMITS["starved"] * len(moments)
            filled = " (it filled the machine itself)" if own else ""
            said.append(f"{duration_text(fmean(moment.waited for moment in moments))} in {phase}{filled}")
    if not said:
        return Gate(gate="host", open=True, because="how long the run waited for a core is not known here")
    because = f"nothing outside of the run kept it from the processor; it waited {', '.join(said)} each time"
    return Gate(gate="host", open=True, because=because)


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
        try:
            known = float(event.about.get("uncertainty", "0")) <= SLOT
        except ValueError:
            known = False
        if not known:
            return Gate(gate="clock", open=False, because=event.text, evidence=((event.at, event.at),))
    because = "every stamp is of this host's monotonic clock, or within one slot of it"
    return Gate(gate="clock", open=True, because=because)
