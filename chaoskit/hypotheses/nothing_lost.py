"""What was acknowledged is there in the end."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from chaoskit.hypotheses.claim import Part, finding
from chaoskit.hypotheses.reads import CannotTell, FinalRead
from chaoskit.hypotheses.words import joined, moment
from chaoskit.model.history import History, Phase
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["NothingLost"]


class NothingLost(FinalRead):
    """Every write that was acknowledged can be read at the end.

    What it measures: the keys of all writes that the load was told had succeeded, in all phases, against the keys that
    a step of the verify phase reads, after the load has stopped and the system has settled. Writes whose answer never
    came may be there or not.

    Formula:
        lost = |acknowledged keys − keys read at the end|  ≤ allowed

    Example:
        load: {requests: [{…, tells: {as: order, write: "${order}"}}], …}
        verify: [{name: all orders, path: /orders}]
        {kind: nothing_lost, told: order, read: all orders, at: "$.orders[*].id"}

    Limits: what was acknowledged and then deleted on purpose looks lost. The answer must fit into 100,000 characters.
    No answer, or no acknowledged write, is inconclusive.
    """

    kind: ClassVar[str] = "nothing_lost"

    told: str = Field(min_length=1)
    """Name under which the load keeps what it was told (`tells:` of a request)."""
    allowed: int = Field(default=0, ge=0)
    """Most acknowledged writes that may be lost."""

    def expected(self) -> str:
        most = f"at most {self.allowed}" if self.allowed else "no"
        return f"{most} acknowledged {self.told} lost"

    def judge(self, history: History) -> Finding:
        try:
            there = self.keys(history)
        except CannotTell as error:
            return finding(self, [Part(Verdict.INCONCLUSIVE, str(error), phase=str(Phase.VERIFY))])
        written = self.written(history)
        acknowledged = [one for one in written if one.outcome == "acknowledged"]
        phase = str(Phase.VERIFY)
        if not acknowledged:
            because = f"no {self.told} was acknowledged ({len(written)} were sent): there was nothing to lose"
            return finding(self, [Part(Verdict.INCONCLUSIVE, because, phase=phase)])
        lost = sorted((one for one in acknowledged if one.key not in there), key=lambda one: one.ended)
        count = float(len(lost))
        if len(lost) <= self.allowed:
            there_still = len(acknowledged) - len(lost)
            because = f"{there_still} of {len(acknowledged)} acknowledged {self.told} were read at the end"
            return finding(self, [Part(Verdict.SUPPORTED, because, count, "lost", None, phase, len(acknowledged))])
        some = joined([one.key for one in lost[:3]]) + (" …" if len(lost) > 3 else "")
        because = (
            f"{len(lost)} of {len(acknowledged)} acknowledged {self.told} were not there at the end ({some}); the first"
            f" was acknowledged {moment(history, lost[0].ended)}"
        )
        evidence = tuple((one.sent, one.ended) for one in lost[:50])
        return finding(self, [Part(Verdict.REFUTED, because, count, "lost", None, phase, len(acknowledged), evidence)])
