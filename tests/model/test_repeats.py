"""Runs of one experiment as the unit: agreement, flips, and what only all of them together can tell."""

from __future__ import annotations

import pytest

from chaoskit.model.repeats import merge_repeats
from chaoskit.model.verdict import Finding, Verdict

S, R, I = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE  # noqa: E741 - as in the table below


def run(verdict: Verdict, measured: float | None = 0.1, bound: float | None = 0.2) -> list[Finding]:
    finding = Finding(
        hypothesis="latency", kind="latency", verdict=verdict, because="x", expected="x", measured=measured, bound=bound
    )
    return [finding]


@pytest.mark.parametrize(
    ("runs", "verdict", "flips"),
    [
        ([run(S), run(S), run(S)], S, False),
        ([run(R, 0.3), run(R, 0.4), run(R, 0.3)], R, False),
        ([run(S), run(R, 0.3), run(S)], I, True),
        ([run(S), run(S), run(I)], S, False),
        ([run(I), run(I), run(I)], I, False),
        ([run(S, 0.10), run(I, 0.12), run(I, 0.11)], S, False),
        ([run(R, 0.30), run(I, 0.28), run(I, 0.29)], R, False),
        ([run(S, 0.10), run(I, 0.30), run(I, 0.20)], I, False),
        ([run(S, None), run(I, 0.11), run(I, 0.11)], I, False),
    ],
    ids=["agree", "agree on no", "flip", "most", "none can", "together", "together no", "spread out", "not measured"],
)
def test_runs_are_merged(runs: list[list[Finding]], verdict: Verdict, flips: bool) -> None:
    merged = merge_repeats(runs)[0]
    assert (merged.verdict, merged.flips) == (verdict, flips)


def test_the_tally_the_mean_and_its_interval_are_told() -> None:
    merged = merge_repeats([run(S, 0.1), run(R, 0.3), run(S, 0.2)])[0]
    assert merged.because == "3 runs: 2 supported, 1 refuted; it flips"
    assert merged.measured == pytest.approx(0.2)
    assert merged.interval is not None and merged.interval[0] < 0.1 < 0.3 < merged.interval[1]
    assert merge_repeats([run(S), run(S)])[0].interval is None
    assert merge_repeats([]) == []


def test_claims_that_share_a_name_are_told_apart() -> None:
    quick = run(S)[0]
    slow = Finding(hypothesis="latency", kind="latency", verdict=R, because="x", expected="p99 ≤ 1 s", measured=2.0)
    merged = merge_repeats([[quick, slow]] * 3)
    assert [(one.hypothesis, one.verdict, one.flips) for one in merged] == [
        ("latency (x)", S, False),
        ("latency (p99 ≤ 1 s)", R, False),
    ]
