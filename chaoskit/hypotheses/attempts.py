"""Which calls over an edge are attempts at the same thing, and what their number, spacing and safety are judged by.

Attempts belong together by their trace id, method and path, where the caller passes `traceparent` on. Without it they
belong to the one call into the caller that was open when they began, where hardly any two were open at once (a pilot
of requests that do not overlap). Otherwise it cannot be told.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from chaoskit.hypotheses.claim import Part
from chaoskit.hypotheses.words import amount, joined, moment
from chaoskit.model.crossings import checked_paths
from chaoskit.model.history import History
from chaoskit.model.observation import TapCall
from chaoskit.model.topology import Edge
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Verdict

__all__ = ["Attempts", "at_most", "attempts", "grows", "jitters", "only_safe", "silent", "waits"]

_SURE = 0.9
"""Share of the calls that must be told apart."""
_ENOUGH = 20
"""Retries below which their spacing says nothing."""
_GROWS = 1.5
"""Least ratio of the second wait to the first that counts as growing."""
_SPREAD = 0.12
"""Least (p50 − p10) ÷ p50 of the first waits that counts as jitter. Only the shorter half is looked at: a busy machine
makes waits longer, never shorter."""
_AT_ONCE = 0.005
_SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
"""Methods that may be repeated by themselves (RFC 9110 §9.2.2)."""


class Attempts(NamedTuple):
    """Requests of a phase, each as its attempts in order; or why they cannot be told apart."""

    requests: list[list[TapCall]]
    because: str = ""
    where: str = ""
    """The phase, for people: ` in fault`."""

    @property
    def retries(self) -> int:
        return sum(len(calls) - 1 for calls in self.requests)

    @property
    def repeated(self) -> int:
        """Requests with more than one attempt."""
        return sum(len(calls) > 1 for calls in self.requests)

    def first(self, history: History) -> str:
        """When something was first tried again, for people; empty where nothing was."""
        again = [call.start for calls in self.requests for call in calls[1:]]
        return f"; the first retry came {moment(history, min(again))}" if again else ""

    def waited(self, number: int) -> list[float]:
        """Seconds between the end of attempt `number` (from 1) and the start of the next, ascending."""
        pairs = [(calls[number - 1], calls[number]) for calls in self.requests if len(calls) > number]
        return sorted(max(0.0, after.start - (before.end or after.start)) for before, after in pairs)


def attempts(history: History, edges: Sequence[Edge], caller: str) -> Attempts:
    """The attempts of what `caller` asked over these edges in the history's view. Health checks are left out."""
    checks = checked_paths(history, edges)
    # Turns of other protocols than HTTP have no path: nothing tells which of them ask for the same thing.
    paths = [(call.path.partition("?")[0], call) for edge in edges for call in history.tap(edge.name).calls]
    calls = [call for path, call in paths if path and path not in checks]
    calls.sort(key=lambda call: call.start)
    incoming = [c for e in history.topology.edges if e.callee == caller for c in history.tap(e.name).calls]
    if not calls:
        return Attempts([], "no HTTP call crossed it")
    asked = {call.trace_id for call in incoming if call.trace_id}
    traced = [call for call in calls if call.trace_id in asked]
    if len(traced) >= _SURE * len(calls):
        return Attempts(_grouped([(call.trace_id, call) for call in traced]))
    owners = _owners(calls, incoming)
    owned = [(str(owner), call) for owner, call in zip(owners, calls, strict=True) if owner is not None]
    if len(owned) >= _SURE * len(calls):
        return Attempts(_grouped(owned))
    because = f"{caller} passes no traceparent on and its requests overlap, so retries look like calls"
    return Attempts([], because)


def at_most(seen: Attempts, most: int, history: History) -> Part:
    """No request is attempted more often."""
    worst = max(seen.requests, key=len)
    over = [calls for calls in seen.requests if len(calls) > most]
    told = f"{len(seen.requests)} requests{seen.where}"
    if not over:
        because = f"no request was tried more than {len(worst)} times ({told}), at most {most}"
        return Part(Verdict.SUPPORTED, because, float(len(worst)), "attempts", samples=len(seen.requests))
    because = (
        f"{len(over)} of {told} were tried more than {most} times, one of them {len(worst)} times"
        f" ({moment(history, worst[0].start)}){silent(seen)}"
    )
    evidence = tuple((calls[0].start, calls[-1].start) for calls in over[:50])
    return Part(Verdict.REFUTED, because, float(len(worst)), "attempts", samples=len(seen.requests), evidence=evidence)


def waits(seen: Attempts, least: float, history: History) -> Part:
    """The caller waits before it tries again."""
    waited = seen.waited(1)
    if len(waited) < _ENOUGH:
        return _too_few(seen, len(waited), "how long it waits before it tries again")
    middle = _quantile(waited, 0.5)
    held = middle >= least
    because = (
        f"the wait before a retry was {amount(middle, 's')} in the middle ({len(waited)} retries{seen.where}),"
        f" {'at least' if held else 'below'} {duration_text(least)}{silent(seen)}{'' if held else seen.first(history)}"
    )
    return Part(_verdict(held), because, middle, "s", samples=len(waited))


def grows(seen: Attempts, history: History) -> Part:
    """The second wait is longer than the first."""
    first, second = seen.waited(1), seen.waited(2)
    if len(second) < _ENOUGH:
        return _too_few(seen, len(second), "whether the waits grow (it takes requests with three attempts)")
    before, after = _quantile(first, 0.5), _quantile(second, 0.5)
    times = after / before if before > 0 else 1.0
    held = times >= _GROWS
    because = (
        f"the second wait{seen.where} was {amount(times, '×')} the first ({amount(before, 's')}, then"
        f" {amount(after, 's')}):"
        f" {'they grow' if held else 'the backoff does not grow' + seen.first(history)}"
    )
    return Part(_verdict(held), because, times, "×", samples=len(second))


def jitters(seen: Attempts, history: History) -> Part:
    """Waits differ, so that callers who failed together do not come back together."""
    waited = seen.waited(1)
    if len(waited) < _ENOUGH:
        return _too_few(seen, len(waited), "whether its waits have jitter")
    low, middle = (_quantile(waited, q) for q in (0.1, 0.5))
    spread = (middle - low) / middle if middle > 0 else 0.0
    held = spread >= _SPREAD and middle >= _AT_ONCE
    said = "they have jitter" if held else f"without jitter, all come back together{seen.first(history)}"
    because = (
        f"p10 of {len(waited)} waits before a retry{seen.where} was {amount(low, 's')}, their median"
        f" {amount(middle, 's')}: {said}"
    )
    return Part(_verdict(held), because, spread, "share", samples=len(waited))


def only_safe(seen: Attempts, history: History) -> Part:
    """Nothing is repeated that must not be: a POST without an idempotency key."""
    repeated = [call for calls in seen.requests for call in calls[1:] if call.method not in _SAFE and not call.key]
    if not repeated:
        told = f"{seen.retries} retries of {len(seen.requests)} requests{seen.where}"
        because = f"no call that must not be repeated was ({told})"
        return Part(Verdict.SUPPORTED, because, 0.0, "calls", samples=len(seen.requests))
    what = joined(sorted({f"{call.method} {call.path}" for call in repeated})[:3])
    because = (
        f"{len(repeated)} calls were repeated{seen.where} without an Idempotency-Key ({what}), first"
        f" {moment(history, min(call.start for call in repeated))}"
    )
    evidence = tuple((call.start, call.end or call.start) for call in repeated[:50])
    return Part(Verdict.REFUTED, because, float(len(repeated)), "calls", samples=len(seen.requests), evidence=evidence)


def silent(seen: Attempts) -> str:
    """What a client library does by itself: it repeats at once on a fresh connection."""
    at_once = sum(
        after.first and before.outcome == "cut" and after.start - (before.end or after.start) < _AT_ONCE
        for calls in seen.requests
        for before, after in pairwise(calls)
    )
    return f"; {at_once} retries came at once on a fresh connection, as client libraries do" if at_once else ""


def _too_few(seen: Attempts, counted: int, what: str) -> Part:
    because = f"{counted} retries{seen.where} are too few to tell {what}: it takes {_ENOUGH}"
    return Part(Verdict.INCONCLUSIVE, because, samples=counted)


def _grouped(owned: Sequence[tuple[str, TapCall]]) -> list[list[TapCall]]:
    groups: dict[tuple[str, str, str], list[TapCall]] = defaultdict(list)
    for owner, call in owned:
        groups[owner, call.method, call.path].append(call)
    return list(groups.values())


def _owners(calls: Sequence[TapCall], incoming: Sequence[TapCall]) -> list[int | None]:
    """For each call, the one call into the caller that was open when it began; None where there were others."""
    opened = sorted(incoming, key=lambda call: call.start)
    starts = [call.start for call in opened]
    ends = sorted(call.end for call in opened if call.end is not None)
    owners: list[int | None] = []
    for call in calls:
        begun = bisect_right(starts, call.start)
        alone = begun - bisect_left(ends, call.start) == 1
        latest = range(begun - 1, max(begun - 50, -1), -1)
        owner = next((n for n in latest if (opened[n].end or call.start) >= call.start), None)
        owners.append(owner if alone else None)
    return owners


def _quantile(ascending: Sequence[float], q: float) -> float:
    return ascending[min(int(q * len(ascending)), len(ascending) - 1)]


def _verdict(held: bool) -> Verdict:
    return Verdict.SUPPORTED if held else Verdict.REFUTED
