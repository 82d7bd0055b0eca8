"""latency, error_rate, availability and throughput: healthy, each way of being broken, and too little to tell."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.availability import Availability
from chaoskit.hypotheses.bounds import LoadClaim
from chaoskit.hypotheses.error_rate import ErrorRate
from chaoskit.hypotheses.latency import Latency
from chaoskit.hypotheses.throughput import Throughput
from chaoskit.model.history import History, Phase, SteadyBound
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import healthy

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def slow(response: float = 0.5) -> HistoryBuilder:
    return healthy().load("checkout", (12.0, 18.0), rate=80, response=response)


def failing(share: float, cause: str = "status 503") -> HistoryBuilder:
    return healthy().load("checkout", "fault", rate=80, response=0.1, failures={cause: share})


CASES: list[tuple[str, LoadClaim, HistoryBuilder, Verdict, str]] = [
    ("healthy", Latency(p95=0.25), healthy(), SUPPORTED, "p95 was"),
    (
        "slow in the fault",
        Latency(p95=0.25),
        slow(),
        REFUTED,
        "broke first at 12.0 s, 4.0 s after the fault went in",
    ),
    ("slow for others only", Latency(p95=0.25, of="catalogue"), slow(), SUPPORTED, "p95 of catalogue"),
    ("a glob names several", Latency(p95=0.25, of="c*"), slow(), REFUTED, "p95 of c*"),
    ("one of two bounds broken", Latency(p50=1.0, p95=0.25, of="checkout"), slow(), REFUTED, "p95 of checkout"),
    ("half more than in baseline", Latency(p95="+50%", of="checkout"), slow(), REFUTED, "in baseline)"),
    ("not half more", Latency(p95="+50%", of="checkout"), healthy(), SUPPORTED, "in baseline)"),
    ("100 ms more", Latency(p95="+100ms", of="checkout"), slow(), REFUTED, "in baseline)"),
    ("failures rank above successes", Latency(p95=0.25), failing(0.2), REFUTED, "without end"),
    ("unless successes alone are asked", Latency(p95=0.25, over="successes"), failing(0.2), SUPPORTED, "p95 was"),
    ("a bound inside the interval", Latency(p50=0.1, of="checkout"), healthy(), INCONCLUSIVE, "too close to call"),
    ("too few for its quantile", Latency(**{"p99.9": 1.0}), healthy(), INCONCLUSIVE, "at least 3688"),
    ("no error", ErrorRate(max=0.01), healthy(), SUPPORTED, "error rate was 0%"),
    ("errors", ErrorRate(max=0.01), failing(0.05), REFUTED, "above 1%"),
    ("timeouts", ErrorRate(max=0.01, of="checkout"), failing(0.05, "timeout"), REFUTED, "above 1%"),
    ("of another cause", ErrorRate(max=0.01, cause="reset"), failing(0.05), SUPPORTED, "rate of reset"),
    ("of causes like it", ErrorRate(max=0.01, cause="status 5*"), failing(0.05), REFUTED, "rate of status 5*"),
    ("near its bound", ErrorRate(max=0.05, of="checkout"), failing(0.051), INCONCLUSIVE, "too close to call"),
    ("none is allowed, one happened", ErrorRate(max=0.0), failing(0.002), REFUTED, "above 0%"),
    ("none failed, but of too few", ErrorRate(max=0.001), healthy(), INCONCLUSIVE, "at least 3000"),
    ("no more errors than in baseline", ErrorRate(max="+1%", of="checkout"), healthy(), SUPPORTED, "in baseline)"),
    ("more than in baseline", ErrorRate(max="+1%", of="checkout"), failing(0.05), REFUTED, "above 1%; it broke first"),
    ("available", Availability(min=0.99), healthy(), SUPPORTED, "availability was 100%"),
    ("unavailable", Availability(min=0.99), failing(0.3), REFUTED, "below 99%"),
    ("as available", Availability(min="-5%"), healthy(), SUPPORTED, "(100% in baseline)"),
    ("less available", Availability(min="-5%"), failing(0.3), REFUTED, "below 95%"),
    ("rate held", Throughput(min=100.0), healthy(), SUPPORTED, "at least 100/s"),
    ("rate lost", Throughput(min=100.0), failing(0.5), REFUTED, "below 100/s"),
    ("share of baseline held", Throughput(min="90%"), healthy(), SUPPORTED, "in baseline)"),
    ("share of baseline lost", Throughput(min="90%"), failing(0.5), REFUTED, "in baseline)"),
]


@pytest.mark.parametrize(("claim", "built", "verdict", "said"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_a_bound_is_judged(claim: LoadClaim, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
    assert finding.phase == "fault"
    assert finding.evidence


@pytest.mark.parametrize("fate", ["dropped", "unfinished"])
def test_what_was_dropped_or_never_finished_did_not_succeed(fate: str) -> None:
    history = healthy().load("checkout", "fault", rate=80, **{fate: 0.6}).build()
    latency = Latency(p50=1.0, of="checkout").judge(history)
    assert (latency.verdict, latency.measured) == (REFUTED, math.inf)
    assert "more than half of the requests never succeeded" in latency.because
    assert ErrorRate(max=0.01, of="checkout").judge(history).measured == pytest.approx(0.6, abs=0.02)


def test_a_finding_carries_value_interval_samples_and_the_seconds_that_broke() -> None:
    finding = Latency(p95=0.25, of="checkout").judge(slow().build())
    assert finding.measured == pytest.approx(0.53, rel=0.1)
    assert finding.interval is not None
    assert finding.interval[0] <= (finding.measured or 0) <= finding.interval[1]
    assert (finding.unit, finding.samples) == ("s", 808)
    assert finding.evidence == ((12.0, 18.0),)
    assert finding.expected == "p95 of checkout ≤ 250 ms"


def test_point_judges_the_measured_value_alone() -> None:
    history = healthy().build()
    assert Latency(p50=0.1, of="checkout", judge_by="point").judge(history).verdict is not INCONCLUSIVE
    assert Latency.model_validate({"p50": "100ms", "judge": "point"}).judge_by == "point"


def test_every_phase_is_judged_and_the_worst_is_told() -> None:
    history = healthy().load("checkout", "recovery", rate=80, response=0.5).build()
    claim = Latency(p95=0.25, holds_in=(Phase.FAULT, Phase.RECOVERY))
    assert (claim.judge(history).verdict, claim.judge(history).phase) == (REFUTED, "recovery")
    assert "after the fault was out" in claim.judge(history).because


def test_a_plain_load_run_is_judged_in_its_one_window() -> None:
    history = HistoryBuilder().load_run(10).load("GET /", rate=50, response=0.1).build()
    finding = Latency(p95=0.25).judge(history)
    assert (finding.verdict, finding.phase) == (SUPPORTED, "load")


@pytest.mark.parametrize("claim", [Latency(p95=0.25), ErrorRate(max=0.01), Throughput(min=10.0), Availability(min=0.9)])
def test_a_phase_that_was_never_reached_or_had_no_load_cannot_be_told(claim: LoadClaim) -> None:
    cut_short = HistoryBuilder().phases(fault=0, recovery=0).load("checkout", rate=80).build()
    assert "never reached fault" in claim.judge(cut_short).because
    silent = HistoryBuilder().load("checkout", "baseline", rate=80).build()
    assert claim.judge(silent).verdict is INCONCLUSIVE
    assert claim.judge(cut_short).verdict is INCONCLUSIVE


def test_a_window_too_short_for_an_interval_cannot_be_told_but_by_its_point() -> None:
    history = HistoryBuilder().phases(fault=2).load("checkout", rate=200).build()
    finding = Latency(p95=0.25).judge(history)
    assert (finding.verdict, "blocks" in finding.because) == (INCONCLUSIVE, True)
    assert Latency(p95=0.25, judge_by="point").judge(history).verdict is SUPPORTED


def test_against_a_baseline_that_says_too_little_it_cannot_be_told() -> None:
    history = HistoryBuilder().phases(baseline=0.5).load("checkout", rate=80).build()
    finding = Latency(p95="+50%").judge(history)
    assert (finding.verdict, "held against the baseline" in finding.because) == (INCONCLUSIVE, True)


def test_a_healthy_service_against_itself_raises_no_alarm() -> None:
    claims = [Latency(p95="+50%"), Throughput(min="80%"), ErrorRate(max=0.01), Latency(p95=0.25)]
    for seed in range(30):
        history = HistoryBuilder(seed=seed).load("checkout", rate=50, response=0.1, spread=0.2).build()
        assert {claim.judge(history).verdict for claim in claims} == {SUPPORTED}


def test_absolute_bounds_make_a_steady_state_and_relative_ones_do_not() -> None:
    assert Latency(p95=0.25, **{"p99.9": 1.0}).as_bounds() == [
        SteadyBound(measure="p95", most=0.25),
        SteadyBound(measure="p99.9", most=1.0),
    ]
    assert ErrorRate(max=0.01, of="cart").as_bounds() == [SteadyBound(measure="error_rate", of="cart", most=0.01)]
    assert Availability(min=0.99).as_bound() == SteadyBound(measure="availability", least=0.99)
    assert Throughput(min=50.0).as_bound() == SteadyBound(measure="throughput", least=50.0)
    assert Latency(p95="+50%").as_bound() is None
    assert ErrorRate(max="+1%").as_bound() is None
    assert Throughput(min="90%").as_bound() is None


def test_the_samples_that_a_bound_takes_are_known_before_the_run() -> None:
    assert [Latency(**{p: 1.0}).samples_needed() for p in ("p50", "p95", "p99", "p99.9")] == [6, 72, 368, 3688]
    assert [ErrorRate(max=share).samples_needed() for share in (0.0, 0.001, 0.01, 0.5)] == [1, 3000, 300, 6]
    assert Availability(min=0.99).samples_needed() == 300


def test_names_that_are_not_in_the_load_are_told() -> None:
    topology = HistoryBuilder().build().topology
    assert Latency(p95=1.0, of="chekout").check(topology, ["checkout"]) == [
        ("of", "no request 'chekout' in the load; there are: checkout")
    ]
    assert not Latency(p95=1.0, of="check*").check(topology, ["checkout"])
    assert not Latency(p95=1.0, of="anything").check(topology, [])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, "expected a bound"),
        ({"p95": "400"}, "expected a duration such as 400ms, or +50%"),
        ({"p95": "50%"}, "expected a duration such as 400ms, or +50%"),
    ],
)
def test_a_latency_that_makes_no_sense_is_refused(written: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told.replace("+", r"\+")):
        Latency.model_validate(written)


def test_bounds_are_written_back_as_they_were_read() -> None:
    for text in ("400 ms", "+50%", "+100 ms"):
        assert Latency.model_validate({"p95": text}).model_dump(exclude_none=True)["p95"] == text
    assert [ErrorRate.model_validate({"max": t}).model_dump()["max"] for t in ("1%", "+1%")] == ["1%", "+1%"]
    assert [Throughput.model_validate({"min": t}).model_dump()["min"] for t in ("50/s", "90%")] == ["50/s", "90%"]


def test_judging_is_a_function_of_the_history() -> None:
    built = slow()
    again: History = built.build()
    assert Latency(p95=0.25).judge(built.build()) == Latency(p95=0.25).judge(again)


def test_too_few_requests_to_hold_may_be_enough_to_break() -> None:
    all_failed = healthy().load("checkout", "fault", rate=5, failures={"status 404": 1.0}).build()
    told = ErrorRate.model_validate({"max": 0.01, "of": "checkout"}).judge(all_failed)
    assert told.verdict is REFUTED, told.because
    few = healthy().load("checkout", "fault", rate=1, failures={"status 404": 1.0}).build()
    assert ErrorRate.model_validate({"max": 0.01, "of": "checkout"}).judge(few).verdict is INCONCLUSIVE
    none_failed = healthy().load("checkout", "fault", rate=5).build()
    assert ErrorRate.model_validate({"max": 0.01, "of": "checkout"}).judge(none_failed).verdict is INCONCLUSIVE
