from __future__ import annotations

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec
import pytest

from chaoskit.errors import UndoError
from chaoskit.faults.loop import CrashLoop, LoopFault, LoopUndo, Monkey, Restart
from chaoskit.testing import FakeReplica, FakeSystem, HistoryBuilder


class Counting(FakeReplica):
    """Counts its deaths and starts."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.deaths = self.starts = 0

    def signal(self, number: int) -> None:
        super().signal(number)
        self.is_alive = False
        self.deaths += 1

    def start(self) -> None:
        super().start()
        self.starts += 1


@pytest.fixture
def system(tmp_path: Path) -> FakeSystem:
    made = FakeSystem(folder=tmp_path)
    made.fake_replicas = {name: Counting(name) for name in made.fake_replicas}
    return made


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def stop(fault: LoopFault, system: FakeSystem) -> None:
    """As the runner does it: last undo first, each under the id that it has in the journal."""
    for named in reversed(fault.undo(system)):
        undo = msgspec.structs.replace(named, id=f"{fault.id}: {named.id}")
        if undo.owner == LoopUndo.kind:
            LoopUndo.apply_undo(undo, system)
        else:
            system.replica(str(undo.args["replica"])).start()


def replica(system: FakeSystem, name: str = "payments.1") -> Counting:
    found = system.fake_replicas[name]
    assert isinstance(found, Counting)
    return found


def test_a_restart_ends_the_process_and_starts_it_after_a_while(system: FakeSystem) -> None:
    fault = Restart(id="restart", on="payments.1", after="50ms")
    fault.inject(system)
    assert replica(system).deaths == 1, "in force when inject returns"
    assert not replica(system).is_alive
    until(lambda: replica(system).is_alive)
    stop(fault, system)
    assert replica(system).deaths == 1
    assert replica(system, "payments.2").deaths == 0


def test_a_crash_loop_goes_on_until_it_is_undone_and_never_after(system: FakeSystem) -> None:
    fault = CrashLoop(id="crash_loop", on="payments.1", up="50ms", down="10ms")
    fault.inject(system)
    until(lambda: replica(system).deaths >= 3)
    stop(fault, system)
    deaths = replica(system).deaths
    assert replica(system).is_alive
    time.sleep(0.2)
    assert replica(system).deaths == deaths
    assert replica(system).is_alive


def test_the_loop_is_stopped_before_the_replicas_are_started_for_good(system: FakeSystem) -> None:
    undos = CrashLoop(id="crash_loop", on="payments").undo(system)
    assert [undo.owner for undo in undos] == ["fake.kill", "fake.kill", LoopUndo.kind]


def test_undoing_twice_or_in_a_fresh_process_is_no_error(system: FakeSystem) -> None:
    fault = CrashLoop(id="crash_loop", on="payments.1")
    fault.inject(system)
    stop(fault, system)
    stop(fault, system)
    LoopUndo.apply_undo(fault.undo(system)[-1], None)


def test_a_loop_that_broke_says_so_when_it_is_undone(system: FakeSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = CrashLoop(id="crash_loop", on="payments.1", up="50ms", down="1ms")

    def broken() -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(replica(system), "start", broken)
    fault.inject(system)
    time.sleep(0.1)
    with pytest.raises(UndoError, match="no more processes"):
        LoopUndo.apply_undo(fault.undo(system)[-1], system)


def test_a_loop_that_was_stopped_strikes_no_more(system: FakeSystem) -> None:
    fault = CrashLoop(id="crash_loop", on="payments.1", up="50ms", down="5ms")
    fault.inject(system)
    until(lambda: replica(system).deaths > 2)
    stop(fault, system)
    deaths = replica(system).deaths
    time.sleep(0.15)
    assert replica(system).deaths == deaths and replica(system).is_alive


def test_a_monkey_of_the_same_seed_makes_the_same_choices() -> None:
    def choices(seed: int) -> list[tuple[float, tuple[str, ...], float]]:
        monkey = Monkey(id="monkey", on=("payments", "inventory"), mean_between="2s", seed=seed)
        return [
            (s.wait, s.replicas, s.down) for s in islice(monkey.strikes(["payments.1", "payments.2", "inventory"]), 50)
        ]

    assert choices(1) == choices(1)
    assert choices(1) != choices(2)
    assert {name for _, names, _ in choices(1) for name in names} == {"payments.1", "payments.2", "inventory"}


def test_a_monkey_without_a_seed_of_its_own_takes_the_runs() -> None:
    assert Monkey(on="payments").seeded(5) == Monkey(on="payments", seed=5)
    assert Monkey(on="payments", seed=1).seeded(5) == Monkey(on="payments", seed=1)


def test_a_monkey_keeps_its_mean_time_between_kills_and_its_limit() -> None:
    monkey = Monkey(id="monkey", on="payments", mean_between="2s", down="100ms", most=2000, seed=3)
    strikes = list(monkey.strikes(["payments.1"]))
    assert len(strikes) == 2000
    assert 1.8 < sum(s.wait + s.down for s in strikes) / len(strikes) < 2.2


def test_a_monkey_kills_and_what_it_killed_lives_again(system: FakeSystem) -> None:
    fault = Monkey(id="monkey", on="payments", mean_between="100ms", down="10ms", most=3, seed=1)
    fault.inject(system)
    until(lambda: replica(system).deaths + replica(system, "payments.2").deaths == 3)
    stop(fault, system)
    assert replica(system).is_alive
    assert replica(system, "payments.2").is_alive


def test_traces_of_loops_count_the_exits() -> None:
    loop = CrashLoop(id="it", on="payments.1", up="1s", down="1s")
    for fault, exits, bites in (
        (loop, (), False),
        (loop, (8.0,), False),
        (loop, (8.0, 10.0, 12.0, 14.0, 16.0), True),
        (Restart(id="it", on="payments.1"), (8.0,), True),
        (Restart(id="it", on="payments.1"), (), False),
        (Monkey(id="it", on="payments"), (12.0,), True),
        (Monkey(id="it", on="payments"), (), False),
    ):
        builder = HistoryBuilder().calls("orders->payments", rate=20).fault(fault.kind, on="payments.1", id="it")
        for at in exits:
            builder.event("exited", at, replica="payments.1")
        assert fault.trace(builder.build()).bit is bites, (fault, exits)
