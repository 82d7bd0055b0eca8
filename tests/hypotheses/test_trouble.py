"""What goes wrong with the evidence: nothing was seen, a run cut short, no numbers, metrics that vanish or reset."""

from __future__ import annotations

import json
import math
from functools import cache

import msgspec
import pytest

from chaoskit.gates import clock_gate, generator_gate, host_gate, parts_gate, samples_gate, steady_gate
from chaoskit.hypotheses.alert import Alert
from chaoskit.hypotheses.breaker import Breaker
from chaoskit.hypotheses.breaker_told import ToldBy
from chaoskit.hypotheses.invariant import Invariant
from chaoskit.hypotheses.metric import Metric
from chaoskit.hypotheses.no_stale_reads import NoStaleReads
from chaoskit.hypotheses.nothing_lost import NothingLost
from chaoskit.hypotheses.nothing_twice import NothingTwice
from chaoskit.hypotheses.prometheus import Prometheus
from chaoskit.hypotheses.rate_limit import RateLimit
from chaoskit.hypotheses.saturation import Saturation
from chaoskit.interfaces import Hypothesis
from chaoskit.model.breaker_lane import breaker_lanes
from chaoskit.model.drift import baseline_drift
from chaoskit.model.history import History
from chaoskit.model.observation import Event
from chaoskit.model.verdict import Verdict
from chaoskit.registry import kinds
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, with_breaker
from tests.hypotheses.test_healthy import CLAIMS, run

ALL: dict[str, Hypothesis] = CLAIMS | {
    "rate limit": RateLimit(of="checkout", admits=60.0),
    "nothing lost": NothingLost(told="order", read="orders", at="$[*]"),
    "nothing twice": NothingTwice(read="orders", at="$[*]"),
    "no stale reads": NoStaleReads(told="order"),
    "invariant": Invariant(read="orders", at="$.total", equals=1),
}


def test_every_kind_is_among_them() -> None:
    assert {claim.kind for claim in ALL.values()} == set(kinds("hypotheses"))


@pytest.mark.parametrize("name", ALL)
def test_of_a_run_in_which_nothing_was_seen_nothing_can_be_told(name: str) -> None:
    seen_nothing = HistoryBuilder().fault("latency", on=EDGE)
    never_began = HistoryBuilder().phases(warmup=0, baseline=0, fault=0, recovery=0)
    for built in (seen_nothing, never_began):
        finding = ALL[name].judge(built.build())
        assert finding.verdict is Verdict.INCONCLUSIVE, finding.because
        assert finding.because


@cache
def cut(at: float) -> History:
    """A healthy run that an abort or an interrupt ended."""
    whole = run(1)
    windows = {
        phase: [(start, min(end, at)) for start, end in spans if start < at] for phase, spans in whole.windows.items()
    }
    faults = [
        msgspec.structs.replace(
            fault,
            injected=fault.injected if fault.injected is not None and fault.injected < at else None,
            in_force=fault.in_force if fault.in_force is not None and fault.in_force < at else None,
            undone=min(fault.undone, at) if fault.undone is not None and (fault.injected or 0.0) < at else None,
        )
        for fault in whole.faults
    ]
    kept = [seen for seen in whole.observations if seen.at < at]
    windows = {phase: spans for phase, spans in windows.items() if spans}
    return History(kept, whole.topology, windows, faults, whole.steady_state)


@pytest.mark.parametrize("at", [0.3, 2.0, 5.0, 8.0, 8.1, 8.4, 9.5, 11.7, 13.9, 14.0, 14.2, 16.0, 18.9])
def test_a_healthy_run_that_was_cut_short_raises_no_alarm(at: float) -> None:
    history = cut(at)
    for name, claim in CLAIMS.items():
        finding = claim.judge(history)
        assert finding.verdict is not Verdict.REFUTED, f"{name}: {finding.because}"
        if at <= 8.0:
            assert finding.verdict is Verdict.INCONCLUSIVE, f"{name}: {finding.because}"
    for gate in (generator_gate(history), clock_gate(history), parts_gate(history, []), host_gate(history)):
        assert gate.open, gate.because
    assert samples_gate(history).open == (at > 2.4)
    assert steady_gate(history.steady_state, history).open == (at > 2.0)
    breaker_lanes(history)
    baseline_drift(history)


NO_NUMBERS = [math.nan, math.inf, -math.inf]
OF_METRICS: list[Hypothesis] = [
    Metric(metric="used", max=5),
    Metric(metric="used", min=5),
    Metric(metric="used", reads="rate", max=5),
    Metric(metric="used", across="sum", max=5),
    Prometheus(query="used", max=5),
    Saturation(metric="used", capacity=10, max=0.5),
    Alert(alert="Down", silent=True),
]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("claim", OF_METRICS, ids=lambda claim: claim.expected())
def test_what_is_no_number_is_no_evidence(claim: Hypothesis, value: float) -> None:
    built = HistoryBuilder().fault("latency", on=EDGE)
    for source in ("orders", "prometheus"):
        built.metric("used", None, value, source=source)
    if math.isnan(value):
        built.metric("alert", None, value, source="prometheus", alert="Down")
    finding = claim.judge(built.build())
    assert finding.verdict is Verdict.INCONCLUSIVE, finding.because


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_gates_do_not_stumble_over_what_is_no_number(value: float) -> None:
    built = HistoryBuilder().load("checkout", rate=80)
    for name in ("generator_cpu", "generator_loop_lag", "host_others", "host_wait", "host_turns", "host_stolen"):
        built.metric(name, None, value, source="host")
    history = built.metric("host_cores", None, value, source="host").build()
    assert generator_gate(history).open
    assert host_gate(history).open


def test_a_counter_that_resets_again_and_again_still_has_its_rate() -> None:
    """Five a second, from zero every four seconds; the scrape after a reset sees what was counted since."""
    built = HistoryBuilder().metric("retries_total", None, lambda at: 5.0 * (at % 4.0))
    assert Metric(metric="retries_total", reads="rate", max=5.5).judge(built.build()).verdict is Verdict.SUPPORTED
    fast = HistoryBuilder().metric("retries_total", None, lambda at: 50.0 * (at % 4.0))
    assert Metric(metric="retries_total", reads="rate", max=5.5).judge(fast.build()).verdict is Verdict.REFUTED


def test_a_metric_that_comes_and_goes_is_judged_where_it_is_there_for_half_of_the_time() -> None:
    claim = Metric(metric="used", service="orders", max=5)
    there = HistoryBuilder().metric("used", (0.0, 14.0), 3.0).build()
    assert claim.judge(there).verdict is Verdict.SUPPORTED
    gone = HistoryBuilder().metric("used", (0.0, 12.0), 3.0).build()
    assert claim.judge(gone).verdict is Verdict.INCONCLUSIVE
    over = HistoryBuilder().metric("used", (0.0, 14.0), lambda at: 9.0 if at > 10 else 3.0).build()
    assert claim.judge(over).verdict is Verdict.REFUTED


@pytest.mark.parametrize("claim", [Prometheus(query="up", min=1), Alert(alert="Down", silent=True)])
def test_a_prometheus_that_is_slow_or_goes_down_is_named_as_the_reason(claim: Hypothesis) -> None:
    told = "Prometheus at http://127.0.0.1:9 did not answer: ReadTimeout"
    built = HistoryBuilder().fault("latency", on=EDGE)
    built.observe(Event(at=10.0, source="probe.prometheus", kind="warning", text=told))
    built.metric("up", (0.0, 10.0), 1.0, source="prometheus")
    built.metric("alert", (0.0, 10.0), 0.0, source="prometheus", alert="Down")
    finding = claim.judge(built.build())
    assert (finding.verdict, told in finding.because) == (Verdict.INCONCLUSIVE, True), finding.because


def test_a_breaker_whose_metric_tells_no_number_is_not_told_by_it() -> None:
    claim = Breaker(edge=EDGE, metric="agrees", told_by=ToldBy(metric="cb_state"))
    silent = with_breaker().metric("cb_state", None, math.nan, source="orders").build()
    assert claim.judge(silent).verdict is Verdict.INCONCLUSIVE, claim.judge(silent).because
    vanished = with_breaker().metric("cb_state", (0.0, 10.0), lambda at: float(at > 8.5), source="orders").build()
    finding = claim.judge(vanished)
    assert (finding.verdict, "for 12 s of 16 s" in finding.because) == (Verdict.INCONCLUSIVE, True), finding.because


@pytest.mark.parametrize(("uncertainty", "is_open"), [("0.02", True), ("0.2", False), ("nan", False), ("?", False)])
def test_a_clock_that_nobody_can_read_shuts_its_gate(uncertainty: str, is_open: bool) -> None:
    history = HistoryBuilder().event("clock", 1.0, "worker.2", uncertainty=uncertainty).build()
    assert clock_gate(history).open is is_open


def test_the_order_in_which_observations_came_makes_no_difference() -> None:
    history = run(2)
    turned = History(
        list(reversed(history.observations)), history.topology, history.windows, history.faults, history.steady_state
    )
    for name, claim in CLAIMS.items():
        assert claim.judge(turned) == claim.judge(history), name


def test_an_answer_that_was_cut_is_not_taken_for_an_empty_one() -> None:
    body = json.dumps([f"o{number}" for number in range(20)])[:-9]
    about = {"step": "orders", "status": "200", "body": body}
    cut_short = HistoryBuilder().observe(Event(at=24.0, kind="read", text="orders", about=about)).build()
    for claim in (NothingLost(told="order", read="orders", at="$[*]"), NothingTwice(read="orders", at="$[*]")):
        assert claim.judge(cut_short).verdict is Verdict.INCONCLUSIVE
