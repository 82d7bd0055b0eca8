"""health: honest checks, and each way in which they lie."""

from __future__ import annotations

import math

import pytest

from chaoskit.hypotheses.health import Health
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import healthy

CLAIM = Health(service="orders", within=2.0)


def failing() -> HistoryBuilder:
    return healthy().load("checkout", "fault", rate=80, failures={"status 503": 1.0})


def honest() -> HistoryBuilder:
    return failing().probe("orders/ready", (8.5, 18.5), ok=False)


@pytest.mark.parametrize(
    ("built", "verdict", "said"),
    [
        (
            honest(),
            Verdict.SUPPORTED,
            "after latency +50 ms on orders->payments began at 8.0 s, within 2 s",
        ),
        (failing(), Verdict.REFUTED, "while 66% of the requests failed: it lied for 10 s"),
        (failing().probe("orders/ready", (11.0, 18.5), ok=False), Verdict.REFUTED, "said no 3 s after"),
        (failing().probe("orders/ready", (8.5, 10.0), ok=False), Verdict.REFUTED, "went back to yes"),
        (
            failing().probe("orders/ready", (8.5, 22.0), ok=False),
            Verdict.REFUTED,
            "yes again 4 s after the end of latency +50 ms on orders->payments at 18.0 s, later",
        ),
        (failing().probe("orders/ready", (8.5, 24.0), ok=False), Verdict.REFUTED, "had not returned 6 s after"),
        (honest().probe("orders/ready", (4.0, 4.5), ok=False), Verdict.REFUTED, "false alarm"),
        (honest().probe("orders/live", (4.0, 4.5), ok=False), Verdict.REFUTED, "liveness of orders raised a false"),
        (honest().probe("orders/live", (9.0, 11.0), ok=False), Verdict.REFUTED, "liveness of orders said no for 2 s"),
    ],
    ids=[
        "honest",
        "always yes",
        "late",
        "went back",
        "returns late",
        "stays no",
        "false alarm",
        "live too",
        "live falls",
    ],
)
def test_checks_that_tell_the_truth_and_checks_that_lie(built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = CLAIM.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_the_seconds_of_a_lie_are_measured_and_drawn() -> None:
    finding = CLAIM.judge(failing().build())
    assert (finding.measured, finding.unit, finding.evidence) == (10.0, "s", ((8.0, 18.0),))
    assert finding.lane == "orders"


def test_a_service_that_does_not_need_what_is_broken_stays_ready() -> None:
    claim = Health(service="orders", ready="stays")
    assert claim.judge(healthy().build()).verdict is Verdict.SUPPORTED
    finding = claim.judge(healthy().probe("orders/ready", (9.0, 10.0), ok=False).build())
    assert (finding.verdict, finding.measured) == (Verdict.REFUTED, pytest.approx(1.0))


def test_every_replica_is_judged_and_one_liar_is_named() -> None:
    built = failing().probe("payments/ready").probe("payments/live").probe("payments/ready", (8.5, 18.2), ok=False)
    assert Health(service="payments").judge(built.build()).verdict is Verdict.SUPPORTED
    finding = Health(service="payments").judge(built.probe("payments.2/ready").build())
    assert (finding.verdict, "payments.2" in finding.because) == (Verdict.REFUTED, True)
    assert "payments.1" not in finding.because


def test_a_liveness_that_may_fall_is_not_judged() -> None:
    built = honest().probe("orders/live", (9.0, 11.0), ok=False)
    assert Health(service="orders", live="any").judge(built.build()).verdict is Verdict.SUPPORTED


@pytest.mark.parametrize(
    ("built", "said"),
    [
        (HistoryBuilder().load("checkout", rate=80).fault("latency", on="orders->payments"), "was never asked"),
        (HistoryBuilder().probe("orders/ready").probe("orders/live"), "no fault was in"),
        (
            HistoryBuilder().probe("orders/ready").probe("orders/live").fault("l", on="orders", at=8, until=9),
            "too short",
        ),
    ],
    ids=["never asked", "no fault", "a short fault"],
)
def test_what_health_cannot_tell(built: HistoryBuilder, said: str) -> None:
    finding = CLAIM.judge(built.build())
    assert (finding.verdict, said in finding.because) == (Verdict.INCONCLUSIVE, True), finding.because


def test_services_and_endpoints_that_are_not_there_are_told() -> None:
    topology = HistoryBuilder().build().topology
    assert "did you mean 'orders'" in Health(service="order").check(topology, [])[0][1]
    assert Health(service="postgres").check(topology, []) == [
        ("ready", "postgres has no ready endpoint in its target's health")
    ]


SEEN = Health.model_validate({"service": "orders", "within": "1s", "from": "failures", "of": "checkout"})


@pytest.mark.parametrize(
    ("no", "verdict", "said"),
    [
        ((11.0, 15.5), Verdict.SUPPORTED, "said no 500 ms after failures of checkout began at 10.5 s, within 1 s"),
        ((13.0, 15.5), Verdict.REFUTED, "later than 1 s, while"),
        (None, Verdict.REFUTED, "said yes for all 4.5 s of failures of checkout from 10.5 s on, while"),
        (
            (11.0, 18.0),
            Verdict.REFUTED,
            "yes again 3 s after the end of failures of checkout at 15.0 s, later than 1 s",
        ),
    ],
    ids=["honest", "late", "lies", "returns late"],
)
def test_readiness_against_what_users_meet(no: tuple[float, float] | None, verdict: Verdict, said: str) -> None:
    built = healthy().load("checkout", (10.5, 15.0), rate=80, failures={"status 503": 0.8})
    if no is not None:
        built.probe("orders/ready", no, ok=False)
    finding = SEEN.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_where_users_meet_no_failure_readiness_has_nothing_to_tell() -> None:
    assert SEEN.judge(healthy().build()).verdict is Verdict.INCONCLUSIVE


def test_faults_that_overlap_are_one_trouble_with_one_end() -> None:
    built = honest().fault("kill", on="payments", at=9.0, until=12.0)
    assert CLAIM.judge(built.build()).verdict is Verdict.SUPPORTED


def noes(start: float, end: float, *, what: str = "ready") -> HistoryBuilder:
    return healthy().probe(f"orders/{what}", (start, end), ok=False)


def phases(**said: object) -> Health:
    return Health.model_validate({"service": "orders", **said})


@pytest.mark.parametrize(
    ("claim", "built", "verdict"),
    [
        (phases(ready="stays", holds_in=["fault"]), noes(19.0, 20.0), "supported"),
        (phases(ready="stays", holds_in=["recovery"]), noes(9.0, 12.0), "supported"),
        (phases(ready="stays", holds_in=["recovery"]), noes(19.0, 20.0), "refuted"),
        (phases(ready="any", holds_in=["fault"]), noes(19.0, 20.0, what="live"), "supported"),
        (phases(holds_in=["fault"]), failing().probe("orders/ready", (8.5, 22.0), ok=False), "supported"),
        (phases(holds_in=["recovery"]), failing().probe("orders/ready", (8.5, 22.0), ok=False), "refuted"),
        (phases(holds_in=["recovery"]), failing().probe("orders/ready", (12.0, 18.5), ok=False), "supported"),
        (phases(holds_in=["fault"]), failing().probe("orders/ready", (12.0, 18.5), ok=False), "refuted"),
        (phases(holds_in=["recovery"], ready="stays"), healthy().window("recovery"), "inconclusive"),
    ],
    ids=[
        "stays, in recovery it does not", "stays, in the fault it does not", "falls in recovery", "live falls later",
        "returns late, not asked", "returns late", "flips late, not asked", "flips late", "no recovery",
    ],
)  # fmt: skip
def test_only_the_phases_that_are_named_are_judged(claim: Health, built: HistoryBuilder, verdict: str) -> None:
    finding = claim.judge(built.build())
    assert finding.verdict == verdict, finding.because


def test_a_fault_that_ends_within_its_phase_is_returned_from_there() -> None:
    built = healthy().fault("kill", on="payments", at=8.0, until=12.0).probe("orders/ready", (8.5, 17.0), ok=False)
    built._faults = built._faults[-1:]
    finding = phases(holds_in=["fault"]).judge(built.build())
    assert (finding.verdict, "said yes again 5 s after the end of kill" in finding.because) == (Verdict.REFUTED, True)


def unasked(built: HistoryBuilder, start: float, end: float, *, what: str = "ready") -> HistoryBuilder:
    return built.probe(f"orders/{what}", (start, end), every=math.inf)


@pytest.mark.parametrize(
    ("built", "verdict", "said"),
    [
        (unasked(failing(), 9.0, 18.0), "inconclusive", "was not asked from 8.8 to 18.0 s"),
        (unasked(failing().probe("orders/ready", (14.0, 18.5), ok=False), 9.5, 14.0), "inconclusive", "9.3 to 14.0 s"),
        (unasked(honest(), 9.0, 14.0), "inconclusive", "it may have told latency +50 ms on orders->payments or lied"),
        (unasked(failing(), 11.0, 18.0), "refuted", "said yes each of the 12 times it was asked in the 10 s"),
        (unasked(failing(), 8.5, 12.0), "refuted", "it lied for 6.25 s"),
        (unasked(failing().probe("orders/ready", (16.0, 18.5), ok=False), 11.5, 16.0), "refuted", "said no 8 s after"),
        (unasked(honest(), 9.0, 10.5), "supported", "said no 500 ms after"),
        (unasked(honest(), 18.3, 23.0), "inconclusive", "was not asked from 18.3 to 23.0 s: it may have returned"),
        (unasked(honest(), 18.3, 24.0), "inconclusive", "was not asked from 18.3 to 24.0 s: it may have returned"),
        (unasked(honest().probe("orders/ready", (18.5, 21.5), ok=False), 21.5, 24.0), "refuted", "had not returned 6"),
        (unasked(honest(), 18.25, 19.75), "supported", "said no 500 ms after"),
        (unasked(failing().probe("orders/ready", (10.75, 18), ok=False), 9.25, 10.75), "inconclusive", "9.0 to 10.8"),
        (unasked(honest(), 9.0, 14.0, what="live"), "inconclusive", "of orders was not asked from 8.8 to 14.0 s"),
        (unasked(honest(), 9.0, 10.0, what="live"), "supported", "said no 500 ms after"),
    ],
    ids=[
        "silent from the first second on", "silent until it said no", "silent after it said no",
        "yes beyond the time, then silent", "yes on both sides", "yes beyond the time, then no", "a second's silence",
        "silent, then back", "silent to the end", "no beyond the time, then silent", "silent, then back in time",
        "silent while the time ran out", "liveness", "liveness, a second",
    ],
)  # fmt: skip
def test_what_nobody_asked_decides_nothing(built: HistoryBuilder, verdict: str, said: str) -> None:
    finding = CLAIM.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_a_check_that_is_asked_seldom_is_not_silent() -> None:
    built = failing().probe("orders/ready", None, every=2.0).probe("orders/ready", (9.0, 18.5), ok=False, every=2.0)
    finding = Health(service="orders", within=3.0, live="any").judge(built.build())
    assert finding.verdict is Verdict.SUPPORTED, finding.because
