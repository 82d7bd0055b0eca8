"""Lanes of simulated callers: with a breaker it is seen, without one (however unsteady the caller) none is made up."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from chaoskit.model.breaker_lane import BreakerLane, breaker_lane, breaker_lanes
from chaoskit.testing import HistoryBuilder
from tests.hypotheses.histories import healthy

EDGE = "orders->payments"


Spans = list[tuple[float, float]]


def simulated(seed: int, *, breaker: bool, traced: bool = False) -> tuple[HistoryBuilder, float, Spans]:
    """Random traffic over 24 s with a fault from 8 to 18 s; returns the rate of calls and the times it was open.

    A request leads to a call with a random chance. Now and then the caller stands still and catches up afterwards. In
    the fault calls time out; a breaker opens after 5 of those, tries every 2 s, and closes with the first success.
    """
    dice = random.Random(seed)
    rate = dice.choice([30.0, 60.0, 120.0])
    chance = dice.choice([1.0, 0.6, 0.3])
    work = dice.choice([0.005, 0.05])
    built = HistoryBuilder().fault("blackhole", on=EDGE)
    stalls = [dice.uniform(0, 24) for _ in range(4)]
    guard = Guard() if breaker else None

    def moving(at: float) -> float:
        """When the caller gets to something: at once, or at the end of its stall."""
        return max([at, *(stall + 0.6 for stall in stalls if stall <= at < stall + 0.6)])

    at, number = 0.0, 0
    while (at := at + dice.expovariate(rate)) < 23.5:
        number += 1
        trace = f"{seed:08x}{number:024x}" if traced else ""
        begun = ended = moving(at) + 0.001
        if dice.random() < chance and (guard is None or guard.admits(begun)):
            broken = 8.0 <= begun < 18.0
            outcome = "abandoned" if broken else "answered"
            ended = moving(begun + 0.3) if broken else begun + dice.expovariate(1 / work)
            built.call("orders->payments.1", begun, ended - begun, outcome=outcome, trace_id=trace)
            if guard is not None:
                guard.saw(begun, ended, broken)
        answered = moving(ended + dice.expovariate(1 / work))
        built.call("gateway->orders", at, answered - at, path="/checkout", trace_id=trace)
    return built, rate * chance, guard.times() if guard is not None else []


class Guard:
    """A breaker in simulated time: asked and told in the order of the calls' starts."""

    def __init__(self) -> None:
        self.failed: list[float] = []
        self.opened: float | None = None
        self.trial: tuple[float, bool] | None = None
        """When the trial that is out ends, and whether it fails."""
        self.closed_again = 0.0
        self._times: Spans = []

    def admits(self, now: float) -> bool:
        if self.trial is not None and self.trial[0] <= now:
            ended, failed = self.trial
            self.trial, self.opened, self.closed_again = None, ended if failed else None, ended
            if failed:
                self._times.append((ended, 23.5))
        if self.opened is None:
            counted = sorted(end for end in self.failed if self.closed_again < end <= now)
            if self.trial is None and len(counted) >= 5:
                self.opened = counted[4]
                self._times.append((self.opened, 23.5))
            else:
                return True
        if self.trial is not None or now < self.opened + 2.0:
            return False
        self._times[-1] = (self._times[-1][0], now)
        return True

    def saw(self, begun: float, ended: float, failed: bool) -> None:
        if self.opened is not None:
            self.trial = (ended, failed)
        elif failed:
            self.failed.append(ended)

    def times(self) -> Spans:
        return self._times


def open_in(lane: BreakerLane) -> Spans:
    return [(span.start, span.end) for span in lane.in_state("open")]


@pytest.mark.parametrize("seed", range(40))
def test_an_unsteady_caller_without_a_breaker_is_never_seen_to_open(seed: int) -> None:
    built, _, _ = simulated(seed, breaker=False, traced=bool(seed % 2))
    if seed % 3 == 0:
        built.counts_only()
    assert open_in(breaker_lane(built.build(), EDGE)) == []


@pytest.mark.parametrize("seed", range(40))
def test_a_breaker_is_seen_to_open_and_close_when_it_does(seed: int) -> None:
    built, rate, truth = simulated(seed, breaker=True, traced=bool(seed % 2))
    lane = breaker_lane(built.build(), EDGE)
    # It takes a dozen calls that were due to be sure: where those take over 1.5 s, an opening of 2 s may go unseen.
    if rate < 15:
        return
    assert len(open_in(lane)) == len(truth)
    for (start, end), (true_start, true_end) in zip(open_in(lane), truth, strict=True):
        assert start == pytest.approx(true_start, abs=0.4)
        assert end == pytest.approx(true_end, abs=0.05)
    assert all(span.calls == 1 for span in lane.in_state("half_open"))


def test_lanes_worth_drawing_are_those_that_open_or_say_something() -> None:
    built, _, _ = simulated(1, breaker=True)
    history = built.breaker("orders->inventory", 1.0, "closed").build()
    assert [lane.edge for lane in breaker_lanes(history)] == ["orders->payments", "orders->inventory"]


def test_states_follow_each_other_without_gap_or_overlap() -> None:
    for seed in range(10):
        built, _, _ = simulated(seed, breaker=True)
        for history in (built.build(), built.counts_only().build()):
            spans = breaker_lane(history, EDGE).seen
            assert all(before.end == pytest.approx(after.start) for before, after in pairwise(spans))
            assert (spans[0].start, spans[-1].end) == (0.0, 24.0)


def refused(start: float, end: float, *, back: float | None = None) -> HistoryBuilder:
    """No call can be seen from `start` to `end`, for the listener is closed; from `back` on calls cross again."""
    back = end if back is None else back
    built = healthy().calls(EDGE, (start, back), rate=0).closed_listener(EDGE, (start, end))
    return built.calls("gateway->orders", (start, back), rate=80, took=0.01, path="/checkout")


def states(lane: BreakerLane) -> list[tuple[float, float, str]]:
    return [(round(span.start, 1), round(span.end, 1), span.state) for span in lane.seen]


@pytest.mark.parametrize("back", [10.0, 10.05, 10.2])
def test_what_a_closed_listener_cuts_off_from_a_gap_is_neither_an_opening_nor_a_trial(back: float) -> None:
    found = states(breaker_lane(refused(9.0, 10.0, back=back).build(), EDGE))
    assert [state for _, _, state in found] == ["closed", "unknown", "closed"]
    assert (found[0][1], found[1][1]) == (9.0, pytest.approx(back + 0.1, abs=0.06))


def test_what_is_seen_after_a_closed_listener_is_enough_by_itself() -> None:
    built = refused(9.0, 10.0, back=11.2)
    built.call("orders->payments.1", 11.0, 0.2)
    assert states(breaker_lane(built.build(), EDGE)) == [
        (0.0, 9.0, "closed"), (9.0, 10.0, "unknown"), (10.0, 11.0, "open"), (11.0, 11.2, "half_open"),
        (11.2, 24.0, "closed"),
    ]  # fmt: skip


def test_a_listener_that_opens_and_closes_in_the_middle_of_a_gap_leaves_it_unknown() -> None:
    built = refused(9.0, 9.8, back=11.0).closed_listener(EDGE, (9.9, 11.0))
    assert [state for _, _, state in states(breaker_lane(built.build(), EDGE))] == ["closed", "unknown", "closed"]


def test_where_the_metric_begins_late_what_was_before_stays_unknown() -> None:
    lane = breaker_lane(refused(9.0, 12.0).breaker(EDGE, 10.0, "open").breaker(EDGE, 11.0, "unknown").build(), EDGE)
    spans = [(span.start, round(span.end, 1), span.state) for span in lane.spans if span.state != "closed"]
    assert spans == [(9.0, 10.0, "unknown"), (10.0, 11.0, "open"), (11.0, 12.1, "unknown")]
