"""The sweep by label, on an engine that is only told of."""

from __future__ import annotations

import time

import pytest

from chaoskit.deployers import docker_sweep
from chaoskit.deployers.docker_sweep import Sweep
from chaoskit.errors import UndoError
from chaoskit.model.undo import Undo
from chaoskit.testing import FakeClock, FakeSystem

UNDO = Undo(id="x", owner=Sweep.kind, args={"engine": "unix:///x.sock", "run": "r"}, says="docker rm …")


class Told:
    """An engine in which each pass finds the next of these, and then the last again and again."""

    def __init__(self, *passes: list[str]) -> None:
        self.passes = list(passes)
        self.asked = 0

    def __call__(self, written: object) -> Told:
        assert written == "unix:///x.sock"
        return self

    def sweep(self, run: str) -> list[str]:
        assert run == "r"
        self.asked += 1
        return self.passes[min(self.asked, len(self.passes)) - 1]

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(time, "sleep", clock.sleep)
    return clock


def sweeping(monkeypatch: pytest.MonkeyPatch, *passes: list[str]) -> Told:
    engine = Told(*passes)
    monkeypatch.setattr(docker_sweep, "Engine", engine)
    return engine


def test_it_goes_on_until_two_passes_in_a_row_find_nothing(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = sweeping(monkeypatch, ["c1"], [], ["late"], [])
    Sweep.apply_undo(UNDO, None)
    assert engine.asked == 5
    assert clock.slept == [2.0] * 4


def test_where_nobody_makes_anything_more_one_empty_pass_will_do(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = sweeping(monkeypatch, ["c1"], [])
    Sweep.apply_undo(UNDO, FakeSystem())
    assert engine.asked == 2
    assert not any(clock.slept)


@pytest.mark.parametrize("passes", [([["stays"]]), ([[], ["again"]] * 20)])
def test_what_does_not_go_away_is_told_after_a_while(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch, passes: list[list[str]]
) -> None:
    sweeping(monkeypatch, *passes)
    began = clock.now
    with pytest.raises(UndoError, match=r"these are still there: (stays|again)"):
        Sweep.apply_undo(UNDO, None)
    assert 15.0 <= clock.now - began < 20.0
