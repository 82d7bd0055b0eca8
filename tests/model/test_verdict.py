"""Who wins: gates over findings, an abort over gates, refuted over inconclusive over supported."""

import pytest

from chaoskit.errors import Exit, worst_exit
from chaoskit.model.verdict import Finding, Gate, Verdict, merge

S, R, I = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE  # noqa: E741


def finding(verdict: Verdict, *, aborted: bool = False) -> Finding:
    return Finding(hypothesis="h", kind="latency", verdict=verdict, because="", expected="", aborted=aborted)


def gate(is_open: bool) -> Gate:
    return Gate(gate="trace", open=is_open, because="")


@pytest.mark.parametrize(
    ("findings", "gates", "expected"),
    [
        ([S, S], [True], S),
        ([S, R, I], [True], R),
        ([S, I], [True], I),
        ([S], [True, False], I),
        ([R], [False], I),
        ([], [True], I),
    ],
    ids=[
        "all held",
        "worst finding wins",
        "too little evidence for one",
        "never green by accident",
        "never red by accident",
        "nothing was claimed",
    ],
)
def test_findings_and_gates_merge(findings: list[Verdict], gates: list[bool], expected: Verdict) -> None:
    assert merge([finding(v) for v in findings], [gate(g) for g in gates]) is expected


def test_an_abort_outranks_the_gates_that_it_caused() -> None:
    assert merge([finding(S), finding(R, aborted=True)], [gate(False)]) is R


def test_exit_codes_merge_to_the_leftmost() -> None:
    assert worst_exit([0, 3, 1]) is Exit.REFUTED
    assert worst_exit([1, 2, 4]) is Exit.COULD_NOT_RUN
    assert worst_exit([130, 4]) is Exit.INTERRUPTED
    assert worst_exit([130, 5]) is Exit.UNDO_LEFT
    assert worst_exit([]) is Exit.AS_EXPECTED
