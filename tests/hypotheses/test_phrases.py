"""What every finding says: one sentence, a measured value, the window it is of, and where it broke the moment."""

from __future__ import annotations

import re

import pytest

from chaoskit.hypotheses.alert import Alert
from chaoskit.hypotheses.availability import Availability
from chaoskit.hypotheses.breaker import Breaker
from chaoskit.hypotheses.bulkhead import Bulkhead
from chaoskit.hypotheses.bystanders_hold import BystandersHold
from chaoskit.hypotheses.error_rate import ErrorRate
from chaoskit.hypotheses.fallback import Fallback
from chaoskit.hypotheses.health import Health
from chaoskit.hypotheses.invariant import Invariant
from chaoskit.hypotheses.latency import Latency
from chaoskit.hypotheses.metric import Metric
from chaoskit.hypotheses.no_stale_reads import NoStaleReads
from chaoskit.hypotheses.nothing_lost import NothingLost
from chaoskit.hypotheses.nothing_twice import NothingTwice
from chaoskit.hypotheses.prometheus import Prometheus
from chaoskit.hypotheses.rate_limit import RateLimit
from chaoskit.hypotheses.recovery import Recovery
from chaoskit.hypotheses.retries import Retries
from chaoskit.hypotheses.saturation import Saturation
from chaoskit.hypotheses.throughput import Throughput
from chaoskit.hypotheses.timeout import Timeout
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import Phase
from chaoskit.model.verdict import Verdict
from chaoskit.registry import kinds
from chaoskit.testing import HistoryBuilder
from tests.hypotheses import test_consistency as consistency
from tests.hypotheses.histories import EDGE, healthy, with_breaker
from tests.hypotheses.test_retries import tried

SLOW = healthy().load("checkout", (12.0, 18.0), rate=80, response=0.5)
FAILING = healthy().load("checkout", "fault", rate=80, failures={"status 503": 0.5})
BUSY = healthy().calls(EDGE, "fault", rate=80, took=1.5)
AGAIN = tried(waits=(0.05, 0.05), jitter=0.0, key=False)
FULL = healthy().metric("used", None, lambda at: 50.0 if 10 <= at < 18 else 5.0)
FULL.metric("used", None, lambda at: 50.0 if 10 <= at < 18 else 5.0, source="prometheus")

REFUTED: list[tuple[Hypothesis, HistoryBuilder]] = [
    (Latency(p95=0.25), SLOW),
    (Latency(p95="+50%", of="checkout"), SLOW),
    (ErrorRate(max=0.01), FAILING),
    (Availability(min=0.99), FAILING),
    (Throughput(min=100.0), FAILING),
    (Recovery(within=1.0), healthy().load("checkout", (18.0, 21.0), rate=80, failures={"timeout": 1.0})),
    (Breaker(edge=EDGE, stays="closed"), with_breaker()),
    (Breaker(edge=EDGE, opens_within=1.0), healthy()),
    (Breaker(edge=EDGE, trials=1), with_breaker(calls_at_trial=9)),
    (Breaker(edge=EDGE, closes_within=1.0), with_breaker(closing_trial=22.0)),
    (Breaker(edge=EDGE, fails_fast=0.1), with_breaker(fails_in=0.5)),
    (Breaker(edge=EDGE, openings=0), with_breaker()),
    (Retries(edge=EDGE, most=1.5), healthy().calls(EDGE, "fault", rate=240)),
    (Retries(edge=EDGE, worst_second=2.0), healthy().calls(EDGE, (12.0, 13.0), rate=400)),
    (Retries(edge=EDGE, attempts=1), AGAIN),
    (Retries(edge=EDGE, waits=0.1), AGAIN),
    (Retries(edge=EDGE, grows=True), AGAIN),
    (Retries(edge=EDGE, jitter=True), AGAIN),
    (Retries(edge=EDGE, only_safe=True), AGAIN),
    (Retries(edge=EDGE, budget=0.1), AGAIN),
    (Recovery(within=3.0, lost=10), FAILING),
    (Recovery(within=3.0, objective=0.99), FAILING),
    (Recovery(within=3.0, noticed_within=2.0), healthy()),
    (Recovery(within=3.0, noticed_within=2.0), with_breaker(opens_after=4.0)),
    (Health(service="orders"), FAILING),
    (Health(service="orders"), FAILING.copy().probe("orders/ready", (8.5, 23.0), ok=False)),
    (Health(service="orders", ready="stays"), healthy().probe("orders/ready", (9.0, 10.0), ok=False)),
    (BystandersHold(of="catalogue"), healthy().load("catalogue", "fault", rate=40, response=0.6)),
    (Bulkhead(edge=EDGE, slots=20), BUSY),
    (Timeout(edge=EDGE, within=0.5), BUSY),
    (Saturation(edge=EDGE, capacity=16, max=0.9), BUSY),
    (Saturation(metric="used", service="orders", capacity=40, max=0.9), FULL),
    (Metric(metric="used", service="orders", max=40), FULL),
    (Prometheus(query="used", max=40), FULL),
    (Alert(alert="Down", silent=True), healthy().metric("alert", None, 2.0, source="prometheus", alert="Down")),
    (Fallback(mark="degraded", max=0.01), healthy().load("checkout", "fault", rate=80, marks={"degraded": 0.5})),
    (RateLimit(of="checkout", admits=20.0), healthy()),
    (consistency.LOST, consistency.history(consistency.ALL, consistency.orders(1))),
    (consistency.TWICE, consistency.history(consistency.ALL, consistency.orders(1, 1))),
    (consistency.FRESH, consistency.register(("read", "x", "9", 12.5, 12.6, "acknowledged"))),
    (Invariant(read="money", at="$.total", equals=1), consistency.history(consistency.MONEY)),
]
WINDOW = re.compile(
    rf"\bin ({'|'.join(Phase)})\b|of the fault|after the fault|after its end|while it was open|at the end|for all .* of"
    r"|from the injection|from \d+\.\d s on|at \d+\.\d s|more than once"
)
MOMENT = re.compile(r"\bat \d+\.\d s|\bfrom \d+\.\d s on|at the end")


def test_every_kind_is_refuted_here_once() -> None:
    assert {claim.kind for claim, _ in REFUTED} == set(kinds("hypotheses"))
    assert {NoStaleReads, NothingLost, NothingTwice} <= {type(claim) for claim, _ in REFUTED}


@pytest.mark.parametrize(("claim", "built"), REFUTED, ids=[claim.expected()[:50] for claim, _ in REFUTED])
def test_a_refuted_finding_says_how_much_against_what_and_when(claim: Hypothesis, built: HistoryBuilder) -> None:
    finding = claim.judge(built.build())
    said = finding.because
    assert finding.verdict is Verdict.REFUTED, said
    assert re.search(r"\d", said), "no measured value"
    assert WINDOW.search(said), said
    assert MOMENT.search(said), said
    assert "\n" not in said
    assert not said.endswith(".")
    assert said == said.strip()
    assert finding.expected
    assert finding.evidence or finding.phase == "verify"
