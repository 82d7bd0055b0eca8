"""A rate limit admits what it claims, refuses the rest, and says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from chaoskit.hypotheses.claim import Claim, Part, compared, finding, unknown_name, unknown_request
from chaoskit.hypotheses.measures import RateOf
from chaoskit.hypotheses.words import amount, between, moment, of_text, share_text
from chaoskit.interfaces import Named
from chaoskit.model.history import History, Phase
from chaoskit.model.load_view import LoadView
from chaoskit.model.spans import merged
from chaoskit.model.statistics import MINIMUM_BLOCKS
from chaoskit.model.topology import Topology
from chaoskit.model.units import Rate, Share
from chaoskit.model.verdict import Finding, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["RateLimit"]

_ENOUGH = 100


class RateLimit(Claim):
    """Requests above a limit are refused with 429, those below it are not.

    What it measures: answers with a 2xx or 3xx per second against the claimed limit, in a window in which more was
    asked; what was neither admitted nor refused; and, with `mark`, the share of refusals that bear a mark of the load
    (a header such as Retry-After; the mark must be of that status alone). Whether the load expects a 429 makes no
    difference.

    Formula:
        admitted = answers with 2xx or 3xx ÷ seconds      within admits × (1 ± tolerance)
        told     = refusals with the mark ÷ refusals       ≥ 99%
        other    = neither admitted nor refused            ≤ 1% of the requests

    Example:
        load: {rate: 100/s, marks: {told: {status: 429, header: Retry-After}}, …}
        {kind: rate_limit, of: api, admits: 50/s, mark: told}

    Limits: a burst that is allowed on top counts against the limit: make the phase much longer than the burst lasts, or
    `tolerance` larger. Where less than the limit was asked for, or fewer than 100 requests were sent, nothing was
    limited, and nothing can be told.
    """

    kind: ClassVar[str] = "rate_limit"

    of: str = ""
    """Name of the requests, or a glob (default: all of them)."""
    admits: Rate
    """The claimed limit."""
    tolerance: Share = 0.1
    """Share of the limit by which the admitted rate may be above or below it."""
    status: int = 429
    """Status of a refusal."""
    mark: str = ""
    """Mark that every refusal must bear."""

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        return unknown_request(self.of, request_names)

    def check_names(self, named: Named) -> Sequence[tuple[str, str]]:
        if not self.mark or self.mark not in named.marks:
            return unknown_name("mark", self.mark, named.marks, "mark") if self.mark else []
        statuses = named.marks[self.mark].status
        if statuses is not None and [str(one) for one in statuses] == [str(self.status)]:
            return []
        what = f"mark {self.mark!r} may be on answers that are no refusals"
        return [("mark", f"{what}; marks: {{{self.mark}: {{status: {self.status}, …}}}}")]

    def expected(self) -> str:
        told = f", refused ones are marked {self.mark}" if self.mark else ""
        return f"admits {amount(self.admits, '1/s')} ± {share_text(self.tolerance)}{of_text(self.of)}{told}"

    def samples_needed(self) -> int:
        return _ENOUGH

    def seconds_needed(self) -> float:
        return 0.0 if self.by_point else float(MINIMUM_BLOCKS)

    def judge(self, history: History) -> Finding:
        return finding(self, [part for phase in self.judged_phases(history) for part in self._parts(history, phase)])

    def _parts(self, history: History, phase: Phase) -> list[Part]:
        view = history.during(phase).load(self.of)
        asked = view.requests / view.seconds if view.seconds else 0.0
        base = Part(Verdict.INCONCLUSIVE, "", None, "1/s", None, str(phase), view.requests, view.spans)
        if view.requests < _ENOUGH or asked < self.admits * (1.0 + self.tolerance):
            because = (
                f"{amount(asked, '1/s')}{of_text(self.of)} were asked in {phase} ({view.requests} requests): nothing"
                f" shows a limit of {amount(self.admits, '1/s')}"
            )
            return [base._replace(because=because)]
        seen = RateOf("admitted", self._admitted).measured(view)
        interval = None if self.by_point else seen.interval
        if interval is None and not self.by_point:
            return [base._replace(because=f"{phase} is too short for an interval: it takes {MINIMUM_BLOCKS} s")]
        low, high = (self.admits * (1.0 + side * self.tolerance) for side in (-1, 1))
        verdict = compared(seen.value, interval, most=high, least=low)
        held = {
            Verdict.SUPPORTED: "as claimed",
            Verdict.REFUTED: "more than" if seen.value > high else "less than",
            Verdict.INCONCLUSIVE: "too close to call against",
        }[verdict]
        detail = "; ".join(filter(None, [between(seen.interval, "1/s"), f"{amount(asked, '1/s')} asked"]))
        because = (
            f"{amount(seen.value, '1/s')}{of_text(self.of)} were admitted in {phase} ({detail}), {held}"
            f" {amount(self.admits, '1/s')} ± {share_text(self.tolerance)}"
        ).replace("as claimed ", "as claimed: ")
        admitted = base._replace(verdict=verdict, because=because, measured=seen.value, interval=seen.interval)
        if verdict is Verdict.REFUTED:
            above = seen.value > high
            broken = [span for span, rate in seen.by_block if (rate > high if above else rate < low)]
            since = f"; it broke first {moment(history, broken[0][0])}" if broken else ""
            admitted = admitted._replace(because=because + since, evidence=tuple(merged(broken)) or view.spans)
        return [admitted, *self._refusals(view, phase, base)]

    def _admitted(self, view: LoadView) -> NDArray[np.int64]:
        import numpy as np

        return np.array([_good(slot.statuses) for _, slot in view.entries], dtype=np.int64)

    def _refusals(self, view: LoadView, phase: Phase, base: Part) -> list[Part]:
        refused = view.statuses[str(self.status)]
        other = max(view.requests - refused - _good(view.statuses), 0)
        parts = []
        if other > 0.01 * view.requests:
            causes = [f"{cause}: {n}" for cause, n in view.causes.most_common(3) if str(self.status) not in cause]
            because = f"{other} requests in {phase} were neither admitted nor refused with {self.status}"
            because += f" ({', '.join(causes)})" if causes else ""
            failed = base._replace(verdict=Verdict.REFUTED, because=because, measured=float(other), unit="requests")
            parts.append(failed)
        if self.mark and refused:
            told = view.marks[self.mark]
            share = min(told / refused, 1.0)
            held = share >= 0.99
            because = (
                f"{share_text(share)} of {refused} refusals in {phase} were marked {self.mark}"
                f"{'' if held else ': the others do not say when to come back'}"
            )
            verdict = Verdict.SUPPORTED if held else Verdict.REFUTED
            parts.append(base._replace(verdict=verdict, because=because, measured=share, unit="share"))
        return parts


def _good(statuses: Mapping[str, int]) -> int:
    return sum(count for status, count in statuses.items() if status[:1] in ("2", "3"))
