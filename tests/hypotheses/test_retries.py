"""retries: few more calls than in baseline, a storm, a storm of one second; and too little to tell."""

from __future__ import annotations

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
