"""What was acknowledged is there in the end."""

from __future__ import annotations

import json
from collections import Counter
from typing import ClassVar

from pydantic import Field, field_validator

from chaoskit.hypotheses.claim import Part, finding
from chaoskit.hypotheses.reads import CannotTell, read_at
from chaoskit.hypotheses.words import joined, moment
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase
from chaoskit.model.told import Told, told
from chaoskit.model.undo import JSON
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.traffic import parse_json_path

__all__ = ["NothingLost", "NothingTwice", "as_text"]


class _FinalRead(Hypothesis):
    """A claim about what a step of the verify phase read."""

    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.VERIFY,)

    told: str = ""
    """Name under which the load keeps what it was told (`tells:` of a request)."""
    read: str
    """Name of the step of the verify phase that reads everything."""
    at: str
    """JSONPath of the keys in its answer, such as `$.orders[*].id`."""

    @field_validator("at")
    @classmethod
    def _path(cls, value: str) -> str:
        parse_json_path(value)
        return value

    def keys(self, history: History) -> Counter[str]:
        return Counter(as_text(value) for value in read_at(history, self.read, self.at))

    def written(self, history: History) -> list[Told]:
        return [one for one in told(history.events("told"), self.told) if one.op == "write"]


class NothingLost(_FinalRead):
    """Every write that was acknowledged can be read at the end.

    What it measures: the keys of all writes that the load was told had succeeded, in all phases, against the keys that
    a step of the verify phase reads, after the load has stopped and the system has settled. Writes whose answer never
    came may be there or not.

    Example:
        verify: [{name: all orders, path: /orders}]
        {kind: nothing_lost, told: order, read: all orders, at: "$.orders[*].id"}

    Limits: what was acknowledged and then deleted on purpose looks lost. The answer must fit into 100,000 characters.
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


class NothingTwice(_FinalRead):
    """Nothing is applied twice, however often it was tried.

    What it measures: how often each key is in the answer of a step of the verify phase: at most once. With `told`, the
    first of those that are there twice is also told by when it was sent.

    Example:
        verify: [{name: all charges, path: /charges}]
        {kind: nothing_twice, read: all charges, at: "$[*].order"}

    Limits: the key must be what makes two applications the same (an order, an idempotency key), not a row's own id.
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


def as_text(value: JSON) -> str:
    """A value of an answer as keys are compared: texts as they are."""
    return value if isinstance(value, str) else json.dumps(value)
