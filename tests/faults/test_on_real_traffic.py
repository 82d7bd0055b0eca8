"""Every fault on an edge, on real traffic through real proxies: it bites, says so, and is gone when it is undone; and
its twin, which was said to be in and was not, is found out."""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import ClassVar

import pytest

from chaoskit.faults.bytes import Corrupt, Limit, Slicer, SlowClose
from chaoskit.faults.edge import EdgeFault
from chaoskit.faults.http import HttpDelay, HttpError, Truncate
from chaoskit.faults.network import Bandwidth, Jitter, Latency
from chaoskit.faults.outage import Blackhole, Flap, Partition, Reset
from chaoskit.guardian_client import Guardian
from chaoskit.interfaces import System
from chaoskit.proxy.mesh import Mesh
from chaoskit.testing import topology_of
from tests.faults.bench import MeshSystem, Tried, callees, try_faults
from tests.requires import requires

FAULTS: tuple[EdgeFault, ...] = (
    Latency(id="latency", on="web->latency", add="80ms"),
    Latency(id="both", on="web->both", add="30ms", way="both"),
    Latency(id="too_long", on="web->too_long", add="2s"),
    Jitter(id="jitter", on="web->jitter", by="200ms"),
    Bandwidth(id="bandwidth", on="web->bandwidth", rate="15KB/s"),
    Slicer(id="slicer", on="web->slicer", size="200B", pause="13ms"),
    Slicer(id="pieces", on="web->pieces", size="200B"),
    SlowClose(id="slow_close", on="web->slow_close", delay="100ms"),
    Limit(id="limit", on="web->limit", size="3KB"),
    Corrupt(id="corrupt", on="web->corrupt", rate="1%"),
    Reset(id="reset", on="web->reset"),
    Reset(id="reset_late", on="web->reset_late", after="50ms"),
    Reset(id="reset_answers", on="web->reset_answers", way="answers"),
    Blackhole(id="blackhole", on="web->blackhole"),
    Partition(id="partition", on="web->partition"),
    Partition(id="dropped", on="web->dropped", how="dropped"),
    Partition(id="answers_dropped", on="web->answers_dropped", how="dropped", way="answers"),
    Flap(id="flap", on="web->flap", down="300ms", up="300ms"),
    HttpError(id="http_error", on="web->http_error", status=503, share="30%"),
    HttpDelay(id="http_delay", on="web->http_delay", delay="120ms"),
    Truncate(id="truncate", on="web->truncate", after="100B", share="50%"),
)


def twin(fault: EdgeFault) -> EdgeFault:
    """The same fault, which does nothing when it is injected."""

    class Twin(type(fault)):  # type: ignore[misc]
        kind: ClassVar[str] = f"{fault.kind}_twin"

        def inject(self, system: System) -> None:
            pass

    return Twin.model_validate(
        {
            **{name: getattr(fault, name) for name in type(fault).model_fields},
            "id": f"{fault.id}-twin",
            "on": f"{fault.on}-twin",
        }
    )


TWINS = tuple(twin(fault) for fault in FAULTS)


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=requires("toxiproxy"))])
def tried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Tried]:
    folder: Path = tmp_path_factory.mktemp("faults")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("CHAOSKIT_STATE", str(folder / "state"))
    request.addfinalizer(monkeypatch.undo)
    return request.param, try_faults([*FAULTS, *TWINS], request.param, folder)


@pytest.mark.live
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_it_bites_and_is_gone_when_it_is_undone(tried: tuple[str, Tried], fault: EdgeFault) -> None:
    _, came = tried
    assert fault.id not in came.errors, came.errors
    trace = fault.trace(came.history)
    print(trace.because)
    assert trace.bit, trace.because
    after = came.recovered[str(fault.on)]
    assert after
    assert set(after) == {200}, f"after the undo: {after}"


@pytest.mark.live
@pytest.mark.parametrize("fault", TWINS, ids=lambda fault: fault.id)
def test_a_twin_that_was_never_put_in_is_found_out(tried: tuple[str, Tried], fault: EdgeFault) -> None:
    trace = fault.trace(tried[1].history)
    print(trace.because)
    assert not trace.bit, trace.because


def answers(folder: Path) -> list[int]:
    """Statuses of 40 calls on one connection, 30% of which a fault answers."""
    topology = topology_of("load->web")
    [edge] = topology.edges
    fault = HttpError(id="http_error", on=edge.name, status=503, share="30%")
    with Guardian(f"seeds-{time.monotonic_ns()}") as guardian, callees() as callee:
        mesh = Mesh(guardian, "embedded", 7, guardian.will_undo, guardian.undone)
        mesh.start()
        connection = http.client.HTTPConnection(*mesh.open(edge, callee), timeout=5)
        fault.inject(MeshSystem(topology, folder, mesh))
        found = []
        for _ in range(40):
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            found.append(response.status)
        connection.close()
        mesh.close()
    return found


@pytest.mark.live
def test_two_runs_of_one_seed_answer_the_same_calls(tmp_path: Path) -> None:
    first, second = answers(tmp_path / "first"), answers(tmp_path / "second")
    assert first == second
    assert 3 <= first.count(503) <= 22
