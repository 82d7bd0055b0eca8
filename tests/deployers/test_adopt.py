"""Containers of somebody else, adopted: proxies on their edges, faults on them, and in the end all as it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.errors import DeployError, UsageError
from chaoskit.recover import recover
from chaoskit.studies.standing import StandingTarget
from tests.deployers.standing import Project, get, project, within
from tests.docker_engine import base, docker
from tests.requires import requires

pytestmark = [requires("docker"), pytest.mark.live]


@pytest.fixture(autouse=True)
def _base(monkeypatch: pytest.MonkeyPatch) -> None:
    if image := base():
        monkeypatch.setenv("CHAOSKIT_DOCKER_BASE", image)


@pytest.fixture
def theirs() -> Iterator[Project]:
    """A project whose front reaches its back."""
    with project() as made:
        made.start("back", "back")
        made.start("front", "front", env="http://back:8000/")
        assert within(15, made.reaches)
        yield made


def standing(theirs: Project, folder: Path, back: str = "") -> StandingTarget:
    return StandingTarget(str(theirs.target(folder, back=back)), folder / "run", deployer="external")


def took(stands: StandingTarget) -> tuple[float, int]:
    began = time.monotonic()
    status, _ = get(stands.entry)
    return time.monotonic() - began, status


def test_a_projects_edges_go_through_our_proxies_and_in_the_end_all_is_as_it_was(
    theirs: Project, tmp_path: Path
) -> None:
    before = theirs.as_it_is()
    with standing(theirs, tmp_path) as stands:
        assert theirs.as_it_is()["back"][2] == {theirs.network: []}, "its alias has moved"
        assert took(stands)[1] == 200
        with stands.fault("latency", on="front->back", add="300ms"):
            seconds, status = took(stands)
            assert status == 200 and seconds > 0.3
        assert took(stands)[0] < 0.3, "it is gone by its undo"
        with stands.fault("partition", on="front->back"):
            assert took(stands)[1] == 502
        assert took(stands)[1] == 200
    assert theirs.as_it_is() == before and theirs.reaches()
    assert docker("ps", "-a", "--filter", f"label=chaoskit.run={stands._stage.run_id}", "-q") == ""


def test_faults_on_processes_bite_adopted_containers_and_are_undone(theirs: Project, tmp_path: Path) -> None:
    before = theirs.as_it_is()
    with standing(theirs, tmp_path) as stands:
        for kind in ("kill", "pause", "disconnect"):
            with stands.fault(kind, on="back"):
                assert took(stands)[1] == 502, kind
                assert stands.system.replica("back").alive() is (kind != "kill")
            assert within(10, lambda: took(stands)[1] == 200), kind
        with stands.fault("cpu", on="back", to="2%"):
            pids = stands.system.replica("back").pids()
            assert len(pids) > 1 and all("-cpu-" in Path(f"/proc/{pid}/cgroup").read_text() for pid in pids)
        assert not any("-cpu-" in Path(f"/proc/{pid}/cgroup").read_text() for pid in pids)
    assert theirs.as_it_is() == before and theirs.reaches()


def test_a_container_that_is_called_by_its_own_name_steps_aside(tmp_path: Path) -> None:
    with project() as made:
        name = made.start("back", name=f"{made.name}-store", labels=False)
        made.start("front", env=f"http://{name}:8000/")
        assert within(15, made.reaches)
        before = made.as_it_is()
        with standing(made, tmp_path, back=f", adopt: {{container: {name}}}") as stands:
            assert took(stands)[1] == 200
            assert name not in docker("ps", "--format", "{{.Names}}").split()
            with stands.fault("latency", on="front->back", add="300ms"):
                assert took(stands)[0] > 0.3
        assert made.as_it_is() == before and made.reaches()


@requires("toxiproxy")
def test_a_real_toxiproxy_serves_the_toxics_among_them(
    theirs: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_TOXIPROXY", "real")
    before = theirs.as_it_is()
    with standing(theirs, tmp_path) as stands:
        (edge,) = (edge for edge in stands.target.topology().edges if edge.name == "front->back")
        assert "embedded" not in stands.system.proxy(edge).served_by
        with stands.fault("latency", on="front->back", add="300ms"):
            seconds, status = took(stands)
            assert status == 200 and seconds > 0.3
        assert took(stands)[0] < 0.3
        with stands.fault("partition", on="front->back"):
            assert took(stands)[1] == 502
        assert took(stands)[1] == 200
    assert theirs.as_it_is() == before and theirs.reaches()


WORKER = '  worker: {port: 8000, health: /ready, needs: {BACK: "http://{back}/"}}\n'


def test_of_several_callers_a_fault_hits_the_one_that_it_names(theirs: Project, tmp_path: Path) -> None:
    for name in ("worker", "stranger"):
        theirs.start(name, name, env="http://back:8000/", labels=name == "worker")
    assert within(15, lambda: theirs.reaches("worker") and theirs.reaches("stranger"))
    before = theirs.as_it_is()

    def timed(service: str) -> float:
        began = time.monotonic()
        status, _ = get(theirs.at(service))
        return time.monotonic() - began if status == 200 else float("inf")

    with StandingTarget(str(theirs.target(tmp_path, more=WORKER)), tmp_path / "run", deployer="external") as stands:
        with stands.fault("latency", on="worker->back", add="400ms"):
            assert timed("worker") > 0.4
            assert timed("front") < 0.4 and timed("stranger") < 0.4
        with stands.fault("partition", on="front->back"):
            assert timed("front") == float("inf")
            assert timed("worker") < 0.4 and timed("stranger") < 0.4
        assert timed("front") < 0.4

        network, worker = theirs.network, theirs.containers["worker"]
        was = address_in(network, worker)
        docker("network", "disconnect", network, worker)
        theirs.start("filler", "filler", labels=False)  # takes the address that is free now
        docker("network", "connect", "--alias", "worker", network, worker)
        assert address_in(network, worker) != was, "or this shows nothing"
        with stands.fault("latency", on="worker->back", add="400ms"):
            assert within(5, lambda: timed("worker") > 0.4), "a caller with a new address is found again"
            assert timed("front") < 0.4
    for changed_here in ("filler", "worker"):
        theirs.containers.pop(changed_here)
    before.pop("worker")
    assert theirs.as_it_is() == before and theirs.reaches()


def test_of_replicas_that_share_a_name_one_is_broken_alone(tmp_path: Path) -> None:
    with project() as made:
        for number in (1, 2):
            made.start("back", "back", number=number)
            made.containers[f"back.{number}"] = made.containers.pop("back")
        made.start("front", "front", env="http://back:8000/")
        assert within(15, made.reaches)
        before = made.as_it_is()

        def times() -> list[float]:
            found = []
            for _ in range(20):
                began = time.monotonic()
                assert get(made.at("front"))[0] == 200
                found.append(time.monotonic() - began)
            return found

        file = made.target(tmp_path, back=", replicas: 2", which=":all")
        with StandingTarget(str(file), tmp_path / "run", deployer="external") as stands:
            assert max(times()) < 0.3
            with stands.fault("latency", on="front->back.2", add="300ms"):
                taken = times()
                assert min(taken) < 0.3 < max(taken), "the one that is slow is found by the same name"
            with stands.fault("latency", on="front->back", add="300ms"):
                assert min(times()) > 0.3
        assert made.as_it_is() == before and made.reaches()


def address_in(network: str, container: str) -> str:
    (told,) = json.loads(docker("inspect", container))
    return str(told["NetworkSettings"]["Networks"][network]["IPAddress"])


def test_what_is_not_there_is_told_and_nothing_is_touched(theirs: Project, tmp_path: Path) -> None:
    before = theirs.as_it_is()
    with pytest.raises(DeployError, match="there is no compose project nobodys") as caught:  # noqa: SIM117 - the inner one raises
        with StandingTarget(str(theirs.target(tmp_path, "nobodys")), tmp_path / "run", deployer="external"):
            pass
    assert theirs.name in caught.value.hint and caught.value.exit_code == 4
    theirs.start("second", "back")
    with pytest.raises(DeployError, match="the name back is shared by") as caught:  # noqa: SIM117 - the same
        with standing(theirs, tmp_path):
            pass
    del theirs.containers["second"]
    assert theirs.as_it_is() == before


EXPERIMENT = """
title: Pages come although the back is slow
target: theirs
deployer: external
load: {rate: 20/s, requests: [{name: page, path: /, timeout: 2s}]}
phases: {warmup: 500ms, baseline: 2s, fault: 20s, recovery: 1s}
blast_radius: [BLAST]
faults: [{kind: KIND, on: BLAST MORE}]
"""


def killed_in_the_fault(theirs: Project, folder: Path, kind: str, blast: str, more: str, *, guardian: bool) -> str:
    """Start a run, SIGKILL its harness (and guardian) while its fault is in; returns the run's id."""
    import signal
    import subprocess
    import sys

    theirs.target(folder)
    text = EXPERIMENT.replace("KIND", kind).replace("BLAST", blast).replace("MORE", more)
    (folder / "it.yaml").write_text(text)
    harness = subprocess.Popen([sys.executable, "-m", "chaoskit", "run", "it.yaml", "-q"], cwd=folder,
                               env={**os.environ, "PYTHONPATH": str(Path.cwd())}, start_new_session=True)  # fmt: skip
    try:
        histories = folder / "reports"
        seen = within(60, lambda: any('"injected"' in one.read_text() for one in histories.glob("*/*/history.jsonl")))
        assert seen and harness.poll() is None
    except BaseException:
        harness.send_signal(signal.SIGINT)
        harness.wait(30)
        raise
    (journal,) = (Path(os.environ["CHAOSKIT_STATE"]) / "runs").glob("*.journal")
    if guardian:
        lines = [json.loads(line) for line in journal.read_text().splitlines() if line.strip()]
        (pid,) = [line["guardian"][0] for line in lines if line.get("type") == "guardian"]
        os.kill(int(pid), signal.SIGSTOP)  # so that it does nothing before it is killed too
        harness.kill()
        os.kill(int(pid), signal.SIGKILL)
    else:
        harness.kill()
    harness.wait()
    return journal.stem


def as_it_was(theirs: Project, before: object, run: str) -> bool:
    return theirs.as_it_is() == before and not docker("ps", "-aq", "--filter", f"label=chaoskit.run={run}")


@pytest.mark.parametrize(
    ("kind", "blast", "more"), [("latency", "front->back", ", add: 200ms"), ("kill", "back", ""), ("pause", "back", "")]
)
def test_after_sigkill_of_the_harness_the_guardian_sets_all_back(
    theirs: Project, tmp_path: Path, state_folder: Path, kind: str, blast: str, more: str
) -> None:
    before = theirs.as_it_is()
    run = killed_in_the_fault(theirs, tmp_path, kind, blast, more, guardian=False)
    assert within(15, lambda: as_it_was(theirs, before, run)), theirs.as_it_is()
    assert within(10, theirs.reaches)


def test_after_sigkill_of_both_recover_sets_all_back_and_again_changes_nothing(
    theirs: Project, tmp_path: Path, state_folder: Path
) -> None:
    before = theirs.as_it_is()
    run = killed_in_the_fault(theirs, tmp_path, "latency", "front->back", ", add: 200ms", guardian=True)
    assert theirs.as_it_is() != before
    assert recover(run).clean
    assert as_it_was(theirs, before, run) and within(10, theirs.reaches)
    with pytest.raises(UsageError):
        recover(run)
    assert as_it_was(theirs, before, run)


def test_a_name_that_the_blast_radius_does_not_hold_stays_where_it_is(theirs: Project, tmp_path: Path) -> None:
    from chaoskit import load, run
    from chaoskit.runner import Asked

    before = theirs.as_it_is()
    theirs.target(tmp_path)
    text = EXPERIMENT.replace("KIND", "pause").replace("BLAST", "back").replace("MORE", ", lasts: 2500ms")
    (tmp_path / "it.yaml").write_text(text.replace("fault: 20s", "fault: 3s"))
    names: list[object] = []

    def heard(seen: object) -> None:
        if getattr(seen, "kind", "") == "injected":
            names.append(theirs.as_it_is()["back"][2])

    done = run(load(tmp_path / "it.yaml"), Asked(store=tmp_path / "reports", listeners=(heard,)))
    assert names == [before["back"][2]]
    (trace,) = [gate for gate in done.gates if gate.gate == "trace"]
    assert trace.open, trace.because
    assert theirs.as_it_is() == before
