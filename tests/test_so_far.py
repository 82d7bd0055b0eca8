"""Claims whose phases are over are judged while the run goes on, for whoever watches; nothing waits for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import chaoskit.so_far
from chaoskit.hypotheses.error_rate import ErrorRate
from chaoskit.hypotheses.recovery import Recovery
from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.so_far import SoFar
from chaoskit.testing import HistoryBuilder

OVER = (Phase.WARMUP, Phase.BASELINE, Phase.FAULT)


class Crashes(ErrorRate):
    def judge(self, history: History) -> Finding:
        raise ZeroDivisionError


def history(failing: float = 0.0) -> History:
    built = HistoryBuilder().topology("load->web").phases(warmup=1, baseline=2, fault=4)
    return built.load("page", "fault", rate=50, failures={"status 503": failing} if failing else None).build()


def told(claims: Sequence[Hypothesis], seen: History, *, ended: bool = False) -> list[tuple[str, Verdict]]:
    heard: list[Finding] = []
    so_far = SoFar(claims, heard.append, after=0.0)
    if ended:
        so_far.end()
    work = so_far.judge(OVER, lambda: seen)
    if work is not None:
        work.join(20.0)
    return [(found.hypothesis, found.verdict) for found in heard]


@pytest.mark.parametrize(("failing", "verdict"), [(0.0, Verdict.SUPPORTED), (0.5, Verdict.REFUTED)])
def test_claims_whose_phases_are_over_are_judged_and_no_others(failing: float, verdict: Verdict) -> None:
    later = ErrorRate(name="later", max=0.1, holds_in=(Phase.FAULT, Phase.RECOVERY))
    claims = [ErrorRate(max=0.1), later, Recovery(within=3.0)]
    assert told(claims, history(failing)) == [("error_rate", verdict)]


def test_a_judge_that_crashes_does_not_keep_the_others_from_being_told() -> None:
    assert told([Crashes(max=0.1), ErrorRate(name="other", max=0.1)], history()) == [("other", Verdict.SUPPORTED)]


def test_nothing_is_told_after_the_run() -> None:
    assert told([ErrorRate(max=0.1)], history(), ended=True) == []


def test_a_history_that_is_too_large_to_be_judged_beside_the_run_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaoskit.so_far, "_MOST", 10)
    assert told([ErrorRate(max=0.1)], history()) == []


def test_where_nobody_watches_nothing_is_judged() -> None:
    assert SoFar([ErrorRate(max=0.1)], None).judge(OVER, history) is None
    assert SoFar([Recovery(within=3.0)], print).judge(OVER, history) is None
