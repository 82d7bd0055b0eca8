"""What was tried again was done once."""

from __future__ import annotations

from typing import ClassVar

from chaoskit.hypotheses.claim import Part, finding
from chaoskit.hypotheses.reads import CannotTell, FinalRead
from chaoskit.hypotheses.words import joined, moment
from chaoskit.model.history import History, Phase
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["NothingTwice"]


class NothingTwice(FinalRead):
    """Nothing is applied twice, however often it was tried.

    What it measures: how often each key is in the answer of a step of the verify phase: at most once. With `told`, the
    first of those that are there twice is also told by when it was sent.

    Formula:
        twice = keys that are in the answer more than once  = 0

    Example:
        verify: [{name: all charges, path: /charges}]
        {kind: nothing_twice, read: all charges, at: "$[*].order"}

    Limits: the key must be what makes two applications the same (an order, an idempotency key), not a row's own id.
    No answer, or an empty one, is inconclusive.
    """

    kind: ClassVar[str] = "nothing_twice"

    def expected(self) -> str:
        return f"every {self.at} of {self.read} once"

    def judge(self, history: History) -> Finding:
        phase = str(Phase.VERIFY)
        try:
            there = self.keys(history)
        except CannotTell as error:
            return finding(self, [Part(Verdict.INCONCLUSIVE, str(error), phase=phase)])
        if not there:
            because = f"{self.read} holds nothing at {self.at}: there was nothing to apply twice"
            return finding(self, [Part(Verdict.INCONCLUSIVE, because, phase=phase)])
        twice = [key for key, count in there.items() if count > 1]
        count = float(len(twice))
        if not twice:
            because = f"each of {len(there)} keys is in {self.read} once"
            return finding(self, [Part(Verdict.SUPPORTED, because, count, "twice", None, phase, len(there))])
        some = joined([f"{key} {there[key]} times" for key in twice[:3]]) + (" …" if len(twice) > 3 else "")
        sent = [one for one in self.written(history) if one.key in set(twice)] if self.told else []
        first = min(sent, key=lambda one: one.sent, default=None)
        since = f"; the first of them was sent {moment(history, first.sent)}" if first else ""
        because = f"{len(twice)} of {len(there)} keys are in {self.read} more than once ({some}){since}"
        evidence = tuple((one.sent, min(one.ended, one.sent + 1.0)) for one in sent[:50])
        return finding(self, [Part(Verdict.REFUTED, because, count, "twice", None, phase, len(there), evidence)])
