"""nothing_lost, nothing_twice, no_stale_reads and invariant: kept, broken in each way, and too little to tell."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from chaoskit.hypotheses.invariant import Invariant, Place
from chaoskit.hypotheses.no_stale_reads import NoStaleReads
from chaoskit.hypotheses.nothing_lost import NothingLost
from chaoskit.hypotheses.nothing_twice import NothingTwice
from chaoskit.interfaces import Hypothesis
from chaoskit.model.observation import Event
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE
Row = tuple[str, str, str, float, float | None, str]


def told(name: str, *rows: Row) -> Event:
    """What the load was told, with instants of the run."""
    at = 8.0
    moved = [
        [op, key, value, sent - at, None if ended is None else ended - at, outcome]
        for op, key, value, sent, ended, outcome in rows
    ]
    return Event(at=at, source="worker.1", kind="told", text=name, about={"rows": json.dumps(moved)})


def written(number: int, outcome: str = "acknowledged") -> Row:
    at = 8.0 + number / 10
    return ("write", f"o{number}", "", at, at + 0.05 if outcome == "acknowledged" else None, outcome)


def read(step: str, answer: object) -> Event:
    body = answer if isinstance(answer, str) else json.dumps(answer)
    about = {"step": step, "status": "200", "body": body}
    return Event(at=24.5, source="verify", kind="read", text=step, about=about)


def history(*events: Event) -> HistoryBuilder:
    return HistoryBuilder().fault("kill", on="postgres").window("verify", (24.0, 26.0)).observe(*events)


def orders(*numbers: int) -> Event:
    return read("orders", {"orders": [{"id": f"o{number}"} for number in numbers]})


LOST = NothingLost(told="order", read="orders", at="$.orders[*].id")
TWICE = NothingTwice(read="orders", at="$.orders[*].id", told="order")
ALL = told("order", *(written(n) for n in range(20)), written(20, "unknown"), written(21, "refused"))


@pytest.mark.parametrize(
    ("claim", "built", "verdict", "said"),
    [
        (LOST, history(ALL, orders(*range(20))), SUPPORTED, "20 of 20 acknowledged order were read at the end"),
        (LOST, history(ALL, orders(*range(21))), SUPPORTED, "20 of 20"),
        (LOST, history(ALL, orders(*range(17))), REFUTED, "3 of 20 acknowledged order were not there at the end"),
        (LOST, history(ALL, orders()), REFUTED, "the first was acknowledged at 8.1 s, 0.1 s after the fault went in"),
        (LOST.model_copy(update={"allowed": 3}), history(ALL, orders(*range(17))), SUPPORTED, "17 of 20"),
        (LOST, history(ALL), INCONCLUSIVE, "no answer to 'orders'"),
        (LOST, history(ALL, read("orders", '{"orders": [{"id"')), INCONCLUSIVE, "is not JSON, or longer"),
        (LOST, history(orders(1, 2)), INCONCLUSIVE, "there was nothing to lose"),
        (TWICE, history(ALL, orders(*range(20))), SUPPORTED, "each of 20 keys is in orders once"),
        (TWICE, history(ALL, orders(1, 2, 2, 2, 3)), REFUTED, "(o2 3 times); the first of them was sent at 8.2 s"),
        (TWICE, history(ALL, orders()), INCONCLUSIVE, "nothing to apply twice"),
        (TWICE, history(ALL), INCONCLUSIVE, "no answer"),
    ],
    ids=[
        "all there", "an unknown one too", "three lost", "all lost", "allowed", "not read", "cut", "none written",
        "once each", "thrice", "none there", "never read",
    ],
)  # fmt: skip
def test_what_was_written_is_there_once(claim: Hypothesis, built: HistoryBuilder, verdict: Verdict, said: str) -> None:
    finding = claim.judge(built.build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def register(*extra: Row) -> HistoryBuilder:
    """One key, overwritten every second with its number, and read in between, ten times a second."""
    rows: list[Row] = []
    for second in range(8, 18):
        rows.append(("write", "x", str(second), float(second), second + 0.1, "acknowledged"))
        rows += [
            ("read", "x", str(second), second + 0.2 + step / 10, second + 0.25 + step / 10, "acknowledged")
            for step in range(8)
        ]
    return history(told("register", *rows, *extra))


FRESH = NoStaleReads(told="register")


def test_reads_of_what_is_there_are_not_stale() -> None:
    finding = FRESH.judge(register().build())
    assert (finding.verdict, finding.because) == (
        SUPPORTED,
        "0 of 80 reads of register in fault and recovery were stale, at most 0%",
    )


@pytest.mark.parametrize(
    ("extra", "verdict", "said"),
    [
        (("read", "x", "9", 12.5, 12.6, "acknowledged"), REFUTED, "by up to 2.4 s; the first read '9' of x at 12.5 s"),
        (("read", "x", "0", 12.5, 12.6, "acknowledged"), REFUTED, "the first read '0' of x"),
        (("read", "x", "12", 13.05, 13.2, "acknowledged"), SUPPORTED, "0 of 81"),
        (("read", "x", "13", 13.02, 13.03, "acknowledged"), SUPPORTED, "0 of 81"),
        (("read", "y", "none", 12.5, 12.6, "acknowledged"), SUPPORTED, "0 of 81"),
        (("read", "x", "9", 12.5, None, "unknown"), SUPPORTED, "0 of 80"),
    ],
    ids=["stale", "as before everything", "overlaps the write", "seen before its answer", "another key", "no answer"],
)
def test_a_read_is_stale_only_where_that_is_certain(extra: Row, verdict: Verdict, said: str) -> None:
    finding = FRESH.judge(register(extra).build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because


def test_a_value_whose_write_was_never_answered_may_come_at_any_time_but_not_go_back() -> None:
    unknown: Row = ("write", "x", "u", 10.5, None, "unknown")
    later: Row = ("read", "x", "u", 15.5, 15.6, "acknowledged")
    assert FRESH.judge(register(unknown, later).build()).verdict is SUPPORTED


def test_a_replica_may_lag_as_far_as_it_is_allowed() -> None:
    built = register(("read", "x", "11", 12.5, 12.6, "acknowledged"))
    assert FRESH.judge(built.build()).verdict is REFUTED
    assert NoStaleReads(told="register", within=1.0).judge(built.build()).verdict is SUPPORTED
    assert NoStaleReads(told="register", max=0.05).judge(built.build()).verdict is SUPPORTED


def test_few_reads_tell_nothing_and_a_broken_record_is_an_error() -> None:
    assert FRESH.judge(history().build()).verdict is INCONCLUSIVE
    broken = Event(at=9.0, kind="told", text="register", about={"rows": "[[1, 2]]"})
    with pytest.raises(ValueError, match="not as expected"):
        FRESH.judge(history(broken).build())


MONEY = read("money", {"total": 1000, "accounts": [{"sum": 400}, {"sum": 600.0}], "state": "done", "none": []})


@pytest.mark.parametrize(
    ("claim", "verdict", "said"),
    [
        (
            Invariant(read="money", at="$.total", equals=1000),
            SUPPORTED,
            "$.total of money was 1000 at the end, as",
        ),
        (Invariant(read="money", at="$.total", equals=999), REFUTED, "not 999"),
        (Invariant(read="money", at="$.accounts[*].sum", equals=1000), SUPPORTED, "was 1000.0 at the end"),
        (Invariant(read="money", at="$.state", equals="done"), SUPPORTED, "was done"),
        (Invariant(read="money", at="$.state", equals="open"), REFUTED, "not open"),
        (Invariant(read="money", at="$.total", min=900, max=1100), SUPPORTED, "as it must be"),
        (Invariant(read="money", at="$.total", max=900), REFUTED, "above 900"),
        (Invariant(read="money", at="$.total", min=1100), REFUTED, "below 1100"),
        (
            Invariant(read="money", at="$.total", same_as=Place(read="money", at="$.accounts[*].sum")),
            SUPPORTED,
            "as $.accounts[*].sum of money, which was 1000",
        ),
        (Invariant(read="money", at="$.total", same_as=Place(read="money", at="$.accounts[0].sum")), REFUTED, "not $."),
        (Invariant(read="money", at="$.nowhere", equals=1), INCONCLUSIVE, "has nothing at $.nowhere"),
        (Invariant(read="money", at="$.state", max=1), INCONCLUSIVE, "which is no number"),
        (Invariant(read="money", at="$.*", max=1), INCONCLUSIVE, "several values"),
        (Invariant(read="other", at="$.total", equals=1), INCONCLUSIVE, "no answer to 'other'"),
    ],
)
def test_invariants_are_judged(claim: Hypothesis, verdict: Verdict, said: str) -> None:
    finding = claim.judge(history(MONEY).build())
    assert (finding.verdict, said in finding.because) == (verdict, True), finding.because
    assert finding.phase == "verify"


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Invariant, {"read": "a", "at": "$.x"}),
        (Invariant, {"read": "a", "at": "$.x", "equals": 1, "max": 2}),
        (Invariant, {"read": "a", "at": "x", "equals": 1}),
        (NothingLost, {"read": "a", "at": "$.x"}),
        (NothingTwice, {"read": "a", "at": "keys"}),
    ],
)
def test_claims_that_make_no_sense_are_refused(kind: type[Hypothesis], written: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(written)
