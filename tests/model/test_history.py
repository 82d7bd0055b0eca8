"""A request belongs to the window in which it was planned, and one in flight when a fault goes in to the fault."""

import math

import pytest

from chaoskit.model.histogram import bucket_of, encode
from chaoskit.model.history import History, Phase, SteadyBound
from chaoskit.model.observation import LoadSlot
from chaoskit.testing import HistoryBuilder


def slot(at: float, ended: float | None, *, ok: int = 1, unfinished: int = 0) -> LoadSlot:
    took = encode({bucket_of(0.1): ok}) if ok else b""
    return LoadSlot(at=at, ended=ended, name="checkout", ok=ok, unfinished=unfinished, response=took)


def history(*slots: LoadSlot) -> History:
    return HistoryBuilder().fault("latency", on="orders->payments").observe(*slots).build()


@pytest.mark.parametrize(
    ("at", "ended", "phase"),
    [
        (7.9, 7.9, Phase.BASELINE),
        (7.9, 8.0, Phase.FAULT),
        (7.0, 8.4, Phase.FAULT),
        (17.9, 18.5, Phase.FAULT),
        (18.0, 18.0, Phase.RECOVERY),
    ],
    ids=["ended before", "ended in the injection's slot", "in flight", "planned in the fault, ended after", "after it"],
)
def test_requests_are_booked_where_the_rules_say(at: float, ended: float, phase: Phase) -> None:
    seen = history(slot(at, ended))
    counted = {p: seen.during(p).load().requests for p in (Phase.BASELINE, Phase.FAULT, Phase.RECOVERY)}
    assert counted == {p: int(p is phase) for p in counted}


def test_a_request_of_the_baseline_that_never_ends_counts_with_the_fault() -> None:
    seen = history(slot(7.0, None, ok=0, unfinished=1))
    assert seen.during("baseline").load().requests == 0
    assert seen.during("fault").load().unfinished == 1
    assert seen.during("fault").load().percentile(0.5) == math.inf


def test_without_a_fault_nothing_moves() -> None:
    seen = HistoryBuilder().observe(slot(7.0, 9.0)).build()
    assert seen.during("baseline").load().requests == 1


def test_failed_dropped_and_unfinished_rank_above_every_success() -> None:
    seen = HistoryBuilder().load("checkout", "fault", rate=100, failures={"timeout": 0.06}).build()
    load = seen.during("fault").load("checkout")
    assert load.percentile(0.9) == pytest.approx(0.1, rel=0.3)
    assert load.percentile(0.95) == math.inf
    assert load.percentile(0.95, over="successes") < 1.0


def test_quantiles_by_matrix_are_those_of_all_blocks_together() -> None:
    seen = HistoryBuilder().load("checkout", rate=50, response=lambda at: 0.05 + at / 100).build()
    load = seen.during("fault").load()
    matrix = load.matrix("response", 1.0)
    assert matrix.shape[0] == 10
    assert (matrix.sum(axis=0) == load.counts("response")).all()
    assert [block.ok for block in load.blocks()] == list(matrix.sum(axis=1))


def test_blocks_without_requests_are_there_and_empty() -> None:
    seen = HistoryBuilder().load("checkout", (8.0, 9.0), rate=10).build()
    assert [block.requests for block in seen.during("fault").load().blocks()] == [10] + [0] * 9


def test_a_steady_bound_never_holds_on_nothing() -> None:
    empty = HistoryBuilder().build().during("baseline").load()
    assert not SteadyBound(measure="error_rate", most=0.01).holds(empty)
    assert not SteadyBound(measure="p95", most=1.0).holds(empty)
    assert not SteadyBound(measure="throughput", least=1.0).holds(empty)


def test_names_are_globs() -> None:
    seen = HistoryBuilder().load("cart add", rate=10).load("cart show", rate=10).load("pay", rate=10).build()
    assert seen.during("fault").load("cart*").requests == 200
    assert seen.during("fault").load().requests == 300
