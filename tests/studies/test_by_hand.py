"""Faults put in by hand, on a system that is not there: journaled first, out in time, refused where they do not fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.errors import CouldNotRun, CouldNotTell, UsageError
from chaoskit.faults.network import Latency
from chaoskit.interfaces import Fault, System, UndoOwner
from chaoskit.model.history import Phase
from chaoskit.model.observation import Event, Observation
from chaoskit.model.undo import Undo
from chaoskit.reading import load_target
from chaoskit.studies.by_hand import FaultsByHand
from chaoskit.target import Target
from chaoskit.testing import FakeSystem

TINY = Path(__file__).parent.parent / "e2e" / "targets" / "tiny" / "target.yaml"


class Recorded:
    """A recorder that remembers, and a stage that writes down: what faults by hand need of both."""

    def __init__(self) -> None:
        self.recorder = self
        self.said: list[str] = []
        self.open: set[str] = set()

    def emit(self, seen: Observation) -> None:
        if isinstance(seen, Event):
            self.said.append(seen.kind)

    def will_undo(self, undo: Undo) -> None:
        assert undo.due is not None and undo.due > time.monotonic(), "it comes out whatever happens"
        self.said.append("written")
        self.open.add(undo.id)

    def undone(self, undo_id: str) -> None:
        self.open.discard(undo_id)

    def flush(self) -> None:
        pass

    def seen(self) -> list[Observation]:
        return []


@pytest.fixture
def stage() -> Recorded:
    return Recorded()


@pytest.fixture
def target() -> Target:
    return load_target(str(TINY))


@pytest.fixture
def faults(stage: Recorded, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultsByHand]:
    class Tiny(FakeSystem):
        @property
        def target(self) -> Target:
            return target

    class Owner(UndoOwner):
        @classmethod
        def apply_undo(cls, undo: Undo, system: System | None) -> None:
            pass

    monkeypatch.setattr("chaoskit.injection.undo_owners", lambda: {"fake.toxics": Owner})
    made = FaultsByHand(
        stage,  # type: ignore[arg-type]  # as much of one as it needs
        Tiny(target.topology(), folder=tmp_path),
        deployer="process",
        blast_radius=(),
        seed=1,
        t0=time.monotonic(),
    )
    yield made
    made.close()


LATENCY = {"kind": "latency", "on": "middle->back", "add": "200ms"}


def test_it_is_in_force_when_it_returns_and_out_in_time(faults: FaultsByHand, stage: Recorded) -> None:
    fault = faults.inject(LATENCY, 0.3)
    assert (fault.id, fault.state, fault.on) == ("latency", "in", ("middle->back",))
    assert stage.open and stage.said == ["written", "injected"]
    time.sleep(0.6)
    (now,) = faults.now()
    assert now.state == "out" and not stage.open
    assert stage.said == ["written", "injected", "undone"]


def test_withdrawn_it_is_out_at_once(faults: FaultsByHand, stage: Recorded) -> None:
    faults.inject(LATENCY, 60.0)
    (out,) = faults.withdraw("latency")
    assert out.state == "out" and not stage.open
    with pytest.raises(UsageError, match="no fault 'latency' is in"):
        faults.withdraw("latency")
    assert faults.withdraw("all") == []


def test_each_has_an_id_of_its_own(faults: FaultsByHand) -> None:
    found = [faults.inject(LATENCY | {"on": on}, 60.0).id for on in ("middle->back", "front->middle")]
    assert found == ["latency", "latency-2"]


def test_when_it_ends_all_are_out_and_none_goes_in(faults: FaultsByHand, stage: Recorded) -> None:
    faults.inject(LATENCY, 60.0)
    faults.close()
    assert not stage.open and [fault.state for fault in faults.now()] == ["out"]
    with pytest.raises(CouldNotRun, match="going down"):
        faults.inject(LATENCY, 1.0)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"kind": "latncy"}, "no fault of kind 'latncy'"),
        (LATENCY | {"on": "middle->bak"}, "no edge 'middle->bak'"),
        (LATENCY | {"ad": 1}, "unknown key 'ad'"),
        (LATENCY | {"add": 200}, "add:"),
        ({"kind": "disconnect", "on": "back"}, "process cannot"),
        ({"kind": "kill", "on": "middle->back"}, "acts on services"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_done(
    faults: FaultsByHand, stage: Recorded, written: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        faults.inject(written, 1.0)
    assert not stage.open and not stage.said and not faults.now()


def test_a_fault_for_no_time_is_refused(faults: FaultsByHand) -> None:
    with pytest.raises(UsageError):
        faults.inject(LATENCY, 0.0)


def test_a_relative_one_that_has_nothing_to_be_relative_to_does_not_go_in(faults: FaultsByHand) -> None:
    with pytest.raises(CouldNotTell):
        faults.inject(LATENCY | {"add": "+50%"}, 1.0)
    assert not faults.now()


def test_one_that_fails_to_go_in_is_told_and_out_again(
    faults: FaultsByHand, stage: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Fault, system: System) -> None:
        raise CouldNotRun("the proxy refused")

    monkeypatch.setattr(Latency, "inject", fail)
    with pytest.raises(CouldNotRun, match="the proxy refused"):
        faults.inject(LATENCY, 60.0)
    assert not stage.open
    assert [fault.state for fault in faults.now()] == ["failed"]
    assert "the proxy refused" in faults.errors[0]


def test_windows_follow_the_faults(faults: FaultsByHand) -> None:
    time.sleep(0.25)
    faults.inject(LATENCY, 0.2)
    time.sleep(0.5)
    found = faults.windows(2.0)
    assert set(found) == {Phase.BASELINE, Phase.FAULT, Phase.RECOVERY}
    assert found[Phase.RECOVERY][-1][1] == 2.0
