"""A fault goes in on time, comes out on time or at once, and its undo is in the journal before it exists."""

import time
from collections.abc import Sequence

import pytest

from chaoskit.deployers.ports import reserve
from chaoskit.deployers.replica import ProcessReplica, StartAgain
from chaoskit.injection import Injection
from chaoskit.interfaces import Fault, LaunchSpec, System, UndoOwner
from chaoskit.model.observation import Event, Observation
from chaoskit.model.undo import Undo
from chaoskit.testing import FakeLauncher, FakeSystem, NoFault

SPANS = (0.3, 0.6)


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events: list[Event] = []

    def emit(self, seen: Observation) -> None:
        assert isinstance(seen, Event)
        self.events.append(seen)
        self.lines.append(seen.kind)


class Recorded(NoFault):
    """Writes down what is done to it."""

    kind = "recorded"

    def undo(self, system: System) -> Sequence[Undo]:
        return [Undo(id="u1", owner="testing.recorded", args={})]

    def inject(self, system: System) -> None:
        LOG.lines.append("in")


class Breaking(Recorded):
    def inject(self, system: System) -> None:
        LOG.lines.append("half in")
        raise OSError("the other half is not there")


LOG = Log()


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch) -> None:
    global LOG
    LOG = Log()

    class Owner(UndoOwner):
        @classmethod
        def apply_undo(cls, undo: Undo, system: System | None) -> None:
            LOG.lines.append(f"out {undo.id}")

    monkeypatch.setattr("chaoskit.injection.undo_owners", lambda: {"testing.recorded": Owner})


def carried(fault: Fault, window: tuple[float, float] = SPANS, system: System | None = None) -> Injection:
    injection = Injection(
        fault,
        system or FakeSystem(),
        t0=time.monotonic(),
        window=window,
        emit=LOG.emit,
        will_undo=lambda undo: LOG.lines.append(f"journal {undo.id}"),
        undone=lambda undo_id: LOG.lines.append(f"done {undo_id}"),
    )
    injection.prepare()
    return injection


def test_the_undo_is_written_down_before_the_fault_is_in() -> None:
    injection = carried(Recorded(on="orders->payments", id="r"))
    injection.join(5.0)
    assert LOG.lines == ["journal r: u1", "in", "injected", "out r: u1", "done r: u1", "undone"]
    span = injection.span()
    assert span.injected is not None and span.undone is not None
    assert 0.3 <= span.injected < 0.6
    assert span.undone >= 0.6
    assert not injection.undo_left


def test_withdrawn_it_comes_out_at_once() -> None:
    injection = carried(Recorded(on="orders->payments", id="r"), (0.0, 60.0))
    time.sleep(0.3)
    injection.withdraw()
    assert LOG.lines[-3:] == ["out r: u1", "done r: u1", "undone"]
    assert injection.span().undone is not None


def test_withdrawn_before_its_time_it_never_goes_in_and_is_undone_all_the_same() -> None:
    injection = carried(Recorded(on="orders->payments", id="r"), (30.0, 60.0))
    injection.withdraw()
    assert LOG.lines == ["journal r: u1", "out r: u1", "done r: u1"]
    assert injection.span().injected is None
    assert injection.span().active is None


def test_a_fault_that_goes_in_by_half_is_taken_out_and_reported() -> None:
    injection = carried(Breaking(on="orders->payments", id="r"))
    injection.join(5.0)
    assert "the other half is not there" in injection.error
    assert LOG.lines == ["journal r: u1", "half in", "fault_failed", "out r: u1", "done r: u1", "undone"]
    assert injection.span().in_force is None


def test_an_undo_that_fails_is_left_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaoskit.injection.undo_owners", dict)
    injection = carried(Recorded(on="orders->payments", id="r"))
    injection.join(5.0)
    assert [undo.id for undo in injection.undo_left] == ["r: u1"]
    assert "done r: u1" not in LOG.lines
    assert "nobody here knows how to undo" in injection.error


class Killed(NoFault):
    """Kills the one replica there is."""

    kind = "killed"

    def undo(self, system: System) -> Sequence[Undo]:
        return [system.replica("payments").undo_kill()]

    def inject(self, system: System) -> None:
        system.replica("payments").signal(9)


@pytest.mark.parametrize("ending", [False, True])
def test_what_was_killed_is_not_started_again_for_its_end(monkeypatch: pytest.MonkeyPatch, ending: bool) -> None:
    monkeypatch.setattr("chaoskit.injection.undo_owners", lambda: {StartAgain.kind: StartAgain})
    launcher, system = FakeLauncher(), FakeSystem()
    replica = ProcessReplica(LaunchSpec(name="payments", argv=("x",), env={}), reserve(), launcher, lambda _: "")
    monkeypatch.setattr(system, "replica", lambda _: replica)
    replica.start()
    monkeypatch.setattr(replica, "signal", lambda number: setattr(launcher.children[0], "status", -number))
    injection = carried(Killed(on="orders->payments", id="k"), (0.0, 60.0), system)
    while injection.span().in_force is None:
        time.sleep(0.01)
    injection.withdraw(ending=ending)
    assert len(launcher.children) == (1 if ending else 2)
    assert replica.alive() is not ending
    assert LOG.lines[-2:] == ["done k: process.kill:payments", "undone"]
