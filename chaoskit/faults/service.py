"""What all faults on services share, and what proves them: deaths, health checks, and the calls to their replicas."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from chaoskit.faults.evidence import BY_CHANCE, Bite, Crossing, above, by_chance, quantile, share_text
from chaoskit.interfaces import Fault, ReplicaControl, System
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import SLOT, Event, TapSlot
from chaoskit.model.spans import Span, within
from chaoskit.model.topology import Topology
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Trace

__all__ = ["ServiceFault", "Watched", "exit_bite", "frozen_bite"]


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
        injected = self.fault.injected if self.fault.injected is not None else self.fault.planned[0]
        end = self.fault.undone if self.fault.undone is not None else self.fault.planned[1]
        self.injected = injected
        self.span: Span = (injected, max(end, injected))
        baseline = history.windows.get(Phase.BASELINE) or [(0.0, injected)]
        self.baseline: Span = (baseline[0][0], min(baseline[-1][1], injected))

    def events(self, kind: str) -> list[Event]:
        """Events of this replica while the fault was in."""
        margin = (self.span[0] - SLOT, self.span[1] + SLOT)
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

    def checks(self, span: Span) -> tuple[int, int]:
        """(failed, all) answers of its health checks that were asked for in a span."""
        names = [name for name in self.history.probe_names() if name.partition("/")[0] == self.replica]
        seen = [probe for name in names for probe in self.history.probe(name) if within(probe.at, (span,))]
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
        return by_chance(failed, asked, (failed_before + 1) / (before + 2)) < BY_CHANCE


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


def frozen_bite(watched: Watched) -> Bite:
    """For faults that keep a process from answering: its health checks or the calls to it went unanswered."""
    before, during = watched.before, watched.during
    said = []
    if checks := watched.checks_text():
        said.append(checks)
    stuck = stuck_usual = 0.0
    if during.total:
        bound = quantile(before.answered, 0.95) if before.answered else 0.0
        stuck = above(during.answered, bound) + during.unanswered if before.answered else during.unanswered
        stuck_usual = (above(before.answered, bound) + before.unanswered + 1) / (before.total + 2)
        unanswered = during.unanswered_text()
        said.append(
            f"{stuck:.0f} of {during.total} calls to it took longer than usual or were never answered"
            + (f" ({unanswered})" if unanswered else "")
        )
    if not said:
        return Bite(False, f"nothing asked {watched.replica} anything while it was in: no health check, no call")
    bit = watched.checks_fail() or by_chance(int(stuck), during.total, stuck_usual) < BY_CHANCE
    went_on = "" if bit else " went on answering"
    return Bite(bit, f"{watched.replica}{went_on}: {', '.join(said)}")
