"""What all faults on services share, and what proves them: deaths, health checks, and the calls to their replicas."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from chaoskit.faults.evidence import BY_CHANCE, Bite, Crossing, by_chance, middle, share_text
from chaoskit.interfaces import Fault, ReplicaControl, System
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import SLOT, Event, TapSlot
from chaoskit.model.spans import Span, within
from chaoskit.model.topology import Topology
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Trace

__all__ = ["ServiceFault", "Watched", "exit_bite", "frozen_bite", "started_bite", "strain_bite"]

_FELT = 0.02
"""Seconds that calls must get slower by, at least: a busy machine makes the quickest of them twice as slow."""


class ServiceFault(Fault):
    """Base of faults on the replicas of services. Kinds say what they do to each, and what proves that it bit."""

    acts_on: ClassVar[str] = "services"

    @abstractmethod
    def bite(self, watched: Watched) -> Bite:
        """Whether it bit one replica. Pure."""

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Those of one place's replicas that it acts on."""
        return list(names)

    def replicas(self, topology: Topology) -> list[str]:
        chosen = [name for place in self.places for name in self.chosen(topology.select_replicas(place))]
        return list(dict.fromkeys(chosen))

    def controls(self, system: System) -> list[ReplicaControl]:
        return [system.replica(name) for name in self.replicas(system.topology)]

    def trace(self, history: History) -> Trace:
        """It bit if it bit every replica that it acts on."""
        span = history.fault(self.id)
        replicas = self.replicas(history.topology)
        if span.active is None or not replicas:
            why = "was never put in" if replicas else "had no replica to act on"
            return Trace(fault=self.id, bit=False, because=f"{self.says()} {why}")
        bites = [self.bite(Watched(history, self.id, replica)) for replica in replicas]
        because = "; ".join(bite.because for bite in bites)
        return Trace(fault=self.id, bit=all(bite.bit for bite in bites), because=because, evidence=(span.active,))


class Watched:
    """One replica, seen through events, health checks and the taps on the edges that lead to it."""

    def __init__(self, history: History, fault_id: str, replica: str) -> None:
        self.history = history
        self.replica = replica
        self.fault = history.fault(fault_id)
        planned_start, planned_end = self.fault.planned
        self.injected = injected = self.fault.injected if self.fault.injected is not None else planned_start
        in_force = self.fault.in_force if self.fault.in_force is not None else injected
        self.out = self.fault.undone if self.fault.undone is not None else planned_end
        self.span: Span = (in_force, max(min(self.out, planned_end), in_force))
        """While it was in for certain."""
        baseline = history.windows.get(Phase.BASELINE) or [(0.0, injected)]
        self.baseline: Span = (baseline[0][0], min(baseline[-1][1], injected))

    def events(self, kind: str) -> list[Event]:
        """Events of this replica while the fault was in."""
        margin = (self.injected - SLOT, self.out + SLOT)
        found = self.history.events(kind)
        return [event for event in found if event.about.get("replica") == self.replica and within(event.at, (margin,))]

    @cached_property
    def _slots(self) -> list[TapSlot]:
        edges = [edge.name for edge in self.history.topology.edges if edge.callee == self.replica]
        return [slot for edge in edges for slot in self.history.tap(edge).slots]

    @cached_property
    def before(self) -> Crossing:
        """Calls to it that began and ended in baseline."""
        return Crossing(self._slots, self.baseline, "within", "")

    @cached_property
    def during(self) -> Crossing:
        """Calls to it that were under way while the fault was in."""
        return Crossing(self._slots, self.span, "overlap", "")

    def values(self, metric: str, span: Span) -> list[float]:
        """Samples of one of its metrics in a span."""
        found = self.history.metric(metric, source=self.replica)
        return [point.value for point in found if within(point.at, (span,))]

    def mean(self, metric: str, span: Span) -> float:
        """Of a metric that is itself a mean since the sample before, so that the first in a span is none of it; nan
        without samples."""
        values = self.values(metric, span)[1:]
        return sum(values) / len(values) if values else math.nan

    def most(self, metric: str, span: Span) -> float:
        """nan without samples."""
        return max(self.values(metric, span), default=math.nan)

    def checks(self, span: Span) -> tuple[int, int]:
        """(failed, all) of its health checks that were asked and over within a span."""
        names = [name for name in self.history.probe_names() if name.partition("/")[0] == self.replica]
        probes = [probe for name in names for probe in self.history.probe(name)]
        seen = [probe for probe in probes if probe.at >= span[0] and probe.at + probe.took <= span[1]]
        return sum(not probe.ok for probe in seen), len(seen)

    def checks_text(self) -> str:
        """`its health checks failed 38 of 40 times (0% in baseline)`; empty where it has none."""
        failed, asked = self.checks(self.span)
        failed_before, before = self.checks(self.baseline)
        if not asked:
            return ""
        return f"its health checks failed {failed} of {asked} times ({share_text(failed_before, before)} in baseline)"

    def checks_fail(self) -> bool:
        """Whether they failed more often than chance would have it."""
        failed, asked = self.checks(self.span)
        failed_before, before = self.checks(self.baseline)
        return by_chance(failed, asked, (failed_before + 0.5) / (before + 1)) < BY_CHANCE


def exit_bite(watched: Watched, since: str = "its signal") -> Bite:
    """For faults that end a process: it was seen to exit. `since` is what happened when the fault went in."""
    exits = watched.events("exited")
    said = []
    if checks := watched.checks_text():
        said.append(checks)
    if cut := sum(slot.cut for slot in watched.during.slots):
        said.append(f"{cut} connections to it were cut")
    if before := watched.before.total:
        said.append(f"{before} calls went to it in baseline, {watched.during.total} during the fault")
    others = ("; " + ", ".join(said)) if said else ""
    if not exits:
        return Bite(False, f"{watched.replica} was not seen to exit{others}")
    first = exits[0]
    late = duration_text(max(0.0, first.at - watched.injected))
    return Bite(True, f"{watched.replica} exited {late} after {since}{others}")


def started_bite(watched: Watched) -> Bite:
    """For faults that start a replica: nobody was answered by it before, and then somebody was."""
    if not watched.events("started"):
        return Bite(False, f"{watched.replica} was not seen to start")
    before, during = len(watched.before.answered), watched.during.answered_inside
    if before:
        return Bite(False, f"{watched.replica} answered {before} calls in baseline already")
    if not during:
        called = f"{watched.during.total} calls went to it" if watched.during.total else "nobody called it"
        return Bite(False, f"{watched.replica} was started, and answered none: {called}")
    return Bite(True, f"{watched.replica} was started, and answered {during} calls (none in baseline)")


def frozen_bite(watched: Watched) -> Bite:
    """For faults that keep a process from answering: no call that began while it was in was answered before it was out,
    or its health checks failed."""
    before, during = watched.before, watched.during
    said = []
    if checks := watched.checks_text():
        said.append(checks)
    if during.total:
        unanswered = during.unanswered_text()
        said.append(
            f"{during.answered_inside} of {during.total} calls to it were answered"
            + (f" ({unanswered})" if unanswered else "")
            + f", {share_text(len(before.answered), before.total)} in baseline"
        )
    if not said:
        return Bite(False, f"nothing asked {watched.replica} anything while it was in: no health check, no call")
    stuck = during.total - during.answered_inside
    usual = (before.unanswered + 1) / (before.total + 2)
    frozen = during.answered_inside <= 0.05 * during.total and by_chance(stuck, during.total, usual) < BY_CHANCE
    failed, asked = watched.checks(watched.span)
    silent = failed >= 0.5 * asked and watched.checks_fail()
    if frozen or (silent and during.answered_inside <= 0.2 * during.total):
        return Bite(True, f"{watched.replica}: {', '.join(said)}")
    return Bite(False, f"{watched.replica} went on answering: {', '.join(said)}")


def strain_bite(watched: Watched, said: str, *, slow: bool = True) -> Bite:
    """For faults that starve a process: it exited, failed its health checks, answered wrongly or not at all, or (where
    that is what it does: `slow`) its calls took twice as long. `said` is what is known of its starving."""
    before, during = watched.before, watched.during
    trouble = []
    if watched.events("exited"):
        trouble.append("it exited")
    if watched.checks_fail():
        trouble.append(watched.checks_text())
    wrong, wrong_before = during.wrong, before.wrong
    if by_chance(wrong, during.total, (wrong_before + 1) / (before.total + 2)) < BY_CHANCE:
        trouble.append(
            f"{wrong} of {during.total} calls to it failed ({share_text(wrong_before, before.total)} in baseline)"
        )
    took, usual = middle(during.answered), middle(before.answered)
    if slow and took >= max(2 * usual, usual + _FELT) and len(during.answered) >= 5:
        trouble.append(f"its calls took {duration_text(usual)} in baseline and {duration_text(took)} during")
    if trouble:
        return Bite(True, f"{said}; {', '.join(trouble)}")
    calls = f" ({during.total} calls to it, answered as before)" if during.total else ""
    return Bite(False, f"{said}, and nothing came of it{calls}: it has more than it needs")
