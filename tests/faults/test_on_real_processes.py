"""Every fault on processes, on real ones under calls: it bites, says so, and is gone when it is undone; and its twin,
which was said to be in and was not, is found out."""

from __future__ import annotations

import pytest

from chaoskit.faults.loop import CrashLoop, Monkey, Restart
from chaoskit.faults.process import Kill, Pause, Scale
from chaoskit.faults.service import ServiceFault
from chaoskit.model.history import Phase
from tests.faults.process_bench import Tried, bites_and_is_gone, found_out, tried_in, twin

FAULTS: tuple[ServiceFault, ...] = (
    Kill(id="kill", on="kill"),
    Kill(id="term", on="term.1", signal="SIGTERM"),
    Pause(id="pause", on="pause"),
    Restart(id="restart", on="restart", after="300ms"),
    CrashLoop(id="crash_loop", on="crash-loop", up="400ms", down="200ms"),
    Monkey(id="monkey", on="monkey", mean_between="600ms", down="200ms", seed=1),
    Scale(id="scale", on="scale", to=1),
    Scale(id="scale_up", on="scale-up", before=1, to=2),
)
TWINS = tuple(twin(fault) for fault in FAULTS)


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Tried:
    return tried_in([*FAULTS, *TWINS], tmp_path_factory.mktemp("services"))


@pytest.mark.live
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_it_bites_and_the_service_is_back_when_it_is_undone(tried: Tried, fault: ServiceFault) -> None:
    bites_and_is_gone(tried, fault)


@pytest.mark.live
@pytest.mark.parametrize("fault", TWINS, ids=lambda fault: fault.id)
def test_a_twin_that_was_never_put_in_is_found_out(tried: Tried, fault: ServiceFault) -> None:
    found_out(tried, fault)


@pytest.mark.live
def test_after_scaling_up_all_replicas_serve_and_the_undo_stops_the_new_ones(tried: Tried) -> None:
    calls = ("scale-up.1", "scale-up.2")
    during = tried.history.during(Phase.FAULT)
    assert all(during.tap(f"web->{name}").calls for name in calls)
    assert 200 not in tried.recovered["scale-up.2"]


@pytest.mark.live
def test_a_kill_takes_effect_soon_after_its_planned_instant(tried: Tried) -> None:
    span = tried.history.fault("kill")
    assert span.injected is not None
    assert span.in_force is not None
    assert 0 <= span.injected - span.planned[0] < 0.5
    assert span.in_force - span.injected < 1.0
