"""recovery: back in time, late, never, not for long; and too little to tell."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.recovery import Recovery
from chaoskit.model.spans import Span
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, healthy, with_breaker

CLAIM = Recovery(within=3.0)


def failing(*spans: Span, built: HistoryBuilder | None = None) -> HistoryBuilder:
    built = built or healthy()
    for span in spans:
        built.load("checkout", span, rate=80, failures={"status 503": 1.0})
    return built


@pytest.mark.parametrize(
    ("built", "verdict", "measured", "said"),
    [
        (healthy(), Verdict.SUPPORTED, 0.0, "no request failed on the way"),
        (
            failing((8.0, 19.0)),
            Verdict.SUPPORTED,
            1.0,
            "held again 1 s after the fault's end at 18.0 s, at most 3 s; 880",
        ),
        (failing((8.0, 22.5)), Verdict.REFUTED, 4.5, "later than 3 s"),
        (failing((8.0, 24.0)), Verdict.REFUTED, math.inf, "what still broke: error rate ≤ 1%"),
        (failing((8.0, 19.0), (22.0, 23.0)), Verdict.REFUTED, 1.0, "but it did not last"),
        (healthy().load("checkout", (18.0, 23.0), rate=80, response=1.0), Verdict.REFUTED, 5.0, "later than"),
    ],
    ids=["never away", "in time", "late", "never", "not for long", "slow for long"],
)
def test_recovery_is_judged(built: HistoryBuilder, verdict: Verdict, measured: float, said: str) -> None:
    finding = CLAIM.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
    assert finding.measured == pytest.approx(measured)
    assert finding.phase == "recovery"


def test_the_seconds_that_broke_again_are_the_evidence() -> None:
    assert CLAIM.judge(failing((22.0, 23.0)).build()).evidence == ((22.0, 23.0),)


def test_requests_lost_on_the_way_can_be_bounded() -> None:
    history = failing((8.0, 9.0)).build()
    assert Recovery(within=3.0, lost=100).judge(history).verdict is Verdict.SUPPORTED
    finding = Recovery(within=3.0, lost=50).judge(history)
    assert (finding.verdict, finding.measured) == (Verdict.REFUTED, 80.0)


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (HistoryBuilder().load("checkout", rate=80).fault("kill", on="payments"), "names no steady state"),
        (HistoryBuilder().steady_state(p95=0.25).load("checkout", rate=80), "no end of a fault"),
        (healthy().fault("kill", on="payments", undone=False), "no end of a fault"),
        (failing((8.0, 20.0), built=healthy().window("recovery", (18.0, 20.0))), "too short to see it hold"),
        (healthy().window("recovery"), "never reached recovery"),
    ],
    ids=["no steady state", "no fault", "a fault still in", "cut short", "no recovery"],
)
def test_what_recovery_cannot_tell(built: HistoryBuilder, said: str) -> None:
    finding = CLAIM.judge(built.build())
    assert (finding.verdict, said in finding.because) == (Verdict.INCONCLUSIVE, True), finding.because


def test_without_any_request_after_the_fault_nothing_recovered_and_nothing_did_not() -> None:
    history = HistoryBuilder().steady_state(p95=0.25).load("checkout", "baseline", rate=80).fault("kill", on="payments")
    finding = CLAIM.judge(history.build())
    assert (finding.verdict, "no request was planned" in finding.because) == (Verdict.INCONCLUSIVE, True)


def stopped() -> HistoryBuilder:
    """The gateway answers without asking orders, from 9 s to 12 s; the fault is on another edge."""
    built = healthy().calls("load->gateway", rate=80, took=0.1, path="/checkout")
    for edge in ("gateway->orders", EDGE):
        built.calls(edge, (9.0, 12.0), rate=0, path="/checkout" if edge == "gateway->orders" else "/charges")
    return built


NOTICED = Recovery(within=3.0, noticed_within=2.0)


@pytest.mark.parametrize(
    ("built", "verdict", "said"),
    [
        (
            healthy().probe("orders/ready", (9.0, 18.0), ok=False),
            Verdict.SUPPORTED,
            "readiness of orders noticed the fault",
        ),
        (
            healthy().breaker(EDGE, 9.5, "open"),
            Verdict.SUPPORTED,
            "breaker on orders->payments noticed the fault after 1.5 s (at 9.5 s), within 2 s",
        ),
        (healthy().metric("alert", (9.0, 12.0), 2.0, alert="Down"), Verdict.SUPPORTED, "the alert Down noticed"),
        (
            healthy().probe("orders/ready", (11.0, 18.0), ok=False),
            Verdict.REFUTED,
            "after 3 s (at 11.0 s), later than 2 s",
        ),
        (healthy(), Verdict.REFUTED, "nothing noticed the fault in the 16 s from 8.0 s on"),
        (with_breaker(), Verdict.SUPPORTED, "the breaker on orders->payments noticed the fault after 506 ms"),
        (with_breaker(opens_after=3.0, trials=(13.4,)), Verdict.REFUTED, "after 3.01 s (at 11.0 s), later than 2 s"),
        (
            healthy().closed_listener(EDGE, "fault").calls(EDGE, "fault", rate=0),
            Verdict.INCONCLUSIVE,
            "but the breaker on orders->payments could not be seen: its listener was closed",
        ),
        (stopped(), Verdict.INCONCLUSIVE, "but calls over gateway->orders stopped at 9.0 s, as if a breaker had"),
    ],
    ids=["health", "breaker", "alert", "late", "nobody", "seen open", "seen open late", "unseen", "stopped elsewhere"],
)
def test_how_soon_it_was_noticed(built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = NOTICED.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_where_nobody_could_notice_or_not_for_long_nothing_shows_that_nobody_did() -> None:
    blind = HistoryBuilder().steady_state(error_rate=0.01).load("checkout", rate=80).fault("latency", on=EDGE)
    finding = NOTICED.judge(blind.build())
    assert (finding.verdict, "nobody could have noticed" in finding.because) == (Verdict.INCONCLUSIVE, True)
    patient = Recovery(within=3.0, noticed_within=20.0).judge(healthy().build())
    assert (patient.verdict, "in the 16 s that were watched" in patient.because) == (Verdict.INCONCLUSIVE, True)


def test_without_requests_there_is_no_error_budget() -> None:
    idle = HistoryBuilder().steady_state(error_rate=0.01).fault("latency", on=EDGE)
    assert "no error budget to spend" in Recovery(within=3.0, objective=0.99).judge(idle.build()).because


def test_the_error_budget_that_was_spent() -> None:
    history = failing((8.0, 9.0)).build()
    kept = Recovery(within=3.0, objective=0.95).judge(history)
    assert kept.verdict is Verdict.SUPPORTED
    assert "80 of 2640 requests failed from 8.0 s on: 60.6% of the error budget of 95%" in kept.because
    assert Recovery(within=3.0, objective=0.99).judge(history).verdict is Verdict.REFUTED
    assert Recovery(within=3.0, objective=1.0).judge(healthy().build()).verdict is Verdict.SUPPORTED


def test_recovery_has_no_interval_to_be_judged_by() -> None:
    with pytest.raises(ValidationError, match="judge"):
        Recovery.model_validate({"within": 3.0, "judge": "point"})
