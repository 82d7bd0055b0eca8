"""Every fault on services, on real processes under calls: it bites, says so, and is gone when it is undone; and its
twin, which was said to be in and was not, is found out."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from chaoskit.deployers.process import Process
from chaoskit.faults.loop import CrashLoop, Monkey, Restart
from chaoskit.faults.process import Kill, Pause, Scale
from chaoskit.faults.service import ServiceFault
from chaoskit.injection import Injection
from chaoskit.interfaces import System
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import SLOT, slot_start
from chaoskit.probes.health import Health
from chaoskit.probes.replicas import Replicas
from chaoskit.probes.taps import Taps
from chaoskit.registry import undo_owners
from chaoskit.stage import Stage
from chaoskit.target import Health as HealthPaths
from chaoskit.target import ServiceSpec, Target
from tests.faults.bench import keep_calling

FAULTS: tuple[ServiceFault, ...] = (
    Kill(id="kill", on="kill"),
    Kill(id="term", on="term.1", signal="SIGTERM"),
    Pause(id="pause", on="pause"),
    Restart(id="restart", on="restart", after="300ms"),
    CrashLoop(id="crash_loop", on="crash-loop", up="400ms", down="200ms"),
    Monkey(id="monkey", on="monkey", mean_between="600ms", down="200ms", seed=1),
    Scale(id="scale", on="scale", to=1),
)


def twin(fault: ServiceFault) -> ServiceFault:
    """The same fault, which does nothing when it is injected."""

    class Twin(type(fault)):  # type: ignore[misc]
        kind: ClassVar[str] = f"{fault.kind}_twin"

        def inject(self, system: System) -> None:
            pass

    fields = {name: getattr(fault, name) for name in type(fault).model_fields}
    service, dot, number = str(fault.on).partition(".")
    return Twin.model_validate(fields | {"id": f"{fault.id}-twin", "on": f"{service}-twin{dot}{number}"})


TWINS = tuple(twin(fault) for fault in FAULTS)


def target() -> Target:
    run = f"{sys.executable} {Path(__file__).with_name('callee.py')} {{host}} {{port}}"
    services = {}
    for fault in (*FAULTS, *TWINS):
        name = str(fault.on).partition(".")[0]
        replicas = 2 if fault.kind.startswith(("scale", "monkey")) or "." in str(fault.on) else 1
        services[name] = ServiceSpec(run=run, replicas=replicas, health=HealthPaths(ready="/", live="/"))
    needs = {f"URL_{number}": f"http://{{{name}:all}}" for number, name in enumerate(services)}
    services["web"] = ServiceSpec(run=run, needs=needs, health=HealthPaths(ready="/"))
    return Target(name="bench", entry="web", services=services)


class Tried:
    def __init__(self, history: History, recovered: dict[str, list[int]], errors: Sequence[str]) -> None:
        self.history = history
        self.recovered = recovered
        self.errors = errors


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    folder = tmp_path_factory.mktemp("processes")
    patch = pytest.MonkeyPatch()
    patch.setenv("CHAOSKIT_STATE", str(folder / "state"))
    try:
        return try_faults(folder)
    finally:
        patch.undo()


def try_faults(folder: Path) -> Tried:
    stop = threading.Event()
    stage = Stage(f"bench-{time.monotonic_ns()}", folder, label="bench", toxiproxy="embedded", seed=1, say=print)
    with stage:
        system = stage.deploy(target(), Process(), env={}, on_entry=lambda _: None)
        undo_owners()
        stage.watch([Taps(), Replicas(), Health()])
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
            for fault in (*FAULTS, *TWINS)
        ]
        for injection in injections:
            injection.prepare()
        for injection in injections:
            injection.join()
        until = time.monotonic() + 10  # what was killed comes up again
        while not all(replica.ready() for replica in system.replicas()) and time.monotonic() < until:
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
        [injection.error for injection in injections if injection.error],
    )


@pytest.mark.live
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_it_bites_and_the_service_is_back_when_it_is_undone(tried: Tried, fault: ServiceFault) -> None:
    assert not tried.errors
    trace = fault.trace(tried.history)
    print(trace.because)
    assert trace.bit, trace.because
    for replica in tried.history.topology.select_replicas(str(fault.on)):
        assert tried.recovered[replica], replica
        assert set(tried.recovered[replica]) == {200}, replica


@pytest.mark.live
@pytest.mark.parametrize("fault", TWINS, ids=lambda fault: fault.id)
def test_a_twin_that_was_never_put_in_is_found_out(tried: Tried, fault: ServiceFault) -> None:
    trace = fault.trace(tried.history)
    print(trace.because)
    assert not trace.bit, trace.because


@pytest.mark.live
def test_a_kill_takes_effect_soon_after_its_planned_instant(tried: Tried) -> None:
    span = tried.history.fault("kill")
    assert span.injected is not None
    assert span.in_force is not None
    assert 0 <= span.injected - span.planned[0] < 0.5
    assert span.in_force - span.injected < 1.0
