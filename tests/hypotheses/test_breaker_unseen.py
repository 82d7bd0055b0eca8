"""breaker: what nobody could see is unknown, neither an opening nor a breaker that stays closed."""

from __future__ import annotations

import pytest

from chaoskit.hypotheses.breaker import Breaker
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import EDGE, healthy, with_breaker

STAYS = Breaker(edge=EDGE, stays="closed")
OPENS = Breaker(edge=EDGE, opens_within=2.0)
CLOSES = Breaker(edge=EDGE, closes_within=3.0)
TRIAL = Breaker(edge=EDGE, trials=1)
ONCE = Breaker(edge=EDGE, openings=0)
AGREES = Breaker(edge=EDGE, metric="agrees")


def refused(start: float, end: float, *, back: float | None = None) -> HistoryBuilder:
    """A partition of 6 s, in which calls are refused (and not seen) from `start` to `end`; they cross from `back`."""
    back = end if back is None else back
    return (
        HistoryBuilder()
        .phases(fault=6.0, recovery=8.0)
        .fault("partition", on=EDGE)
        .calls("gateway->orders", rate=80, took=0.1, path="/checkout")
        .calls(EDGE, rate=80, took=0.09)
        .calls(EDGE, (start, back), rate=0)
        .calls("gateway->orders", (start, back), rate=80, took=0.01, path="/checkout", status=503)
        .closed_listener(EDGE, (start, end))
    )


def guarded(trial: float) -> HistoryBuilder:
    """The same with a breaker that is still open when the listener is back, and closes by its trial."""
    return refused(8.0, 14.1, back=trial + 0.2).call("orders->payments.1", trial, 0.15)


def quiet() -> HistoryBuilder:
    """It opens, and from 18.2 s on nobody asks any more."""
    built = with_breaker(closing_trial=None).calls(EDGE, (18.2, 24.0), rate=0)
    return built.calls("gateway->orders", (18.2, 24.0), rate=0, path="/checkout")


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (OPENS, refused(8.0, 14.1), Verdict.INCONCLUSIVE, "was not seen to open in the fault, but could not be seen"),
        (OPENS, guarded(15.0), Verdict.INCONCLUSIVE, "seen to open in the fault, but could not be seen for 2 s"),
        (OPENS, refused(11.0, 13.0), Verdict.REFUTED, "did not open in the 6 s of the fault from 8.0 s on"),
        (OPENS, refused(8.0, 8.8), Verdict.REFUTED, "did not open in the 6 s"),
        (OPENS, refused(8.0, 11.0, back=14.0), Verdict.INCONCLUSIVE, "was seen open 3 s after the fault went in, but"),
        (OPENS, refused(8.0, 9.6, back=14.0), Verdict.SUPPORTED, "opened 1.6 s after the fault went in, within 2 s"),
        (STAYS, refused(8.0, 14.1), Verdict.INCONCLUSIVE, "was not seen to open, but could not be seen for 6."),
        (STAYS, refused(8.0, 8.8), Verdict.SUPPORTED, "stayed closed in fault and recovery"),
        (STAYS, guarded(15.0), Verdict.REFUTED, "opened at 14.1 s"),
        (ONCE, refused(8.0, 14.1), Verdict.INCONCLUSIVE, "was seen to go from closed to open 0 times, but"),
        (ONCE, refused(8.0, 8.8), Verdict.SUPPORTED, "0 times in fault and recovery"),
        (ONCE, guarded(15.0), Verdict.REFUTED, "1 time (at 14.1 s), above 0"),
        (TRIAL, refused(8.0, 8.8), Verdict.INCONCLUSIVE, "never tried again"),
        (TRIAL, refused(8.0, 14.1), Verdict.INCONCLUSIVE, "never tried again"),
        (TRIAL, guarded(15.0), Verdict.SUPPORTED, "let 1 call cross"),
        (CLOSES, refused(8.0, 14.1), Verdict.INCONCLUSIVE, "was never seen open"),
        (CLOSES, guarded(15.0), Verdict.SUPPORTED, "closed 1.15 s after the fault's end at 14.0 s, within 3 s"),
        (Breaker(edge=EDGE, tries_every=2.0), guarded(15.0), Verdict.INCONCLUSIVE, "never tried again"),
        (CLOSES, with_breaker(closing_trial=None).closed_listener(EDGE, (18.2, 24.0)), Verdict.INCONCLUSIVE, "18.2"),
        (CLOSES, quiet(), Verdict.INCONCLUSIVE, "was not seen to close in time, but could not be seen for 5.8"),
        (CLOSES, with_breaker().closed_listener(EDGE, (18.2, 20.0)), Verdict.SUPPORTED, "closed at most 2.1 s after"),
        (
            CLOSES,
            with_breaker(closing_trial=22.5).closed_listener(EDGE, (21.5, 22.4)),
            Verdict.REFUTED,
            "closed not before 3.5 s after the fault's end at 18.0 s, later than 3 s",
        ),
    ],
    ids=[
        "unseen fault", "unseen opening", "closed when seen", "a moment unseen", "open when seen again", "soon enough",
        "stays, unseen", "stays, a moment unseen", "open afterwards", "openings, unseen", "openings, a moment",
        "opened once", "no trial after a moment", "no trial after the unseen", "a trial that is one",
        "never seen open", "closes", "open since when", "unseen close", "nobody asks", "closed meanwhile",
        "closed late",
    ],
)  # fmt: skip
def test_what_was_not_seen_decides_nothing(claim: Breaker, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_a_metric_speaks_for_the_unseen_but_is_not_compared_with_it() -> None:
    built = refused(8.0, 14.1).breaker(EDGE, 1.0, "closed").breaker(EDGE, 9.0, "open").breaker(EDGE, 14.1, "closed")
    assert OPENS.judge(built.build()).verdict is Verdict.SUPPORTED
    assert STAYS.judge(built.build()).verdict is Verdict.REFUTED
    finding = AGREES.judge(built.build())
    assert (finding.verdict, "could not be compared with its metric for 6" in finding.because) == (
        Verdict.INCONCLUSIVE,
        True,
    ), finding.because
    lying = built.breaker(EDGE, 16.0, "open").build()
    assert AGREES.judge(lying).verdict is Verdict.REFUTED, "what was seen speaks against it"


def test_a_metric_that_falls_silent_speaks_for_nothing_any_more() -> None:
    told = healthy().calls(EDGE, "fault", rate=0).closed_listener(EDGE, (8.0, 15.0)).breaker(EDGE, 1.0, "closed")
    assert OPENS.judge(told.build()).verdict is Verdict.REFUTED
    assert OPENS.judge(told.breaker(EDGE, 8.5, "unknown").build()).verdict is Verdict.INCONCLUSIVE
