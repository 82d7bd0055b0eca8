"""breaker: one that does what it should, and each way in which one does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.breaker import Breaker
from chaoskit.hypotheses.breaker_told import ToldBy
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, healthy, with_breaker

FULL = Breaker(edge=EDGE, opens_within=2.0, fails_fast=0.1, trials=1, tries_every=2.3, closes_within=6.0, openings=1)
STAYS = Breaker(edge=EDGE, stays="closed")


def asked(took: float) -> HistoryBuilder:
    """Orders is asked all through the fault, and calls nobody."""
    return (
        healthy().calls("gateway->orders", "fault", rate=80, took=took, path="/checkout").calls(EDGE, "fault", rate=0)
    )


def without_breaker() -> HistoryBuilder:
    """40 slots, each of them waiting 5 s for an answer: calls stop crossing, but nothing is open."""
    built = asked(1.0)
    for start in (8.0, 13.0):
        for number in range(40):
            built.call("orders->payments.1", start + number / 80, 5.0, outcome="abandoned")
    return built


def flapping() -> HistoryBuilder:
    built = asked(0.01)
    for start in (9.0, 11.0, 13.0, 15.0):
        built.calls(EDGE, (start, start + 1.0), rate=80, took=0.05)
    return built


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (FULL, with_breaker(), Verdict.SUPPORTED, "after the fault went in, within 2 s; it had orders"),
        (FULL, with_breaker(opens_after=3.0, trials=(13.4, 15.9)), Verdict.REFUTED, "later than 2 s"),
        (FULL, healthy(), Verdict.REFUTED, "did not open in the 10 s of the fault"),
        (FULL, without_breaker(), Verdict.REFUTED, "did not open"),
        (FULL, with_breaker(fails_in=0.5), Verdict.REFUTED, "answer 95% of"),
        (FULL, with_breaker(calls_at_trial=20), Verdict.REFUTED, "let 20 calls cross when it tried again"),
        (FULL, with_breaker(trials=(9.5, 11.0, 12.5, 14.0, 15.5, 17.0)), Verdict.REFUTED, "not the 2.3 s that are"),
        (FULL, with_breaker(trials=(14.0,), closing_trial=20.0), Verdict.REFUTED, "not the 2.3 s that are claimed"),
        (FULL, with_breaker(trials=(), closing_trial=None), Verdict.REFUTED, "had not closed 6 s after"),
        (Breaker(edge=EDGE, closes_within=3.0), with_breaker(closing_trial=22.0), Verdict.REFUTED, "closed 4.2 s"),
        (Breaker(edge=EDGE, openings=1), flapping(), Verdict.REFUTED, "it flaps"),
        (Breaker(edge=EDGE, openings=1), with_breaker(), Verdict.SUPPORTED, "1 time in fault and recovery, at most 1"),
        (STAYS, healthy(), Verdict.SUPPORTED, "stayed closed in fault and recovery: 1280 calls crossed"),
        (STAYS, with_breaker(), Verdict.REFUTED, "opened at 8.5 s and was open for"),
        (STAYS, without_breaker(), Verdict.SUPPORTED, "stayed closed"),
    ],
    ids=[
        "as it should", "opens late", "never opens", "no breaker", "fails slowly", "herd", "tries too often",
        "tries too seldom",
        "never tries again", "closes late", "flaps", "opens once", "stays closed", "opens, should not", "full bulkhead",
    ],
)  # fmt: skip
def test_breakers_good_and_bad(claim: Breaker, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
    assert finding.lane == EDGE


def test_one_that_never_tries_again_is_named_for_that_too() -> None:
    finding = Breaker(edge=EDGE, trials=1).judge(with_breaker(trials=(), closing_trial=None).build())
    assert (finding.verdict, "never tried again" in finding.because) == (Verdict.INCONCLUSIVE, True)


def test_health_checks_over_the_edge_do_not_keep_it_looking_closed() -> None:
    built = with_breaker().calls(EDGE, rate=10, took=0.01, method="GET", path="/health/ready")
    assert FULL.judge(built.build()).verdict is Verdict.SUPPORTED


def test_a_closed_listener_hides_the_calls_and_the_metric_speaks_for_them() -> None:
    built = with_breaker().closed_listener(EDGE, "fault")
    claim = Breaker(edge=EDGE, opens_within=2.0, closes_within=6.0, holds_in=("fault",))
    blind = claim.judge(built.build())
    assert (blind.verdict, "could not be seen for 10 s" in blind.because) == (Verdict.INCONCLUSIVE, True), blind.because
    told = built.breaker(EDGE, 1.0, "closed").breaker(EDGE, 9.0, "open").breaker(EDGE, 19.0, "closed").build()
    finding = Breaker(edge=EDGE, opens_within=2.0, closes_within=6.0).judge(told)
    assert finding.verdict is Verdict.SUPPORTED, finding.because


def test_a_metric_that_tells_another_story_is_mentioned_and_refutes_where_it_must_agree() -> None:
    built = with_breaker().breaker(EDGE, 1.0, "closed")
    finding = Breaker(edge=EDGE, opens_within=2.0).judge(built.build())
    assert (finding.verdict, "metric of orders said closed" in finding.because) == (Verdict.SUPPORTED, True)
    assert Breaker(edge=EDGE, metric="agrees").judge(built.build()).verdict is Verdict.REFUTED
    honest = built.breaker(EDGE, 9.0, "open").breaker(EDGE, 19.0, "closed").build()
    assert Breaker(edge=EDGE, metric="agrees").judge(honest).verdict is Verdict.SUPPORTED
    assert Breaker(edge=EDGE, metric="agrees").judge(with_breaker().build()).verdict is Verdict.INCONCLUSIVE


def test_counts_by_slot_are_enough_but_for_the_size_of_a_trial() -> None:
    history = with_breaker().counts_only().build()
    claim = Breaker(edge=EDGE, opens_within=2.0, fails_fast=0.1, closes_within=6.0)
    assert claim.judge(history).verdict is Verdict.SUPPORTED, claim.judge(history).because
    finding = Breaker(edge=EDGE, trials=1).judge(history)
    assert (finding.verdict, "for the tap to keep each" in finding.because) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (HistoryBuilder(), "could not be seen"),
        (HistoryBuilder().phases(fault=0, recovery=0), "never reached fault or recovery"),
        (healthy().calls("gateway->orders", (7.0, 24.0), rate=0, path="/checkout"), "could not be seen"),
    ],
    ids=["nothing crossed", "cut short", "nobody asked"],
)
def test_what_a_breaker_cannot_be_told_from(built: HistoryBuilder, said: str) -> None:
    finding = STAYS.judge(built.build())
    assert (finding.verdict, said in finding.because) == (Verdict.INCONCLUSIVE, True), finding.because


def test_a_fault_too_short_to_open_in_tells_nothing() -> None:
    built = HistoryBuilder().phases(fault=1).calls("gateway->orders", rate=80).calls(EDGE, rate=80).fault("l", on=EDGE)
    assert Breaker(edge=EDGE, opens_within=2.0).judge(built.build()).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("written", [{}, {"stays": "closed", "trials": 1}])
def test_a_claim_that_says_nothing_or_contradicts_itself_is_refused(written: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="expected stays: closed"):
        Breaker.model_validate({"edge": EDGE, **written})


TRIAL = Breaker(edge=EDGE, trials=1)


def hanging(*, at_trial: int = 1, traced: bool, closes: bool = True) -> HistoryBuilder:
    """Nobody hangs up on a trial: its caller gives up after 0.4 s, but the call stays open to the end."""
    built = with_breaker(trials=(), closing_trial=18.4 if closes else None)
    for turn, at in enumerate((10.9, 13.4, 15.9)):
        for number in range(at_trial):
            trace = f"{turn:016x}{number:016x}" if traced else ""
            built.call("gateway->orders", at - 0.001 + number / 80, 0.4, path="/checkout", trace_id=trace)
            built.call("orders->payments.2", at + number / 80, None, trace_id=trace)
    return built


@pytest.mark.parametrize("traced", [True, False])
def test_trials_that_nobody_hangs_up_are_trials_each_by_itself(traced: bool) -> None:
    finding = Breaker(edge=EDGE, trials=1, openings=1, closes_within=1.0).judge(hanging(traced=traced).build())
    assert (finding.verdict, "let 1 call cross at a trial (4 times in fault and recovery)" in finding.because) == (
        Verdict.SUPPORTED,
        True,
    ), finding.because
    herd = TRIAL.judge(hanging(at_trial=6, traced=traced).build())
    assert (herd.verdict, "calls cross when it tried again" in herd.because) == (Verdict.REFUTED, True), herd.because


def test_calls_that_were_out_before_it_opened_are_not_the_trials() -> None:
    late = with_breaker()
    for number in range(8):  # they began before it opened, and end in the middle of trials
        late.call("orders->payments.1", 8.3 + number / 100, 2.8, outcome="abandoned")
    assert TRIAL.judge(late.build()).verdict is Verdict.SUPPORTED, TRIAL.judge(late.build()).because


def test_a_caller_that_stands_still_and_catches_up_has_reopened_nothing() -> None:
    def stalled(*, answered: bool) -> HistoryBuilder:
        """For 0.6 s no call goes out; then eight at once. `answered`: requests were answered all the same."""
        built = healthy().calls(EDGE, (21.0, 21.6), rate=0)
        built.calls("gateway->orders", (21.0, 21.6), rate=0, path="/checkout")
        for number in range(48):
            at = 21.0 + number / 80
            built.call("gateway->orders", at, 0.01 if answered else 21.75 - at, path="/checkout")
        for number in range(8):
            built.call("orders->payments.2", 21.6 + number / 1000, 0.1)
        return built

    assert STAYS.judge(stalled(answered=False).build()).verdict is Verdict.SUPPORTED
    assert TRIAL.judge(stalled(answered=False).build()).verdict is Verdict.INCONCLUSIVE
    assert TRIAL.judge(stalled(answered=True).build()).verdict is Verdict.REFUTED


def test_each_caller_has_a_breaker_of_its_own_and_a_trial_of_its_own() -> None:
    def two_callers(herd: int) -> HistoryBuilder:
        built = (
            HistoryBuilder()
            .topology("load->orders.1", "load->orders.2", "orders.1->payments", "orders.2->payments")
            .fault("blackhole", on=EDGE)
        )
        for caller, extra in (("orders.1", 1), ("orders.2", herd)):
            built.calls(f"load->{caller}", rate=60, took=0.02, path="/checkout")
            built.calls(f"{caller}->payments", (0.0, 8.5), rate=60, took=0.02)
            for at in (11.0, 13.5, 16.0):
                for number in range(extra):
                    built.call(f"{caller}->payments", at + number / 60, 0.3, outcome="abandoned")
            built.call(f"{caller}->payments", 18.5, 0.02)
            built.calls(f"{caller}->payments", (18.6, 24.0), rate=60, took=0.02)
        return built

    both = TRIAL.judge(two_callers(1).build())
    assert both.verdict is Verdict.SUPPORTED, both.because
    one = TRIAL.judge(two_callers(9).build())
    assert (one.verdict, "the breaker of orders.2 on" in one.because) == (Verdict.REFUTED, True), one.because
    assert "orders.1" not in one.because


def test_calls_that_it_does_not_guard_keep_it_from_being_seen_unless_it_is_told_which_it_guards() -> None:
    built = with_breaker().calls(EDGE, rate=20, took=0.01, method="GET", path="/cards/17")
    assert FULL.judge(built.build()).verdict is Verdict.REFUTED
    guarded = FULL.model_copy(update={"calls": "POST /charges*"})
    assert guarded.judge(built.build()).verdict is Verdict.SUPPORTED, guarded.judge(built.build()).because
    assert "(POST /charges*) opens" in guarded.judge(built.build()).expected
    never = healthy().calls(EDGE, rate=20, took=0.01, method="GET", path="/cards/17")
    assert guarded.judge(never.build()).verdict is Verdict.REFUTED
    blind = guarded.judge(built.counts_only().build())
    assert (blind.verdict, "for POST /charges* alone" in blind.because) == (Verdict.INCONCLUSIVE, True), blind.because


def test_one_that_was_open_before_the_fault_has_not_opened_at_it() -> None:
    early = with_breaker().calls(EDGE, (6.0, 8.5), rate=0)
    early.calls("gateway->orders", (6.0, 8.5), rate=80, took=0.01, path="/checkout")
    finding = Breaker(edge=EDGE, opens_within=2.0).judge(early.build())
    assert (finding.verdict, "was open before the fault went in, from 6.0 s" in finding.because) == (
        Verdict.INCONCLUSIVE,
        True,
    ), finding.because


def test_how_fast_it_fails_takes_calls_while_it_is_open() -> None:
    fast = Breaker(edge=EDGE, fails_fast=0.1)
    assert fast.judge(healthy().build()).verdict is Verdict.INCONCLUSIVE
    short = healthy().calls(EDGE, (10.0, 10.8), rate=0)
    short.calls("gateway->orders", (10.0, 10.8), rate=20, took=0.01, path="/checkout")
    assert fast.judge(short.build()).verdict is Verdict.INCONCLUSIVE
    assert Breaker(edge=EDGE, tries_every=2.0).judge(healthy().build()).verdict is Verdict.INCONCLUSIVE
    assert Breaker(edge=EDGE, closes_within=2.0).judge(healthy().build()).verdict is Verdict.INCONCLUSIVE


def test_edges_that_are_not_there_are_told() -> None:
    assert "did you mean" in Breaker(edge="order->payments", stays="closed").check(healthy().build().topology, [])[0][1]


def test_a_last_trial_just_before_the_end_has_closed_nothing() -> None:
    tries = (10.9, 13.4, 15.9, 18.4, 20.9, 23.4)
    built = with_breaker(trials=tries, closing_trial=None).window("recovery", (18.0, 23.9))
    finding = Breaker(edge=EDGE, closes_within=5.5).judge(built.build())
    assert (finding.verdict, "had not closed" in finding.because) == (Verdict.REFUTED, True), finding.because


def test_a_metric_of_another_kind_is_read_as_it_is_explained() -> None:
    def state(at: float) -> float:
        return 2.0 if 9.0 <= at < 18.0 else 1.0 if 18.0 <= at < 19.0 else 0.0

    told_by = ToldBy(metric="cb_state", labels={"dep": "payments"}, open=2.0, half_open=1.0)
    claim = Breaker(edge=EDGE, metric="agrees", told_by=told_by)
    built = with_breaker().metric("cb_state", None, state, source="orders", dep="payments")
    assert claim.judge(built.build()).verdict is Verdict.SUPPORTED
    lying = with_breaker().metric("cb_state", None, 0.0, source="orders", dep="payments")
    assert claim.judge(lying.build()).verdict is Verdict.REFUTED
    elsewhere = with_breaker().metric("cb_state", None, state, source="gateway", dep="payments")
    assert claim.judge(elsewhere.build()).verdict is Verdict.INCONCLUSIVE


def test_a_query_that_tells_the_state_is_asked_by_a_probe() -> None:
    claim = Breaker(edge=EDGE, metric="agrees", told_by=ToldBy(query="max(cb_open)"))
    assert claim.probes() == [("prometheus", {"server": "prometheus", "queries": ["max(cb_open)"]})]
    built = with_breaker().metric("max(cb_open)", None, lambda at: float(8.6 <= at < 18.6), source="prometheus")
    assert claim.judge(built.build()).verdict is Verdict.SUPPORTED
    assert not Breaker(edge=EDGE, stays="closed").probes()
    with pytest.raises(ValidationError, match="metric or query"):
        ToldBy()
