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


LIBRARY = tried(attempts=2, waits=(0.0,), first=True, share=1.0)


@pytest.mark.parametrize(
    "claim",
    [
        Retries(edge=EDGE, most=1.5),
        Retries(edge=EDGE, worst_second=1.5),
        Retries(edge=EDGE, most=1.5, worst_second=1.5),
        Retries(edge=EDGE, attempts=1),
        Retries(edge=EDGE, budget=0.1),
        Retries(edge=EDGE, waits=0.03),
    ],
    ids=["most", "worst second", "both", "attempts", "budget", "waits"],
)
def test_what_a_client_library_repeats_by_itself_is_said_once_whatever_is_claimed(claim: Retries) -> None:
    finding = claim.judge(LIBRARY.build())
    assert finding.verdict is Verdict.REFUTED
    assert finding.because.count("retries came at once on a fresh connection, as client libraries do") == 1


def test_the_worst_second_is_a_second_in_phases_of_any_length() -> None:
    built = HistoryBuilder().phases(warmup=0, baseline=10, fault=1260, recovery=0).fault("latency", on=EDGE)
    built.calls("gateway->orders", rate=10, took=0.01, path="/checkout").calls(EDGE, rate=10, took=0.01)
    finding = Retries(edge=EDGE, worst_second=5).judge(built.calls(EDGE, (300.0, 301.0), rate=100).build())
    assert (finding.verdict, "10× of baseline's" in finding.because) == (Verdict.REFUTED, True), finding.because
    assert finding.evidence == ((300.0, 301.0),)


@pytest.mark.parametrize("claim", [Retries(edge=EDGE, attempts=1), Retries(edge=EDGE, budget=0.1)])
def test_a_service_that_calls_the_same_twice_by_design_does_not_retry(claim: Retries) -> None:
    built = healthy().calls(EDGE, rate=0).calls("gateway->orders", rate=0, path="/checkout")
    for number in range(900):
        at, trace = 2 + number / 40, f"{number:032x}"
        built.call("gateway->orders", at, 0.2, path="/cart", trace_id=trace)
        for call in range(2):
            built.call("orders->payments.1", at + 0.01 + call * 0.05, 0.02, method="GET", path="/price", trace_id=trace)
    finding = claim.judge(built.build())
    assert (finding.verdict, "in baseline called the same more than once" in finding.because) == (
        Verdict.INCONCLUSIVE,
        True,
    ), finding.because


def test_attempts_are_not_told_from_turns_of_another_protocol() -> None:
    finding = Retries(edge="orders->postgres", attempts=1).judge(
        healthy().calls("orders->postgres", rate=80, path="").build()
    )
    assert (finding.verdict, "no HTTP call crossed it" in finding.because) == (Verdict.INCONCLUSIVE, True)
