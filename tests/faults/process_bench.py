"""Faults on services, tried at the same time on real processes under calls."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from chaoskit.deployers.process import Process
from chaoskit.faults.disk import DiskFull
from chaoskit.faults.service import ServiceFault
from chaoskit.injection import Injection
from chaoskit.interfaces import System
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
from tests.faults.bench import keep_calling


def twin(fault: ServiceFault) -> ServiceFault:
    """The same fault, which does nothing when it is injected."""

    class Twin(type(fault)):  # type: ignore[misc]
        kind: ClassVar[str] = f"{fault.kind}_twin"

        def inject(self, system: System) -> None:
            pass

    fields = {name: getattr(fault, name) for name in type(fault).model_fields}
    service, dot, number = str(fault.on).partition(".")
    return Twin.model_validate(fields | {"id": f"{fault.id}-twin", "on": f"{service}-twin{dot}{number}"})


def target(faults: Sequence[ServiceFault]) -> Target:
    run = f"{sys.executable} {Path(__file__).with_name('callee.py')} {{host}} {{port}}"
    services = {}
    for fault in faults:
        name = str(fault.on).partition(".")[0]
        replicas = 2 if fault.kind.startswith(("scale", "monkey")) or "." in str(fault.on) else 1
        work = {"cpu": " cpu", "mem": " memory", "disk": " disk"}.get(name.partition("-")[0], "")
        if isinstance(fault, DiskFull):
            work = f" disk {fault.path}"
        services[name] = ServiceSpec(run=run + work, replicas=replicas, health=HealthPaths(ready="/ready"))
    needs = {f"URL_{number}": f"http://{{{name}:all}}" for number, name in enumerate(services)}
    services["web"] = ServiceSpec(run=run, needs=needs, health=HealthPaths(ready="/ready"))
    return Target(name="bench", entry="web", services=services)


class Tried:
    def __init__(self, history: History, recovered: dict[str, list[int]], errors: dict[str, str]) -> None:
        self.history = history
        self.recovered = recovered
        self.errors = errors


def try_faults(faults: Sequence[ServiceFault], folder: Path) -> Tried:
    stop = threading.Event()
    stage = Stage(f"bench-{time.monotonic_ns()}", folder, label="bench", toxiproxy="embedded", seed=1, say=print)
    with stage:
        system = stage.deploy(target(faults), Process(), env={}, on_entry=lambda _: None)
        undo_owners()
        for fault in faults:
            fault.arrange(system)
        running = [replica.name for replica in system.replicas() if replica.alive()]
        stage.watch([Taps(), Replicas(), Health(), Resources()])
        edges = [edge for edge in system.topology.edges if edge.caller == "web"]
        answers: dict[str, list[int]] = {edge.callee: [] for edge in edges}
        callers = [
            threading.Thread(target=keep_calling, args=(system.proxy(edge).listen, "/", stop, answers[edge.callee]))
            for edge in edges
        ]
        t0 = slot_start(time.monotonic() + 2 * SLOT)
        stage.recorder.begin(t0)
        windows = {Phase.BASELINE: [(0.5, 2.5)], Phase.FAULT: [(2.5, 5.5)], Phase.RECOVERY: [(5.5, 8.0)]}
        for caller in callers:
            caller.start()
        time.sleep(2.2)
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
        until = time.monotonic() + 10  # what was killed comes up again
        while not all(system.replica(name).ready() for name in running) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        so_far = {name: len(got) for name, got in answers.items()}
        time.sleep(0.7)
        stop.set()
        for caller in callers:
            caller.join()
        recovered = {name: got[so_far[name] :] for name, got in answers.items()}
    return Tried(
        History(stage.recorder.seen(), system.topology, windows, [injection.span() for injection in injections]),
        recovered,
        {injection.fault.id: injection.error for injection in injections if injection.error},
    )


def tried_in(faults: Sequence[ServiceFault], folder: Path) -> Tried:
    """With journals apart from the user's, for a fixture of a whole module."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CHAOSKIT_STATE", str(folder / "state"))
    try:
        return try_faults(faults, folder)
    finally:
        patch.undo()
