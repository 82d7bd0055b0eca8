"""No read goes back in time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

from chaoskit.hypotheses.claim import Part, finding, unknown_name
from chaoskit.hypotheses.words import amount, joined, moment, share_text
from chaoskit.interfaces import Hypothesis, Named
from chaoskit.model.history import History, Phase
from chaoskit.model.told import Told, told
from chaoskit.model.units import Duration, Share, duration_text
from chaoskit.model.verdict import Finding, Verdict

__all__ = ["NoStaleReads"]

_ENOUGH = 20


class NoStaleReads(Hypothesis):
    """A read never returns what had been overwritten before it began.

    What it measures: the load's writes and reads of single keys, each write with a value of its own. A read is stale
    where a later write had been acknowledged before the read was sent, or where an earlier read had already returned
    something newer. "Later" and "earlier" are certain: of two that overlapped, either may come first. Writes whose
    answer never came may have happened or not.

    Formula:
        stale by = sent(read) − the first instant at which a later write was surely in place
        later    = sent after the write of what was read had ended
        share    = reads stale by more than `within` ÷ answered reads  ≤ max

    Example:
        {method: PUT, path: /x, json: "${new}", tells: {as: register, write: x, value: "${new}"}}      # in the load
        {path: /x, tells: {as: register, read: x, value: $}}
        {kind: no_stale_reads, told: register}
        {kind: no_stale_reads, told: register, within: 2s, max: 1%}     # a replica may lag by 2 s

    Limits: values must be unique for each key. It finds stale reads, not every violation of linearizability. Fewer
    than 20 answered reads in its phases are inconclusive.
    """

    kind: ClassVar[str] = "no_stale_reads"
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.FAULT, Phase.RECOVERY)

    told: str
    """Name under which the load keeps its writes and reads (`tells:` of a request)."""
    within: Duration = 0.0
    """How old what is read may be."""
    max: Share = 0.0
    """Largest share of the reads that may be stale."""

    def check_names(self, named: Named) -> Sequence[tuple[str, str]]:
        return unknown_name("request that tells", self.told, named.told, "told")

    def expected(self) -> str:
        old = f" by more than {duration_text(self.within)}" if self.within else ""
        most = f"≤ {share_text(self.max)} of {self.told} reads" if self.max else f"no {self.told} read"
        return f"{most} stale{old}"

    def judge(self, history: History) -> Finding:
        phases = (Phase.LOAD,) if Phase.LOAD in history.windows else self.phases
        where = joined([str(phase) for phase in phases if history.windows.get(phase)]) or "the run"
        spans = tuple(span for phase in phases for span in history.windows.get(phase, []))
        by_key: dict[str, list[Told]] = defaultdict(list)
        for one in told(history.events("told"), self.told):
            by_key[one.key].append(one)
        judged = [
            (read, staleness)
            for ones in by_key.values()
            for read, staleness in _staleness(ones)
            if any(start <= read.sent < end for start, end in spans)
        ]
        if len(judged) < _ENOUGH:
            because = f"only {len(judged)} reads of {self.told} were answered in {where}: it takes {_ENOUGH}"
            return finding(self, [Part(Verdict.INCONCLUSIVE, because, samples=len(judged), evidence=spans)])
        stale = sorted((pair for pair in judged if pair[1] > self.within), key=lambda pair: pair[0].sent)
        share = len(stale) / len(judged)
        base = Part(Verdict.SUPPORTED, "", share, "share", None, str(phases[0]), len(judged), spans)
        if share <= self.max:
            said = f"{len(stale)} of {len(judged)} reads of {self.told} in {where} were stale"
            return finding(self, [base._replace(because=f"{said}, at most {share_text(self.max)}")])
        worst = max(staleness for _, staleness in stale)
        first = stale[0][0]
        because = (
            f"{len(stale)} of {len(judged)} reads of {self.told} in {where} were stale ({share_text(share)}), by up to"
            f" {amount(worst, 's')}; the first read {first.value!r} of {first.key} {moment(history, first.sent)}"
        )
        evidence = tuple((read.sent, read.ended) for read, _ in stale[:50])
        return finding(self, [base._replace(verdict=Verdict.REFUTED, because=because, evidence=evidence)])


def _staleness(ones: list[Told]) -> list[tuple[Told, float]]:
    """Each answered read of one key, with how long before it was sent its value had certainly been overwritten (0 where
    it had not)."""
    writes = {one.value: one for one in ones if one.op == "write" and one.outcome != "refused"}
    reads = sorted((o for o in ones if o.op == "read" and o.outcome == "acknowledged"), key=lambda one: one.sent)
    # Instants at which a value was certainly in place: its write was acknowledged, or somebody had read it.
    placed = [(one.ended, one.sent) for one in writes.values() if one.outcome == "acknowledged"]
    placed += [(read.ended, writes[read.value].sent) for read in reads if read.value in writes]
    placed.sort()
    found = []
    latest = -math.inf  # the latest that a write, certainly in place by now, was sent
    place = 0
    overwritten: list[tuple[float, float]] = []  # (instant, latest so far), where the latter grew
    for read in reads:
        while place < len(placed) and placed[place][0] < read.sent:
            if placed[place][1] > latest:
                latest = placed[place][1]
                overwritten.append((placed[place][0], latest))
            place += 1
        own = writes.get(read.value)
        ended = own.ended if own is not None else -math.inf  # never written: it was there before
        since = next((instant for instant, sent in overwritten if sent > ended), None)
        found.append((read, read.sent - since if since is not None else 0.0))
    return found
