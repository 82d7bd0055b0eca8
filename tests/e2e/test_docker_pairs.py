"""Whole runs in containers: the verdicts that processes give, faults proven to bite, and nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docker_engine import base, left, none_within
from tests.e2e.conftest import HERE, TINY, Command, document
from tests.requires import requires

pytestmark = [requires("docker"), pytest.mark.live]

SHIPPED = HERE.parent.parent / "experiments"
GONE = 15.0
"""Seconds after which nothing of a run may be left in the engine, whatever ended it."""


@pytest.fixture(autouse=True)
def _base(monkeypatch: pytest.MonkeyPatch) -> None:
    if image := base():
        monkeypatch.setenv("CHAOSKIT_DOCKER_BASE", image)


def test_the_tiny_pair_comes_out_as_expected_and_leaves_nothing(chaoskit: Callable[..., Command]) -> None:
    command = chaoskit("run", str(TINY), "--deployer", "docker", "--json", "--quiet")
    command.wait_for(lambda: bool(command.journals()), 240.0)
    ids = command.run_ids()
    code, out, err = command.finish(120.0)
    assert code == 0, out + err
    verdicts = [(run["variant"], run["verdict"], run["undo_left"]) for run in document(out)["runs"]]
    assert verdicts == [("patient", "supported", []), ("hasty", "refuted", [])]
    none_within(1.0, ids)
    assert not command.journals()


@pytest.mark.parametrize(
    ("name", "toxiproxy", "proxy"),
    [
        ("payments-503-for-30-percent", "", "embedded"),
        ("payments-black-holed", "", "embedded"),
        pytest.param("payments-black-holed", "real", "toxiproxy", marks=requires("toxiproxy")),
        pytest.param("database-300ms-slower", "real", "toxiproxy", marks=requires("toxiproxy")),
    ],
)
def test_a_shipped_pair_comes_out_as_by_processes(
    chaoskit: Callable[..., Command], name: str, toxiproxy: str, proxy: str
) -> None:
    file, env = str(SHIPPED / f"{name}.yaml"), {"CHAOSKIT_TOXIPROXY": toxiproxy} if toxiproxy else {}
    command = chaoskit("run", file, "--deployer", "docker", "--json", "--quiet", cwd=SHIPPED.parent, **env)
    code, out, err = command.finish(400.0)
    assert code == 0, out + err
    runs = document(out)["runs"]
    assert [(run["verdict"], run["as_expected"]) for run in runs] == [("supported", True), ("refuted", True)]
    assert {run["proxy"].split()[0] for run in runs} == {proxy}


def test_a_fault_on_a_container_is_proven_to_bite_and_gone_by_its_undo(
    chaoskit: Callable[..., Command], tmp_path: Path
) -> None:
    """In a whole run; each kind by itself is in tests/faults/test_on_real_containers.py."""
    head = TINY.read_text().partition("blast_radius")[0]
    (tmp_path / "experiments").mkdir()
    (tmp_path / "targets").symlink_to(HERE / "targets")
    file = tmp_path / "experiments" / "it.yaml"
    file.write_text(
        f"deployer: docker\n{head}blast_radius: [back]\nsteady_state: [{{kind: error_rate, max: 10%}}]\n"
        f"faults: [{{kind: disconnect, on: back}}]\nhypotheses: [{{kind: recovery, within: 4s}}]\n"
    )
    code, out, err = chaoskit("run", str(file), "--json", "--quiet").finish(240.0)
    (run,) = document(out)["runs"]
    (trace,) = [gate for gate in run["gates"] if gate["gate"] == "trace"]
    assert trace["open"], trace["because"]
    assert run["undo_left"] == [] and code in (0, 1, 3), out + err
    assert run["load"]["page"]["recovery"]["failures"] < run["load"]["page"]["recovery"]["requests"], "it is gone"
    assert left(run["id"]) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_nothing(chaoskit: Callable[..., Command], number: int) -> None:
    command = chaoskit("run", str(TINY), "--deployer", "docker", "--variant", "patient", "--json", "--quiet")
    command.wait_for(lambda: command.in_phase("fault"), 240.0)
    ids = command.run_ids()
    os.killpg(command.process.pid, number)
    code, out, err = command.finish(30.0)
    assert code == 130, out + err
    none_within(1.0, ids)
    assert not command.journals()


@pytest.mark.parametrize("when", ["going up", "fault"])
def test_sigkill_of_the_harness_leaves_nothing(chaoskit: Callable[..., Command], when: str) -> None:
    command = chaoskit("run", str(TINY), "--deployer", "docker", "--variant", "patient", "--quiet")
    if when == "fault":
        command.wait_for(lambda: command.in_phase("fault"), 240.0)
    else:
        command.wait_for(lambda: any(left(run_id) for run_id in command.run_ids()), 240.0)
    ids = command.run_ids()
    os.killpg(command.process.pid, signal.SIGKILL)
    command.process.communicate()
    none_within(GONE, ids)
    time.sleep(3.0)  # what was asked for before the kill may come to be only now
    none_within(GONE, ids)


def test_without_an_engine_it_could_not_run_and_says_so(chaoskit: Callable[..., Command]) -> None:
    code, out, err = chaoskit("run", str(TINY), "--deployer", "docker", DOCKER_HOST="unix:///nowhere.sock").finish(60.0)
    assert code == 4, out + err
    assert "no Docker engine answers at unix:///nowhere.sock" in out + err
    assert "--deployer process" in out + err
