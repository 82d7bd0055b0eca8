"""Load testing and chaos engineering with a verdict: what happens to a service when something it needs goes wrong?

    experiment = chaoskit.load("experiments/payments-50-percent-slower.yaml")
    finished = chaoskit.run(experiment)
    print(finished.verdict, finished.folder)

Everything is imported when it is first used: `import chaoskit` itself loads nothing heavy.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoskit.errors import ChaoskitError
    from chaoskit.experiment import Experiment
    from chaoskit.interfaces import Backing, Deployer, Fault, Hypothesis, Probe, Reporter, System
    from chaoskit.model.history import History, Phase
    from chaoskit.model.run import Run
    from chaoskit.model.verdict import Finding, Gate, Verdict
    from chaoskit.reading import load
    from chaoskit.runner import Asked, run
    from chaoskit.target import Target

__all__ = [
    "Asked",
    "Backing",
    "ChaoskitError",
    "Deployer",
    "Experiment",
    "Fault",
    "Finding",
    "Gate",
    "History",
    "Hypothesis",
    "Phase",
    "Probe",
    "Reporter",
    "Run",
    "System",
    "Target",
    "Verdict",
    "load",
    "run",
]

_HOMES = {
    "Asked": "runner",
    "Backing": "interfaces",
    "ChaoskitError": "errors",
    "Deployer": "interfaces",
    "Experiment": "experiment",
    "Fault": "interfaces",
    "Finding": "model.verdict",
    "Gate": "model.verdict",
    "History": "model.history",
    "Hypothesis": "interfaces",
    "Phase": "model.history",
    "Probe": "interfaces",
    "Reporter": "interfaces",
    "Run": "model.run",
    "System": "interfaces",
    "Target": "target",
    "Verdict": "model.verdict",
    "load": "reading",
    "run": "runner",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _LoadFolder(ModuleType):
    """The folder `chaoskit.load`, callable: once it is imported, its name hides the function of that name."""

    def __call__(self, path: str) -> Experiment:
        """Read an experiment, as `chaoskit.reading.load` does."""
        experiment: Experiment = import_module("chaoskit.reading").load(path)
        return experiment


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        if name == "load" and isinstance(value, ModuleType):
            value.__class__ = _LoadFolder
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
