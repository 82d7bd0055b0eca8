"""What does not depend on the broken part is untouched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from chaoskit.hypotheses.bounds import Bound, LoadClaim
from chaoskit.hypotheses.claim import Part, finding
from chaoskit.hypotheses.measures import Quantile, failed, planned, succeeded, success_rate
from chaoskit.hypotheses.measures import Share as ShareOf
from chaoskit.hypotheses.words import amount, joined, seconds_text
from chaoskit.model.history import History, SteadyBound
from chaoskit.model.statistics import requests_for_quantile
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["BystandersHold", "steady_parts", "steady_samples"]


class BystandersHold(LoadClaim):
    """Requests that do not need what is broken stay within the steady state, and bystanders stay ready.

    What it measures: every bound of the experiment's `steady_state`, over the requests named in `of` (those of them
    that name other requests are left out); and the readiness and liveness of every service that is neither at nor
    upstream of what is broken.

    Formula:
        each bound of steady_state, over `of` in the phase; noes of bystanders' health checks = 0

    Example:
        {kind: bystanders_hold, of: catalogue}
        {kind: bystanders_hold, of: "static*", holds_in: [fault, recovery]}

    Limits: which requests need the broken part is for the experiment to say; a bound on throughput is only judged
    where it is one of these requests. Without a steady state, or with fewer requests than its bounds take, it is
    inconclusive.
    """

    kind: ClassVar[str] = "bystanders_hold"

    of: str = Field(min_length=1)
    """Name of the requests, or a glob such as `static*`."""

    def bounds(self) -> Sequence[Bound]:
        return ()

    def expected(self) -> str:
        return f"{self.of} keeps the steady state"

    def samples_needed(self) -> int:
        return requests_for_quantile(0.95)

    def samples_under(self, steady_state: Sequence[SteadyBound]) -> int:
        return steady_samples(steady_state, self.of) or self.samples_needed()

    def judge(self, history: History) -> Finding:
        return finding(self, [*steady_parts(self, history), *self._services(history)])

    def _services(self, history: History) -> list[Part]:
        broken = [place for fault in history.faults for place in fault.on]
        services = history.topology.bystanders(broken) if broken else set()
        spans = [span for phase in self.judged_phases(history) for span in history.windows.get(phase, [])]
        parts = []
        for name in history.probe_names():
            replica, _, check = name.partition("/")
            if replica.partition(".")[0] not in services:
                continue
            noes = [p for p in history.between(spans).probe(name) if not p.ok]
            if noes:
                what = {"ready": "readiness", "live": "liveness"}.get(check, check)
                because = (
                    f"{what} of {replica}, which is a bystander, said no {len(noes)} times, first at"
                    f" {seconds_text(noes[0].at)}"
                )
                evidence = ((noes[0].at, noes[-1].at + 0.25),)
                parts.append(Part(Verdict.REFUTED, because, float(len(noes)), "times", evidence=evidence, lane=replica))
        return parts


def steady_parts(claim: LoadClaim, history: History) -> list[Part]:
    """The experiment's steady state, judged over the claim's requests in its phases."""
    bounds = [found for one in history.steady_state if (found := _bound(one, claim.of)) is not None]
    if not bounds:
        because = f"the experiment names no steady state that {claim.of or 'any request'} could keep"
        return [Part(Verdict.INCONCLUSIVE, because)]
    parts = [claim.part(history, phase, bound) for phase in claim.judged_phases(history) for bound in bounds]
    if all(part.verdict is Verdict.SUPPORTED for part in parts):
        first = parts[0]
        held = [
            f"{bound.measure.label} {amount(part.measured or 0.0, part.unit)}"
            for bound, part in zip(bounds, parts, strict=False)  # those of the first phase
        ]
        phases = joined([str(phase) for phase in claim.judged_phases(history)])
        because = f"{claim.of} kept the steady state in {phases}: {joined(held)} ({first.samples} requests)"
        return [first._replace(because=because)]
    return parts


def steady_samples(steady_state: Sequence[SteadyBound], of: str) -> int:
    """Requests `of` that it takes to judge every bound of the steady state that is about them; 0 where none is."""
    bounds = [bound for one in steady_state if (bound := _bound(one, of)) is not None]
    return max((bound.measure.needed(bound.value) for bound in bounds), default=0)


def _bound(steady: SteadyBound, of: str) -> Bound | None:
    """A line of the steady state as a bound over requests `of`; None where it is about others."""
    if steady.of and steady.of != of:
        return None
    upper = steady.most is not None
    value = steady.most if steady.most is not None else steady.least
    assert value is not None
    if steady.measure == "throughput":
        return Bound(success_rate(), upper, amount(value, "1/s"), value) if steady.of else None
    if steady.measure == "error_rate":
        return Bound(ShareOf("error rate", failed, planned), upper, amount(value, "share"), value)
    if steady.measure == "availability":
        return Bound(ShareOf("availability", succeeded, planned), upper, amount(value, "share"), value)
    return Bound(Quantile(float(steady.measure.removeprefix("p")) / 100.0), upper, amount(value, "s"), value)
