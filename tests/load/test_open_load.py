"""The open load against a clock of its own: nothing lost, nothing early, nothing twice, whoever's share it is."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaoskit.load import open_load
from chaoskit.load.open_load import OpenLoad
from chaoskit.load.recording import Recorder
from chaoskit.load.timer import Alarm
from chaoskit.model.observation import LoadSlot

INF = float("inf")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeAlarm(Alarm):
    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.due = INF

    def at(self, instant: float) -> None:
        self.due = instant

    def close(self) -> None:
        self.due = INF


class World:
    """An open load whose sends are only noted; they stay in flight until `answer`."""

    def __init__(
        self, clock: Clock, rate: float, *, owned: tuple[int, ...] = (0,), of: int = 1, cap: int = 10**9
    ) -> None:
        self.clock = clock
        self.sent: list[tuple[int, float, float]] = []
        """Number, planned and actual instant."""
        self.recorder = Recorder("worker.1")
        plan = SimpleNamespace(legs=[(0.0, INF, rate, rate)], poisson=False, seed=1, in_flight_cap=cap)
        request = SimpleNamespace(name="r", plan=SimpleNamespace(weight=1.0))
        self.sending = SimpleNamespace(
            plan=plan,
            mix=[request],
            plain=[True],
            remembers=False,
            in_flight=0,
            begin=self.begin,
            recorder=self.recorder,
        )
        self.load = OpenLoad(self.sending, owned, of, make_alarm=self.make_alarm)  # type: ignore[arg-type]

    def make_alarm(self, ring: Callable[[], None]) -> Alarm:
        self.alarm = FakeAlarm(ring)
        return self.alarm

    def begin(self, request: object, planned: float, number: int) -> None:
        self.sending.in_flight += 1
        self.sent.append((number, planned, self.clock.now))

    def until(self, instant: float) -> None:
        """Let the clock go on, ringing as it passes what is due; the loop may be blocked before."""
        while self.alarm.due <= instant:
            self.clock.now = max(self.clock.now, self.alarm.due)
            self.alarm.due = INF
            self.alarm.ring()
        self.clock.now = instant

    @property
    def slots(self) -> list[LoadSlot]:
        return self.recorder.flush()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(open_load, "monotonic", made)
    return made


def test_all_go_out_when_they_are_due(clock: Clock) -> None:
    world = World(clock, 100.0)
    world.load.start(1001.0, 2.0)
    world.until(1005.0)
    assert [number for number, _, _ in world.sent] == list(range(200))
    assert all(actual == pytest.approx(planned) and actual >= planned for _, planned, actual in world.sent)
    assert not world.load.planning


@given(blocked=st.floats(0.0, 3.0), rate=st.floats(5.0, 2000.0))
@settings(max_examples=60, deadline=None)
def test_after_a_pause_it_catches_up_or_owns_up(blocked: float, rate: float) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_load, "monotonic", clock)
        world = World(clock, rate)
        world.load.start(1000.0, 4.0)
        world.until(1000.5)
        clock.now += blocked
        world.until(1010.0)
        dropped = sum(slot.dropped for slot in world.slots)
        planned = len(world.sent) + dropped
        assert planned in (int(rate * 4), int(rate * 4) + 1)
        assert all(0 <= actual - due <= open_load._CATCH_UP for _, due, actual in world.sent)
        assert len({number for number, _, _ in world.sent}) == len(world.sent)
        if abs(blocked - open_load._CATCH_UP) > 2 / rate:
            assert (dropped > 0) == (blocked > open_load._CATCH_UP)


def test_overdue_sends_go_out_in_bursts_with_reads_between(clock: Clock) -> None:
    world = World(clock, 1000.0)
    world.load.start(1000.0, 10.0)
    clock.now = 1000.5
    world.alarm.ring()
    assert len(world.sent) == open_load._BURST
    assert world.alarm.due <= clock.now


def test_at_the_cap_they_are_dropped_and_it_is_the_targets_failure(clock: Clock) -> None:
    world = World(clock, 100.0, cap=30)
    world.load.start(1000.0, 1.0)
    world.until(1002.0)
    slots = world.slots
    dropped = sum(slot.dropped for slot in slots)
    below = sum(slot.dropped_below_cap for slot in slots)
    assert (len(world.sent), dropped, below) == (30, 70, 0)


def test_the_cap_is_shared_out(clock: Clock) -> None:
    world = World(clock, 100.0, owned=(0,), of=4, cap=30)
    world.load.start(1000.0, 4.0)
    world.until(1005.0)
    assert len(world.sent) == 8


def test_what_is_overdue_at_the_stop_is_told(clock: Clock) -> None:
    world = World(clock, 100.0)
    world.load.start(1000.0, 10.0)
    world.until(1000.5)
    clock.now = 1000.8
    world.load.stop()
    slots = world.slots
    assert sum(slot.dropped_below_cap for slot in slots) == sum(slot.dropped for slot in slots) == 24
    assert not world.load.planning
    world.until(1020.0)
    assert len(world.sent) == 51


@given(
    of=st.integers(2, 5),
    rate=st.floats(1.0, 500.0),
    lost=st.floats(0.1, 4.0),
    takeover=st.floats(0.0, 0.5),
    data=st.data(),
)
@settings(max_examples=80, deadline=None)
def test_a_share_changes_hands_at_one_instant(
    of: int, rate: float, lost: float, takeover: float, data: st.DataObject
) -> None:
    mine = data.draw(st.integers(0, of - 1))
    theirs = data.draw(st.integers(0, of - 1).filter(lambda number: number != mine))
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_load, "monotonic", clock)
        world = World(clock, rate, owned=(mine,), of=of)
        world.load.start(1000.0, 5.0)
        world.until(1000.0 + lost)
        since = 1000.0 + lost + takeover
        world.load.own((mine, theirs), since)
        world.until(1010.0)
    # An arrival at the very instant of the change goes by how the workers round it, all of them alike.
    at_the_change = {number for number in range(int(rate * 5) + 2) if abs(1000.0 + number / rate - since) < 1e-9}
    expected = [
        number
        for number in range(int(rate * 5) + 2)
        if number / rate < 5.0 and (number % of == mine or (number % of == theirs and 1000.0 + number / rate >= since))
    ]
    sent = {number for number, _, _ in world.sent}
    assert len(sent) == len(world.sent)
    assert sent <= set(expected) | at_the_change
    in_order = [number for number, _, _ in world.sent if number not in at_the_change]
    assert in_order == [number for number in expected if number not in at_the_change]
    assert all(actual >= planned for _, planned, actual in world.sent)
