"""fallback, rate_limit, bystanders_hold and bulkhead: healthy, broken in each way, and too little to tell."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.bulkhead import Bulkhead
from chaoskit.hypotheses.bystanders_hold import BystandersHold
from chaoskit.hypotheses.fallback import Fallback
from chaoskit.hypotheses.rate_limit import RateLimit
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import Phase, SteadyBound
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, healthy

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def degraded(share: float, failing: float = 0.0) -> HistoryBuilder:
    failures = {"status 503": failing} if failing else None
    return healthy().load("checkout", "fault", rate=80, failures=failures, marks={"degraded": share})


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (Fallback(of="checkout", mark="degraded", min=0.9), degraded(1.0), SUPPORTED, "share of degraded answers"),
        (Fallback(of="checkout", mark="degraded", min=0.9), degraded(0.5), REFUTED, "below 90%"),
        (Fallback(of="checkout", mark="degraded", min=0.9), degraded(0.0, 1.0), REFUTED, "below 90%"),
        (Fallback(of="checkout", mark="degraded", max=0.01), degraded(0.2), REFUTED, "above 1%"),
        (
            Fallback(of="checkout", mark="degraded", max=0.01, holds_in=(Phase.RECOVERY,)),
            degraded(1.0),
            SUPPORTED,
            "0%",
        ),
        (Fallback(of="checkout", mark="degraded", max=0.001), degraded(0.0), INCONCLUSIVE, "at least 3000"),
    ],
    ids=["served", "half", "fails instead", "too much", "only in the fault", "too few"],
)
def test_fallbacks(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def limited(admitted: float, *, rate: float = 100.0, told: float = 1.0, broken: float = 0.0) -> HistoryBuilder:
    refused = 1.0 - admitted / rate - broken
    failures = {"status 429": refused} | ({"status 500": broken} if broken else {})
    built = HistoryBuilder().load("api", rate=20)
    return built.load("api", "fault", rate=rate, failures=failures, marks={"told": told})


LIMIT = RateLimit(of="api", admits=50.0, mark="told")


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (LIMIT, limited(50.0), SUPPORTED, "as claimed: 50/s ± 10%"),
        (LIMIT, limited(80.0), REFUTED, "more than 50/s"),
        (LIMIT, limited(20.0), REFUTED, "less than 50/s"),
        (LIMIT, limited(50.0, told=0.1), REFUTED, "the others do not say when to come back"),
        (LIMIT, limited(50.0, broken=0.2), REFUTED, "neither admitted nor refused with 429 (status 500: 200)"),
        (LIMIT, limited(54.9), INCONCLUSIVE, "too close to call"),
        (LIMIT, HistoryBuilder().load("api", rate=30), INCONCLUSIVE, "nothing shows a limit"),
        (LIMIT, limited(50.0).window("fault", (8.0, 10.0)), INCONCLUSIVE, "too short for an interval"),
        (LIMIT, HistoryBuilder().phases(fault=0).load("api", rate=30), INCONCLUSIVE, "nothing shows a limit"),
    ],
    ids=[
        "as claimed", "lets more in", "lets less in", "does not say when", "breaks", "close", "not reached", "short",
        "cut short",
    ],
)  # fmt: skip
def test_rate_limits(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def checkout_broken() -> HistoryBuilder:
    return healthy().load("checkout", "fault", rate=80, failures={"timeout": 1.0})


HOLDS = BystandersHold(of="catalogue")


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (HOLDS, checkout_broken(), SUPPORTED, "catalogue kept the steady state in fault: error rate 0% and p95"),
        (HOLDS, checkout_broken().load("catalogue", "fault", rate=40, response=0.6), REFUTED, "p95 of catalogue"),
        (
            HOLDS,
            checkout_broken().load("catalogue", "fault", rate=40, failures={"reset": 0.2}),
            REFUTED,
            "error rate of",
        ),
        (
            HOLDS,
            checkout_broken().probe("inventory/ready").probe("inventory/ready", (9.0, 10.0), ok=False),
            REFUTED,
            "readiness of inventory, which is a bystander, said no 4 times",
        ),
        (HOLDS, checkout_broken().probe("orders/ready", "fault", ok=False), SUPPORTED, "kept the steady state"),
        (HOLDS, HistoryBuilder().load("catalogue", rate=40), INCONCLUSIVE, "names no steady state"),
        (HOLDS, healthy().load("catalogue", rate=2), INCONCLUSIVE, "cannot be told from"),
    ],
    ids=["untouched", "slow", "failing", "not ready", "upstream is no bystander", "no steady state", "few"],
)
def test_bystanders(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


WALL = Bulkhead(edge=EDGE, slots=20, of="catalogue")


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (WALL, healthy(), SUPPORTED, "calls were in flight on orders->payments in fault, within 20 slots"),
        (WALL, healthy().calls(EDGE, "fault", rate=80, took=1.0), REFUTED, "above 20 slots"),
        (WALL, healthy().calls(EDGE, "fault", rate=80, took=1.0).counts_only(), REFUTED, "above 20 slots"),
        (WALL, healthy().load("catalogue", "fault", rate=40, response=0.6), REFUTED, "p95 of catalogue"),
        (WALL, healthy().calls(EDGE, rate=0), INCONCLUSIVE, "nothing shows how many"),
        (WALL, healthy().calls(EDGE, "fault", rate=1), INCONCLUSIVE, "only 10 calls crossed orders->payments in fault"),
    ],
    ids=["holds", "overflows", "overflows, by slots", "leaks", "never called", "hardly called"],
)
def test_bulkheads(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_the_requests_that_a_steady_state_takes_are_known_before_the_run() -> None:
    strict = [SteadyBound(measure="error_rate", most=0.01), SteadyBound(measure="p95", most=0.2)]
    assert HOLDS.samples_under(strict) == WALL.samples_under(strict) == 300
    assert HOLDS.samples_under(strict[1:]) == 72
    assert HOLDS.samples_under([SteadyBound(measure="error_rate", of="checkout", most=0.001)]) == 72  # about others
    assert Bulkhead(edge=EDGE, slots=20).samples_under(strict) == 1


def test_claims_without_a_bound_are_refused() -> None:
    with pytest.raises(ValidationError, match="min or max"):
        Fallback(mark="degraded")
    with pytest.raises(ValidationError):
        BystandersHold(of="")
