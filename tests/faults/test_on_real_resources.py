"""Every fault on resources, on real processes under calls: it bites, says so, and is gone when it is undone; and its
twin, which was said to be in and was not, is found out."""

from __future__ import annotations

import pytest

from chaoskit.faults.disk import IoSlow
from chaoskit.faults.limits import our_group
from chaoskit.faults.resource import Cpu, Descriptors, Memory, ResourceFault
from chaoskit.faults.service import ServiceFault
from tests.faults.process_bench import Tried, bites_and_is_gone, found_out, tried_in, twin

BY_GROUP: tuple[ResourceFault, ...] = (
    Cpu(id="cpu", on="cpu-group", to="2%", by="cgroup"),
    Memory(id="mem", on="mem-group", more="4MB", by="cgroup"),
    IoSlow(id="disk", on="disk", rate="400KB/s"),
)
FAULTS: tuple[ServiceFault, ...] = (
    *(fault for fault in BY_GROUP if our_group(*fault.controllers)),
    Cpu(id="cpu_hog", on="cpu-hog", hog=8),
    Cpu(id="cpu_turns", on="cpu-turns", to="2%", by="signals"),
    Memory(id="mem_limit", on="mem-limit", more="4MB", by="limit"),
    Descriptors(id="fds", on="fds"),
)
# Beside a hog that is in, everything on two cores has busy neighbours: its twin is told apart in a written history.
TWINS = tuple(twin(fault) for fault in FAULTS if fault.id != "cpu_hog")


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
