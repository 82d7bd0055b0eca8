"""An abort condition fires when its bound stays broken for as long as it says, and not before."""

import pytest

from chaoskit.abort import AbortWatch
from chaoskit.experiment import AbortCondition
from chaoskit.model.history import History
from chaoskit.model.observation import LoadSlot
from chaoskit.model.verdict import Verdict
from chaoskit.testing import HistoryBuilder


def watch(text: str, history: History) -> AbortWatch:
    watching = AbortWatch([AbortCondition.model_validate(AbortCondition.parse(text))])
    slots = [seen for seen in history.observations if isinstance(seen, LoadSlot)]
    for seen in sorted(slots, key=lambda one: one.ended or one.at):
        watching(seen)
    return watching


def erring(until: float) -> History:
    return HistoryBuilder().load("c", rate=80).load("c", (8.0, until), rate=80, failures={"status 500": 0.8}).build()


def test_it_fires_after_the_bound_was_broken_for_so_long() -> None:
    fired = watch("error_rate > 50% for 2s", erring(14.0)).fired
    assert fired is not None
    assert 10.0 <= fired[2] <= 11.5


def test_it_does_not_fire_on_a_shorter_breach() -> None:
    assert watch("error_rate > 50% for 2s", erring(9.5)).fired is None


def test_it_is_judged_on_latency_and_throughput_too() -> None:
    slow = HistoryBuilder().load("c", rate=80).load("c", "fault", rate=80, response=1.0).build()
    assert watch("p95 of c > 500ms for 1s", slow).fired is not None
    assert watch("p95 of other > 500ms for 1s", slow).fired is None
    assert watch("throughput < 200/s for 1s", slow).fired is not None


def test_the_requests_that_are_meant_may_be_a_pattern() -> None:
    assert watch("error_rate of c* > 50% for 2s", erring(14.0)).fired is not None
    assert watch("error_rate of d* > 50% for 2s", erring(14.0)).fired is None


def ticked(watching: AbortWatch, begin: float, end: float) -> AbortWatch:
    for step in range(round((end - begin) / 0.05)):
        watching.tick(begin + step * 0.05)
    return watching


def test_it_fires_when_nothing_ends_any_more() -> None:
    until_8 = HistoryBuilder().load("c", (0.0, 8.0), rate=80).build()
    watching = watch("throughput < 10/s for 1s", until_8)
    assert watching.fired is None
    ticked(watching, 0.0, 9.5)
    assert watching.fired is None
    fired = ticked(watching, 9.5, 12.0).fired
    assert fired is not None
    assert fired[1] == 0.0
    assert 9.8 <= fired[2] <= 10.2


def test_silence_alone_breaks_no_bound_on_answers() -> None:
    until_8 = HistoryBuilder().load("c", (0.0, 8.0), rate=80).build()
    for text in ("error_rate > 50% for 1s", "p95 > 500ms for 1s", "availability < 50% for 1s"):
        assert ticked(watch(text, until_8), 0.0, 20.0).fired is None


def test_a_slot_that_comes_in_late_is_no_silence() -> None:
    history = HistoryBuilder().load("c", rate=80).build()
    slots = [seen for seen in history.observations if isinstance(seen, LoadSlot)]
    watching = watch("throughput < 60/s for 200ms", HistoryBuilder().build())
    for seen in sorted(slots, key=lambda one: one.ended or one.at):
        watching.tick((seen.ended or seen.at) + 0.4)
        watching(seen)
    assert watching.fired is None


def test_its_finding_refutes_the_run() -> None:
    finding = watch("error_rate > 50% for 2s", erring(14.0)).finding()
    assert finding is not None
    assert finding.aborted
    assert finding.verdict is Verdict.REFUTED
    assert "error_rate > 50% for 2s" in finding.because


@pytest.mark.parametrize("text", ["error_rate > 50%", "error_rate > 50 for 2s", "errors > 5% for 2s", "p95 > 3 for 1s"])
def test_a_doubtful_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        AbortCondition.parse(text)
