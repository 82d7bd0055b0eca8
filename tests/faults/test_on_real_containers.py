"""Every fault on services, on containers under calls: it bites, says so, and is gone when it is undone; and a twin of
it, which was said to be in and was not, is found out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from chaoskit.deployers.docker import Docker
from chaoskit.faults.disconnect import Disconnect
from chaoskit.faults.disk import IoSlow
from chaoskit.faults.limits import find_group
from chaoskit.faults.loop import CrashLoop, Monkey, Restart
from chaoskit.faults.process import Kill, Pause, Scale
from chaoskit.faults.resource import Cpu, Descriptors, Memory
from chaoskit.faults.service import ServiceFault
from chaoskit.model.history import Phase
from tests.docker_engine import base
from tests.faults.process_bench import Tried, bites_and_is_gone, found_out, tried_in, twin
from tests.requires import requires

pytestmark = [requires("docker"), pytest.mark.live]

ON_PROCESSES: tuple[ServiceFault, ...] = (
    Kill(id="kill", on="proxy"),  # called as our own proxy was once
    Pause(id="pause", on="pause"),
    Disconnect(id="disconnect", on="disconnect"),
    Restart(id="restart", on="restart", after="300ms"),
    CrashLoop(id="crash_loop", on="crash-loop", up="800ms", down="200ms"),
    Monkey(id="monkey", on="monkey", mean_between="600ms", down="200ms", seed=1),
    Scale(id="scale", on="scale", to=1),
    Scale(id="scale_up", on="scale-up", before=1, to=2),
)
ON_RESOURCES: tuple[ServiceFault, ...] = (
    Cpu(id="cpu", on="cpu", to="2%", lasts="4s"),
    Memory(id="memory", on="mem", more="4MB", lasts="4s"),
    Descriptors(id="fds", on="fds", lasts="4s"),
    *((IoSlow(id="io_slow", on="disk", rate="400KB/s", lasts="4s"),) if find_group("blkio", os.getpid(), "x") else ()),
    Cpu(id="cpu_hog", on="cpu-hog", hog=8, at="5s"),  # last: beside it everything on two cores has busy neighbours
)
# Whoever was scaled up was arranged to be down.
TWINS = (
    *(twin(fault, on="idle") for fault in ON_PROCESSES if fault.id != "scale_up"),
    *(twin(fault, on="cpu-idle" if fault.id == "cpu" else "idle") for fault in ON_RESOURCES if fault.id != "cpu_hog"),
)


def tried(faults: Sequence[ServiceFault], folder: Path, seconds: float) -> Tried:
    kinds = {f"{fault.kind}_twin" for fault in faults}
    patch = pytest.MonkeyPatch()
    if image := base():
        patch.setenv("CHAOSKIT_DOCKER_BASE", image)
    try:
        return tried_in([*faults, *(one for one in TWINS if one.kind in kinds)], folder, Docker(), seconds)
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def on_processes(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return tried(ON_PROCESSES, tmp_path_factory.mktemp("processes"), 5.0)


@pytest.fixture(scope="module")
def on_resources(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return tried(ON_RESOURCES, tmp_path_factory.mktemp("resources"), 8.0)


def trial(request: pytest.FixtureRequest, fault: ServiceFault) -> Tried:
    found = request.getfixturevalue("on_resources" if "limit" in fault.needs else "on_processes")
    assert isinstance(found, Tried)
    return found


@pytest.mark.parametrize("fault", [*ON_PROCESSES, *ON_RESOURCES], ids=lambda fault: fault.id)
def test_it_bites_and_the_service_is_back_when_it_is_undone(
    request: pytest.FixtureRequest, fault: ServiceFault
) -> None:
    bites_and_is_gone(trial(request, fault), fault)


@pytest.mark.parametrize("fault", TWINS, ids=lambda fault: fault.id)
def test_a_twin_that_was_never_put_in_is_found_out(request: pytest.FixtureRequest, fault: ServiceFault) -> None:
    found_out(trial(request, fault), fault)


def test_after_scaling_up_all_replicas_serve_and_the_undo_stops_the_new_ones(on_processes: Tried) -> None:
    during = on_processes.history.during(Phase.FAULT)
    assert all(during.tap(f"web->{name}").calls for name in ("scale-up.1", "scale-up.2"))
    assert 200 not in on_processes.recovered["scale-up.2"]


def test_a_kill_takes_effect_soon_after_its_planned_instant(on_processes: Tried) -> None:
    """Several are killed at this instant, so that the bound is wide."""
    span = on_processes.history.fault("kill")
    assert span.injected is not None
    assert span.in_force is not None
    assert 0 <= span.injected - span.planned[0] < 0.5
    assert span.in_force - span.injected < 3.0
