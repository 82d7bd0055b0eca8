"""Deployer `process`: every service on its own port, started, watched, and taken down whole."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chaoskit.backing.postgres import Postgres
from chaoskit.backing.redis import Redis
from chaoskit.deployers.process import DataFolder, Process
from chaoskit.deployers.replica import Continue, StartAgain
from chaoskit.errors import DeployError
from chaoskit.interfaces import ReplicaControl, ServerPlan, System
from chaoskit.model.topology import Edge
from chaoskit.model.undo import Undo
from chaoskit.processes import RUN_MARK, marked, table
from tests.deployers.conftest import Stood, target


def told(replica: ReplicaControl) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://{replica.address}/", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 15
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def ours() -> set[int]:
    return marked(RUN_MARK, f"deployed-{os.getpid()}", table())


@pytest.fixture
def deployer() -> Process:
    return Process()


def test_services_get_ports_needs_environment_and_folder(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    shape = target(
        tmp_path,
        {
            "web": {
                "run": server,
                "replicas": 2,
                "needs": {"PAY": "http://{pay:all}/x", "FIRST": "{pay}"},
                "env": {"ME": "at {host}:{port}", "SIZE": 10},
                "health": "/ready",
            },
            "pay": {"run": server + " 'two words'", "replicas": 2},
        },
    )
    system = deployer.deploy(shape, stood.scene(env={"web": {"SIZE": "20"}, "web.2": {"ONLY": "2"}}))
    try:
        assert [replica.name for replica in system.replicas()] == ["web.1", "web.2", "pay.1", "pay.2"]
        assert len({replica.address for replica in system.replicas()}) == 4
        assert all(replica.ready() and replica.alive() for replica in system.replicas())
        pays = [str(system.replica(name).address) for name in ("pay.1", "pay.2")]
        seen = told(system.replica("web.2"))
        assert seen["env"]["PAY"] == f"http://{pays[0]}/x,http://{pays[1]}/x"
        assert seen["env"]["FIRST"] == pays[0]
        assert seen["env"]["ME"] == f"at {system.replica('web.2').address}"
        assert (seen["env"]["SIZE"], seen["env"]["ONLY"]) == ("20", "2")
        assert "ONLY" not in told(system.replica("web.1"))["env"]
        assert seen["env"]["HOME"] == os.environ["HOME"], "the environment is inherited"
        assert seen["env"]["PATH"].split(":")[0] == str(Path(sys.executable).parent)
        assert seen["cwd"] == str(tmp_path)
        assert told(system.replica("pay.1"))["argv"][-1] == "two words"
        assert set(stood.opened) == set(shape.topology().edges)
        assert stood.opened[Edge("load", "web.1", "http")] == system.replica("web.1").address
        assert (stood.folder / "logs" / "web.2.log").read_text() == "listening\n"
    finally:
        deployer.stop()
    assert not ours()
    deployer.stop()


def test_services_start_side_by_side(deployer: Process, stood: Stood, tmp_path: Path, server: str) -> None:
    services = {f"s{number}": {"run": server, "env": {"SLOW": "1"}, "health": "/"} for number in range(6)}
    begun = time.monotonic()
    deployer.deploy(target(tmp_path, services), stood.scene())
    assert time.monotonic() - begun < 5.0, "six times one second, one after the other, would be longer"
    deployer.stop()


def test_a_service_that_exits_until_its_need_is_ready_is_started_again(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    shape = target(
        tmp_path,
        {
            "web": {"run": server, "needs": {"MUST_REACH": "{slow}"}, "health": "/"},
            "slow": {"run": server, "env": {"SLOW": "1.5"}, "health": "/"},
        },
    )
    system = deployer.deploy(shape, stood.scene())
    assert system.replica("web").ready()
    assert stood.said == ["web exited while slow was not ready: starting it again"]
    deployer.stop()


def test_a_service_that_exits_at_once_shows_its_log(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    services = {"web": {"run": server}, "bad": {"run": "sh -c 'echo no luck today; exit 3'"}}
    with pytest.raises(DeployError, match="bad exited with status 3 before it was ready") as error:
        deployer.deploy(target(tmp_path, services), stood.scene())
    assert error.value.detail == "no luck today"
    deployer.stop()
    assert not ours(), "what was started already is taken down again"


def test_a_service_that_never_gets_ready_says_what_it_answered(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    services = {"web": {"run": server, "health": "/never", "ready_within": "700ms"}}
    with pytest.raises(DeployError, match=r"web was not ready within 0\.7 s: GET /never answered 503") as error:
        deployer.deploy(target(tmp_path, services), stood.scene())
    assert "listening" in error.value.detail
    deployer.stop()
    assert not ours()


def test_a_service_that_listens_nowhere_is_told(deployer: Process, stood: Stood, tmp_path: Path) -> None:
    services = {"web": {"run": "sleep 300", "ready_within": "300ms"}}
    with pytest.raises(DeployError, match=r"connecting to .*refused"):
        deployer.deploy(target(tmp_path, services), stood.scene())
    deployer.stop()
    assert not ours()


def test_a_port_that_is_taken_is_told_with_the_services_own_words(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fixed = server.replace("{port}", str(taken.getsockname()[1]))
        with pytest.raises(DeployError, match="exited with status 1") as error:
            deployer.deploy(target(tmp_path, {"web": {"run": fixed}}), stood.scene())
    assert "Address already in use" in error.value.detail
    deployer.stop()


@pytest.mark.parametrize(
    ("run", "said"),
    [("no-such-program {port}", "web cannot be started: .*no such program"), ("sh -c 'open", "not a command line")],
)
def test_a_command_that_is_none_is_told(deployer: Process, stood: Stood, tmp_path: Path, run: str, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        deployer.deploy(target(tmp_path, {"web": {"run": run}}), stood.scene())
    deployer.stop()


def test_a_service_that_is_an_image_needs_another_deployer(deployer: Process, stood: Stood, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="no `run`") as error:
        deployer.deploy(target(tmp_path, {"web": {"image": "nginx"}}), stood.scene())
    assert "docker" in error.value.hint
    deployer.stop()


def test_a_killed_replica_comes_back_on_its_port(deployer: Process, stood: Stood, tmp_path: Path, server: str) -> None:
    system = deployer.deploy(target(tmp_path, {"web": {"run": f"sh -c '{server} & wait'"}}), stood.scene())
    web = system.replica("web")
    wait_for(lambda: len(web.pids()) == 2)
    address, pids = web.address, web.pids()
    undo = web.undo_kill()
    web.signal(signal.SIGKILL)
    wait_for(lambda: not web.alive() and not web.ready())
    wait_for(lambda: not [pid for pid in pids if pid in table() and table()[pid].state != "Z"])
    assert web.pids() == []
    StartAgain.apply_undo(undo, system)
    wait_for(web.ready)
    assert web.address == address
    now = web.pids()
    StartAgain.apply_undo(undo, system)
    StartAgain.apply_undo(undo, None)
    assert web.pids() == now, "while it lives there is nothing to do"
    deployer.stop()
    assert not ours()


def test_a_paused_replica_is_alive_but_not_ready_until_it_goes_on(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    system: System = deployer.deploy(target(tmp_path, {"web": {"run": server, "health": "/"}}), stood.scene())
    web = system.replica("web")
    undo = web.undo_pause()
    for fresh_process in (False, True):
        web.signal(signal.SIGSTOP)
        wait_for(lambda: table()[web.pids()[0]].state == "T")
        assert web.alive()
        assert not web.ready()
        Continue.apply_undo(undo, None if fresh_process else system)
        wait_for(web.ready)
        Continue.apply_undo(undo, None)
    web.signal(signal.SIGSTOP)
    deployer.stop()
    assert not ours(), "a paused one is stopped too"
    Continue.apply_undo(undo, None)  # of a process that is gone: no error


def test_the_undo_of_a_pause_touches_no_other_process_of_that_pid() -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        os.kill(other.pid, signal.SIGSTOP)
        wait_for(lambda: table()[other.pid].state == "T")
        args = {"replica": "web", "processes": [[other.pid, "1", "a boot"]]}
        Continue.apply_undo(Undo(id="x", owner=Continue.kind, args=args), None)  # type: ignore[arg-type]  # JSON
        time.sleep(0.1)
        assert table()[other.pid].state == "T"
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(not (Postgres.found() and Redis.found()), reason="needs PostgreSQL and Redis")
def test_real_servers_are_ready_before_services_and_leave_nothing(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    shape = target(
        tmp_path,
        {
            "web": {
                "run": server,
                "needs": {"DB": "postgresql://{db}/shop", "CACHE": "redis://{cache}", "MUST_REACH": "{db} {cache}"},
            },
            "db": {"provides": "postgres"},
            "cache": {"provides": "redis"},
        },
    )
    system = deployer.deploy(shape, stood.scene())
    assert told(system.replica("web"))["env"]["DB"] == f"postgresql://{system.replica('db').address}/shop"
    assert stood.said == []
    (folder,) = [Path(str(u.args["folder"])) for u in stood.open_undos.values() if u.owner == DataFolder.kind]
    assert {path.name for path in folder.iterdir()} == {"db", "cache"}
    db = system.replica("db")
    db.signal(signal.SIGKILL)
    wait_for(lambda: not db.alive())
    db.start()
    wait_for(db.ready)
    deployer.stop()
    assert not ours()
    assert not folder.exists()
    assert stood.open_undos == {}


@pytest.mark.skipif(not (Postgres.found() and Redis.found()), reason="needs PostgreSQL and Redis")
def test_servers_that_were_on_their_way_up_when_it_was_given_up_are_gone(
    deployer: Process, stood: Stood, tmp_path: Path
) -> None:
    shape = target(tmp_path, {"db": {"provides": "postgres"}, "cache": {"provides": "redis"}})
    deployer.prepare(shape, stood.scene())  # and then the proxy could not start
    deployer.stop()
    assert not ours()
    assert stood.open_undos == {}


def test_a_server_that_cannot_start_is_what_the_error_is_about(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    class Broken(Redis):
        @classmethod
        def plan(cls, *given: object, **named: object) -> ServerPlan:
            raise DeployError("no disk for the cache")

    shape = target(
        tmp_path, {"web": {"run": server, "needs": {"CACHE": "redis://{cache}"}}, "cache": {"provides": "redis"}}
    )
    with pytest.raises(DeployError, match="no disk for the cache"):
        deployer.deploy(shape, msgspec.structs.replace(stood.scene(), backing=lambda kind: Broken))
    assert not [name for name in stood.said if "web" in name]
    deployer.stop()
    assert not ours()


def test_an_interrupt_while_waiting_is_not_held_up(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    services = {"web": {"run": server, "health": "/never", "ready_within": "60s"}}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it is ignored
    timer = threading.Timer(1.0, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        deployer.deploy(target(tmp_path, services), stood.scene())
    assert time.monotonic() - begun < 10
    timer.join()
    deployer.stop()
    assert not ours()


def test_ports_are_free_apart_and_outside_of_what_outgoing_connections_take() -> None:
    from chaoskit.deployers.ports import reserve

    held = [reserve() for _ in range(50)]
    try:
        assert len({port.address.port for port in held}) == 50
        assert all(port.address.port < 32768 for port in held)
        with pytest.raises(OSError, match="in use"):
            socket.create_server(held[0].address, reuse_port=False)
    finally:
        for port in held:
            port.release()
    socket.create_server(held[0].address).close()


def test_a_port_is_free_when_it_is_released_although_others_fork() -> None:
    """A child has its parent's sockets until it executes its program."""
    from chaoskit.deployers.ports import reserve

    held = reserve()
    ready, go_on = os.pipe()
    child = os.fork()
    if child == 0:  # a fork that takes its time to become another program
        os.read(ready, 1)
        os._exit(0)
    timer = threading.Timer(0.3, os.write, [go_on, b"x"])
    timer.start()
    try:
        held.release()
        with socket.create_server(held.address, reuse_port=False):
            pass
    finally:
        timer.join()
        os.waitpid(child, 0)
        os.close(ready)
        os.close(go_on)


@pytest.mark.skipif(not Postgres.found(), reason="needs PostgreSQL")
def test_a_stop_after_the_guardian_died_leaves_the_rest_to_recovery(
    deployer: Process, stood: Stood, tmp_path: Path, server: str
) -> None:
    deployer.deploy(target(tmp_path, {"web": {"run": server}, "db": {"provides": "postgres"}}), stood.scene())
    (folder,) = [Path(str(u.args["folder"])) for u in stood.open_undos.values() if u.owner == DataFolder.kind]
    os.kill(stood.guardian.pid, signal.SIGKILL)
    wait_for(lambda: not stood.guardian.alive())
    deployer.stop()
    stood.guardian.close()
    assert not ours()
    assert not folder.exists()
    assert stood.guardian.left == []
