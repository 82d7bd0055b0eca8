"""retries: few more calls than in baseline, a storm, a storm of one second; and too little to tell."""

from __future__ import annotations

import random

import pytest

from chaoskit.hypotheses.retries import Retries
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, healthy

CLAIM = Retries(edge=EDGE, most=1.5)


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (CLAIM, healthy(), Verdict.SUPPORTED, "1× of baseline's in fault"),
        (CLAIM, healthy().calls(EDGE, "fault", rate=96), Verdict.SUPPORTED, "1.2× of"),
        (CLAIM, healthy().calls(EDGE, "fault", rate=240), Verdict.REFUTED, "3× of baseline's in fault"),
        (CLAIM, healthy().calls(EDGE, (9.0, 18.0), rate=240), Verdict.REFUTED, "it broke first at 9.0 s"),
        (CLAIM, healthy().calls(EDGE, (12.0, 15.0), rate=200), Verdict.INCONCLUSIVE, "too close to call"),
        (
            Retries(edge=EDGE, most=1.5, worst_second=2.0),
            healthy().calls(EDGE, (12.0, 13.0), rate=300),
            Verdict.REFUTED,
            "in the worst second (at 12.0 s",
        ),
    ],
    ids=["none", "a few", "storm", "late storm", "in between", "one second"],
)
def test_amplification_is_judged(claim: Retries, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
    assert (finding.unit, finding.lane) == ("×", EDGE)


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (HistoryBuilder(), "too little to compare"),
        (healthy().calls("gateway->orders", "fault", rate=2, path="/checkout"), "it takes 50"),
        (healthy().closed_listener(EDGE, "fault"), "listener of orders->payments was closed"),
        (healthy().window("fault", (8.0, 10.0)), "too few for an interval"),
    ],
    ids=["nothing crossed", "hardly asked", "closed listener", "short"],
)
def test_what_retries_cannot_tell(built: HistoryBuilder, said: str) -> None:
    finding = CLAIM.judge(built.build())
    assert (finding.verdict, said in finding.because) == (Verdict.INCONCLUSIVE, True), finding.because


def test_a_point_is_enough_where_it_is_asked_for() -> None:
    built = healthy().calls(EDGE, (12.0, 15.0), rate=200)
    assert Retries(edge=EDGE, most=1.5, judge_by="point").judge(built.build()).verdict is Verdict.SUPPORTED


def tried(
    *,
    attempts: int = 3,
    waits: tuple[float, ...] = (0.05, 0.1),
    jitter: float = 0.5,
    method: str = "POST",
    key: bool = True,
    share: float = 0.2,
    traced: bool = True,
    rate: float = 20.0,
    first: bool = False,
) -> HistoryBuilder:
    """Requests of which a share is attempted again; every attempt but the last is cut after 10 ms."""
    built = healthy().calls("gateway->orders", rate=0, path="/checkout").calls(EDGE, rate=0)
    dice = random.Random(7)
    for number in range(int(24 * rate)):
        at = (number + 0.5) / rate
        trace = f"{number:032x}"
        start, tries = at + 0.001, attempts if 8 <= at < 18 and (number * 0.618) % 1.0 < share else 1
        for attempt in range(tries):
            last = attempt == tries - 1
            built.call(
                "orders->payments.1", start, 0.01, method=method, key=key, trace_id=trace if traced else "",
                outcome="answered" if last else "cut", first=first,
            )  # fmt: skip
            wait = waits[min(attempt, len(waits) - 1)]
            start += 0.01 + wait * (1 + jitter * dice.uniform(-1, 1))
        built.call("gateway->orders", at, start - at, trace_id=trace if traced else "", path="/checkout")
    return built


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (Retries(edge=EDGE, attempts=3), tried(), Verdict.SUPPORTED, "no request was tried more than 3 times"),
        (Retries(edge=EDGE, attempts=2), tried(), Verdict.REFUTED, "were tried more than 2 times, one of them 3 times"),
        (Retries(edge=EDGE, waits=0.03), tried(), Verdict.SUPPORTED, "the wait before a retry was"),
        (Retries(edge=EDGE, waits=0.03), tried(waits=(0.0,)), Verdict.REFUTED, "below 30 ms"),
        (Retries(edge=EDGE, waits=0.03), tried(waits=(0.0,), first=True), Verdict.REFUTED, "at once on a fresh"),
        (Retries(edge=EDGE, grows=True), tried(), Verdict.SUPPORTED, "they grow"),
        (Retries(edge=EDGE, grows=True), tried(waits=(0.05, 0.05)), Verdict.REFUTED, "does not grow"),
        (Retries(edge=EDGE, grows=True), tried(attempts=2), Verdict.INCONCLUSIVE, "three attempts"),
        (Retries(edge=EDGE, jitter=True), tried(), Verdict.SUPPORTED, "they have jitter"),
        (Retries(edge=EDGE, jitter=True), tried(jitter=0.0), Verdict.REFUTED, "all come back together"),
        (Retries(edge=EDGE, only_safe=True), tried(), Verdict.SUPPORTED, "no call that must not be repeated was"),
        (Retries(edge=EDGE, only_safe=True), tried(key=False), Verdict.REFUTED, "Idempotency-Key (POST /charges)"),
        (Retries(edge=EDGE, only_safe=True), tried(key=False, method="GET"), Verdict.SUPPORTED, "no call"),
        (Retries(edge=EDGE, budget=0.5), tried(attempts=2), Verdict.SUPPORTED, "of the requests"),
        (Retries(edge=EDGE, budget=0.1), tried(share=0.5), Verdict.REFUTED, "above 10%"),
        (Retries(edge=EDGE, waits=0.03), tried(share=0.02), Verdict.INCONCLUSIVE, "too few to tell"),
        (Retries(edge=EDGE, attempts=3), tried(traced=False, rate=3.0, share=0.5), Verdict.SUPPORTED, "no request"),
        (Retries(edge=EDGE, attempts=3), tried(traced=False, rate=40.0), Verdict.INCONCLUSIVE, "retries look like"),
    ],
    ids=[
        "attempts", "too many", "waits", "no backoff", "library", "grows", "constant", "no third", "jitter", "in step",
        "with key", "POST again", "GET again", "budget", "over budget", "few", "pilot", "overlap",
    ],
)  # fmt: skip
def test_single_requests_are_judged(claim: Retries, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
