"""A no-op of every interface: the least that each of them can be."""

# ruff: noqa: ARG002, ARG003  (nothing is done with what is handed over: that is the point)

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from chaoskit.interfaces import (
    Address,
    Backing,
    Deployer,
    Emit,
    Fault,
    Hypothesis,
    LaunchSpec,
    Probe,
    Reporter,
    Scene,
    ServerPlan,
    System,
)
from chaoskit.model.history import History
from chaoskit.model.run import Run
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Finding, Trace, Verdict
from chaoskit.target import Target
from chaoskit.testing.fakes import FakeSystem

__all__ = ["NoBacking", "NoDeployer", "NoFault", "NoHypothesis", "NoProbe", "NoReporter"]


class NoDeployer(Deployer):
    """Puts nothing up, and says that it can do everything."""

    kind: ClassVar[str] = "none"
    can: ClassVar[frozenset[str]] = frozenset({"kill", "pause"})

    def deploy(self, target: Target, scene: Scene) -> System:
        return FakeSystem(target.topology(), folder=scene.folder)

    def stop(self) -> None:
        pass


class NoBacking(Backing):
    """A server that is always ready, and is not there."""

    kind: ClassVar[str] = "none"

    @classmethod
    def plan(cls, name: str, address: Address, folder: Path, *, databases: Sequence[str] = ()) -> ServerPlan:
        return ServerPlan(server=LaunchSpec(name=name, argv=("sleep", "1000"), cwd=str(folder)))

    @classmethod
    def ready(cls, address: Address) -> bool:
        return True

    @classmethod
    def found(cls) -> str:
        return "made up"


class NoFault(Fault):
    """Breaks nothing, and has nothing to undo; its trace says what `bites` says."""

    kind: ClassVar[str] = "none"

    bites: bool = True

    def says(self) -> str:
        return "nothing"

    def undo(self, system: System) -> Sequence[Undo]:
        return ()

    def inject(self, system: System) -> None:
        pass

    def trace(self, history: History) -> Trace:
        return Trace(fault=self.id, bit=self.bites, because="nothing was broken")


class NoProbe(Probe):
    """Watches nothing until it is told to stop."""

    kind: ClassVar[str] = "none"

    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        stop.wait()


class NoHypothesis(Hypothesis):
    """Claims what it is told to find."""

    kind: ClassVar[str] = "none"

    finds: Verdict = Verdict.SUPPORTED

    def expected(self) -> str:
        return str(self.finds)

    def judge(self, history: History) -> Finding:
        return Finding(
            hypothesis=self.title,
            kind=self.kind,
            verdict=self.finds,
            because=f"It was told to find {self.finds}.",
            expected=self.expected(),
            phase=str(self.phases[0]),
        )


class NoReporter(Reporter):
    """Tells nothing: writes an empty file."""

    kind: ClassVar[str] = "none"
    file: ClassVar[str] = "nothing.txt"

    def write(self, run: Run, history: History, folder: Path) -> Path:
        path = folder / self.file
        path.write_text("")
        return path
