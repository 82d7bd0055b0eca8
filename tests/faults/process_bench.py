"""Faults on services, tried at the same time on real processes or containers under calls."""

from __future__ import annotations

import json
import shutil
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from chaoskit.deployers.process import Process
from chaoskit.faults.disk import DiskFull
from chaoskit.faults.service import ServiceFault
from chaoskit.injection import Injection
from chaoskit.interfaces import Deployer, System
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import SLOT, slot_start
from chaoskit.probes.health import Health
from chaoskit.probes.replicas import Replicas
from chaoskit.probes.resources import Resources
from chaoskit.probes.taps import Taps
from chaoskit.registry import undo_owners
from chaoskit.stage import Stage
from chaoskit.target import Health as HealthPaths
from chaoskit.target import ServiceSpec, Target

_HERE = Path(__file__).parent
_READY = HealthPaths(ready="/ready")


def twin(fault: ServiceFault, on: str = "") -> ServiceFault:
    """The same fault on a service of its own (or that one), which does nothing when it is injected."""

    class Twin(type(fault)):  # type: ignore[misc]
        kind: ClassVar[str] = f"{fault.kind}_twin"

        def inject(self, system: System) -> None:
            pass

    fields = {name: getattr(fault, name) for name in type(fault).model_fields}
    service, dot, number = str(fault.on).partition(".")
    return Twin.model_validate(fields | {"id": f"{fault.id}-twin", "on": on or f"{service}-twin{dot}{number}"})


def target(faults: Sequence[ServiceFault], folder: Path) -> Target:
    """A service (or several replicas) for each place that a fault names, and `web`, which calls all of them."""
    folder.mkdir()
    for script in ("callee.py", "caller.py"):
        shutil.copy(_HERE / script, folder)
    services: dict[str, ServiceSpec] = {}
    for fault in faults:
        name = str(fault.on).partition(".")[0]
        replicas = 2 if fault.kind.startswith(("scale", "monkey")) or "." in str(fault.on) else 1
        work = {"cpu": " cpu", "mem": " memory", "disk": " disk"}.get(name.partition("-")[0], "")
        if isinstance(fault, DiskFull):
            work = f" disk {fault.path}"
        run = f"python callee.py {{host}} {{port}}{work}"
        replicas = max(replicas, services[name].replicas if name in services else 1)
        services[name] = ServiceSpec(run=run, replicas=replicas, health=_READY)
    needs = {f"CALLEES_{name}": f"http://{{{name}:all}}" for name in services}
    services["web"] = ServiceSpec(run="python caller.py {host} {port}", needs=needs, health=_READY)
    return Target(name="bench", entry="web", services=services).model_copy(update={"file": folder / "target.yaml"})


def answers(system: System) -> dict[str, list[int]]:
    """By replica, what `web` was answered so far."""
    with urllib.request.urlopen(f"http://{system.replica('web').address}/answers", timeout=5) as answer:
        told: Mapping[str, list[list[int]]] = json.load(answer)
    found = {}
    for variable, each in told.items():
        names = system.topology.service(variable.removeprefix("CALLEES_")).replica_names()
        found |= dict(zip(names, each, strict=True))
    return found


class Tried:
    def __init__(self, history: History, recovered: dict[str, list[int]], errors: dict[str, str]) -> None:
        self.history = history
        self.recovered = recovered
        self.errors = errors


def try_faults(faults: Sequence[ServiceFault], folder: Path, deployer: Deployer, seconds: float) -> Tried:
    """All of them are in for so many seconds."""
    stage = Stage(f"bench-{time.monotonic_ns()}", folder, label="bench", toxiproxy="embedded", seed=1, say=print)
    (folder / "logs").mkdir()
    with stage:
        system = stage.deploy(target(faults, folder / "services"), deployer, env={}, on_entry=lambda _: None)
        undo_owners()
        for fault in faults:
            fault.arrange(system)
        running = [replica.name for replica in system.replicas() if replica.alive()]
        stage.watch([Taps(), Replicas(), Health(), Resources()])
        t0 = slot_start(time.monotonic() + 2 * SLOT)
        stage.recorder.begin(t0)
        begin, end = 2.5, 2.5 + seconds
        windows = {Phase.BASELINE: [(0.5, begin)], Phase.FAULT: [(begin, end)], Phase.RECOVERY: [(end, end + 2.5)]}
        time.sleep(begin - 0.3)
        injections = [
            Injection(
                fault,
                system,
                t0=t0,
                window=windows[Phase.FAULT][0],
                emit=stage.recorder.emit,
                will_undo=stage.will_undo,
                undone=stage.undone,
            )
            for fault in faults
        ]
        for injection in injections:
            injection.prepare()
        for injection in injections:
            injection.join()
        until = time.monotonic() + 15  # what was killed comes up again
        while not all(system.replica(name).ready() for name in running) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        so_far = {name: len(got) for name, got in answers(system).items()}
        time.sleep(0.7)
        recovered = {name: got[so_far[name] :] for name, got in answers(system).items()}
    return Tried(
        History(stage.recorder.seen(), system.topology, windows, [injection.span() for injection in injections]),
        recovered,
        {injection.fault.id: injection.error for injection in injections if injection.error},
    )


def tried_in(
    faults: Sequence[ServiceFault], folder: Path, deployer: Deployer | None = None, seconds: float = 3.0
) -> Tried:
    """With journals apart from the user's, for a fixture of a whole module."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CHAOSKIT_STATE", str(folder / "state"))
    try:
        return try_faults(faults, folder, deployer or Process(), seconds)
    finally:
        patch.undo()


def bites_and_is_gone(tried: Tried, fault: ServiceFault) -> None:
    """It was put in, its trace proves that it bit, and its replicas serve again."""
    assert fault.id not in tried.errors, tried.errors
    trace = fault.trace(tried.history)
    print(trace.because)
    assert trace.bit, trace.because
    for replica in tried.history.topology.select_replicas(str(fault.on))[: getattr(fault, "before", None)]:
        assert tried.recovered[replica], replica
        assert set(tried.recovered[replica]) == {200}, replica


def found_out(tried: Tried, twin: ServiceFault) -> None:
    """The trace of one that was never put in does not prove it."""
    trace = twin.trace(tried.history)
    print(trace.because)
    assert not trace.bit, trace.because
