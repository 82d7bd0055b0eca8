"""Deployer `process`: every service of the target as a process of this machine, on a free port of loopback."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import msgspec
from pydantic import PrivateAttr

from chaoskit.deployers.external import ExternalReplica, address_of, pointed
from chaoskit.deployers.ports import Reserved, reserve
from chaoskit.deployers.readiness import ask_http, ask_tcp, wait_until
from chaoskit.deployers.replica import ProcessReplica
from chaoskit.deployers.system import Standing
from chaoskit.errors import DeployError, UndoError
from chaoskit.interfaces import Address, Child, Deployer, LaunchSpec, ReplicaControl, Scene, System, UndoOwner
from chaoskit.model.topology import Edge
from chaoskit.model.undo import Undo
from chaoskit.registry import undo_owner
from chaoskit.target import ServiceSpec, Target

__all__ = ["DataFolder", "Process"]

_TAIL = 20
"""Lines of a log that an error shows."""
_PREPARE = 60.0
_ELSEWHERE = 5.0
"""Seconds for a service that runs already to answer."""
_SERVICES_STOP, _SERVERS_STOP = 20, 30


class DataFolder(UndoOwner):
    """Undo of the folder in which backing servers keep their data for one run."""

    kind = "deployer.folder"
    after_processes = True

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        try:
            shutil.rmtree(str(undo.args["folder"]))
        except FileNotFoundError:
            pass  # undone before, or never made
        except OSError as error:
            raise UndoError(f"{undo.args['folder']} cannot be removed: {error.strerror}") from error


@dataclass
class _Up:
    """What one deployment has put up so far."""

    target: Target
    scene: Scene
    data: Path = Path()
    addresses: dict[str, Address] = field(default_factory=dict)
    ports: dict[str, Reserved] = field(default_factory=dict)
    servers: dict[str, ProcessReplica] = field(default_factory=dict)
    services: dict[str, ProcessReplica] = field(default_factory=dict)
    elsewhere: dict[str, ExternalReplica] = field(default_factory=dict)
    preparing: list[Child] = field(default_factory=list)
    undos: list[Undo] = field(default_factory=list)
    given_up: threading.Event = field(default_factory=threading.Event)
    serving: dict[str, Future[None]] = field(default_factory=dict)
    """Real servers on their way up; done when they answer, or cannot."""
    pool: ThreadPoolExecutor = field(default_factory=ThreadPoolExecutor)

    def spec(self, replica: str) -> ServiceSpec:
        return self.target.services[replica.partition(".")[0]]

    def log(self, replica: str) -> str:
        return str((self.scene.folder / "logs" / f"{replica}.log").absolute())

    def replica(self, name: str) -> ProcessReplica | ExternalReplica:
        return self.servers.get(name) or self.services.get(name) or self.elsewhere[name]


class Process(Deployer):
    """Services are processes of this machine: no root, no container.

    Each replica gets a free port of loopback (`{host}` and `{port}` in `run` and `env`) and starts in the folder that
    holds `targets/`, with this environment, the interpreter's own folder first on PATH, and what its `needs` come to:
    the addresses of proxies. Real servers (`provides`) come first, and each service when those that it needs answer;
    one that exits because another service is not ready yet is started once more when it is. Output goes to
    `logs/<replica>.log` in the run's folder. A service with a `url` runs already, and is left as it is: who calls
    others is pointed at their proxies by hand (`proxies` in the target file gives those a fixed port).
    """

    kind = "process"
    can: ClassVar[frozenset[str]] = frozenset({"kill", "limit", "pause"})
    as_processes: ClassVar[bool] = True

    _up: _Up | None = PrivateAttr(default=None)

    def prepare(self, target: Target, scene: Scene) -> None:
        """Real servers need nothing of ours: they go up while the proxy does."""
        for name, spec in target.services.items():
            if not (spec.run or spec.provides or spec.url):
                raise DeployError(
                    f"{name} has no `run`, `provides` or `url`", hint="--deployer docker starts images and builds"
                )
        self._up = up = _Up(target, scene)
        for name in target.topology().replica_names():
            spec = up.spec(name)
            if spec.url:
                up.addresses[name] = address_of(name, spec, scene.allowed_hosts)
                up.elsewhere[name] = ExternalReplica(name, up.addresses[name], spec)
            else:
                up.ports[name] = reserve()
                up.addresses[name] = up.ports[name].address
        servers = [name for name in up.ports if up.spec(name).provides]
        if servers:
            up.data = _data_folder(up)
            up.pool = ThreadPoolExecutor(max_workers=len(servers))
            up.serving = {name: up.pool.submit(_serve, up, name) for name in servers}

    def deploy(self, target: Target, scene: Scene) -> System:
        """Edges first, then everything at once: a service waits for the real servers that it needs, not for others."""
        if self._up is None:
            self.prepare(target, scene)
        up = self._up
        assert up is not None, "prepare has made it"
        topology = target.topology()
        listens = {edge: scene.open_edge(edge, up.addresses[edge.callee]) for edge in topology.edges}
        for edge, listen in listens.items():
            if edge.caller in up.elsewhere:
                scene.say(pointed(edge, listen, up.addresses[edge.callee]))
        for name in up.ports.keys() - up.serving.keys():
            up.services[name] = _service(up, name, listens)
        callees = {name: [edge.callee for edge in topology.edges if edge.caller == name] for name in up.services}

        def put_up(name: str) -> None:
            if name in up.serving:
                _served(up, name)
            elif name in up.services:
                _bring_up(up, name, callees[name])
            else:
                _found(up, name)

        _together(up, put_up, [*up.serving, *up.services, *up.elsewhere])
        replicas: dict[str, ReplicaControl] = {name: up.replica(name) for name in topology.replica_names()}
        return Standing(target, scene, replicas)

    def stop(self) -> None:
        """Services, then the servers they use, then what those kept on disk."""
        up, self._up = self._up, None
        if up is None:
            return
        up.given_up.set()
        up.pool.shutdown()
        for port in up.ports.values():
            port.release()
        for group in (up.preparing, list(up.services.values()), list(up.servers.values())):
            with ThreadPoolExecutor(max_workers=len(group) or 1) as pool:
                list(pool.map(lambda each: each.stop(), group))
        for undo in reversed(up.undos):
            owner = undo_owner(undo.owner)
            assert owner is not None, "it was found when it was named"
            try:
                owner.apply_undo(undo, None)
            except UndoError as error:  # a server is still at it: its end, which is the guardian's, comes first
                up.scene.say(f"left to the guardian: {error}")
            else:
                up.scene.undone(undo.id)


# ------------------------------------------------------------------------------------------------------ servers


def _serve(up: _Up, name: str) -> None:
    """Start one real server and wait until it answers in its own protocol."""
    spec, address = up.spec(name), up.addresses[name]
    backing = up.scene.backing(spec.provides)
    folder = up.data / name
    folder.mkdir(mode=0o711)
    databases = sorted({found for other in up.target.services.values() for found in other.databases_of(name)})
    plan = backing.plan(name, address, folder, databases=databases)
    for undo in plan.undo:
        _will_undo(up, undo)
    for step in plan.prepare:
        _carry_out(up, step)
    metrics = {
        replica: f"http://{where}{up.spec(replica).metrics}"
        for replica, where in up.addresses.items()
        if up.spec(replica).metrics
    }
    settings = {**spec.env, **up.scene.env.get(name, {})}
    backing.introduce(folder, metrics, settings, root=up.target.workdir)
    launch = msgspec.structs.replace(
        plan.server, env={**plan.server.env, **settings}, log=up.log(name), stop_order=_SERVERS_STOP
    )

    def ask(where: Address) -> str:
        return "" if backing.ready(where) else f"no answer from {spec.provides} at {where}"

    server = up.servers[name] = ProcessReplica(launch, up.ports[name], up.scene.launcher, ask)
    server.start()
    _await(up, server)
    backing.after_start(address, databases)


def _served(up: _Up, name: str) -> None:
    """Wait for a real server. Raises what kept it from going up."""
    while not (coming := up.serving[name]).done():
        if up.given_up.wait(0.01):
            return
    coming.result()


def _data_folder(up: _Up) -> Path:
    """A folder of this run alone, on a disk (`/tmp` may be memory). Not below the reports: as root, servers run as
    `nobody`, who must get there."""
    own = os.environ.get("TMPDIR")
    places = [Path(place) for place in (own, "/var/tmp", tempfile.gettempdir()) if place and Path(place).is_dir()]  # noqa: S108 - the run's id is not guessable
    open_to_all = (place for place in places if all(p.stat().st_mode & 0o001 for p in (place, *place.parents)))
    place = next(open_to_all, places[0]) if os.geteuid() == 0 else places[0]
    folder = place / f"chaoskit-{up.scene.run_id}"
    undo = Undo(id=DataFolder.kind, owner=DataFolder.kind, args={"folder": str(folder)}, says=f"rm -rf {folder}")
    _will_undo(up, undo)
    folder.mkdir(mode=0o711)
    return folder


def _will_undo(up: _Up, undo: Undo) -> None:
    up.scene.will_undo(undo)
    up.undos.append(undo)


def _carry_out(up: _Up, step: LaunchSpec) -> None:
    """Run one step of preparing to its end. Raises DeployError with its log where it fails."""
    child = up.scene.launcher.launch(step)
    up.preparing.append(child)
    until = time.monotonic() + _PREPARE
    while (status := child.wait(0.05)) is None:
        if up.given_up.is_set() or time.monotonic() > until:
            child.stop()
            raise DeployError(f"{step.name} took longer than {_PREPARE:g} s", detail=_tail(step.log))
    if status != 0:
        raise DeployError(f"{step.name} ended with {_status(status)}", detail=_tail(step.log))


# ----------------------------------------------------------------------------------------------------- services


def _service(up: _Up, name: str, listens: Mapping[Edge, Address]) -> ProcessReplica:
    spec, address = up.spec(name), up.addresses[name]
    service = name.partition(".")[0]

    def placed(text: str) -> str:
        return text.replace("{host}", address.host).replace("{port}", str(address.port))

    try:
        argv = tuple(placed(word) for word in shlex.split(spec.run))
    except ValueError as error:
        raise DeployError(f"run of {service} is not a command line: {error}", detail=spec.run) from error
    needs = up.target.environment(name, lambda edge: str(listens[edge]))
    changed = {**up.scene.env.get(service, {}), **up.scene.env.get(name, {})}
    env = {**os.environ, **{key: placed(value) for key, value in spec.env.items()}, **needs, **changed}
    interpreter = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join(filter(None, [interpreter, env.get("PATH", os.defpath)]))
    launch = LaunchSpec(
        name=name,
        argv=argv,
        env=env,
        cwd=str(up.target.workdir),
        log=up.log(name),
        stop_signal=spec.stop_signal,
        stop_grace=spec.stop_within,
        stop_order=_SERVICES_STOP,
    )

    def ask(where: Address) -> str:
        return ask_http(where, spec.health.ready) if spec.health.ready else ask_tcp(where)

    return ProcessReplica(launch, up.ports[name], up.scene.launcher, ask)


def _bring_up(up: _Up, name: str, callees: Iterable[str]) -> None:
    """Start a service when the real servers that it needs answer, and wait until it is ready."""
    service = up.services[name]
    for callee in callees:
        if callee in up.serving:
            _served(up, callee)
    if up.given_up.is_set():
        return
    service.start()
    for server in up.serving:  # its time to get ready begins when all that it may depend on can be there
        _served(up, server)
    waiting_for = [callee for callee in callees if not up.replica(callee).ready()]
    try:
        _await(up, service)
    except DeployError:
        if service.alive() or up.given_up.is_set() or not waiting_for:
            raise
    else:
        return
    for callee in waiting_for:
        _await(up, up.replica(callee))
    up.scene.say(f"{name} exited while {waiting_for[0]} was not ready: starting it again")
    service.start()
    _await(up, service)


def _await(up: _Up, replica: ProcessReplica | ExternalReplica, within: float | None = None) -> None:
    """Until it is ready. Raises DeployError where it exits, is too late, or the deployment is given up."""
    patience = up.spec(replica.name).ready_within if within is None else within

    def ask() -> str:
        exited = isinstance(replica, ProcessReplica) and replica.status() is not None
        return "" if exited else replica.asked()

    said = wait_until(ask, patience, clock=time.monotonic, sleep=up.given_up.wait)
    status = replica.status() if isinstance(replica, ProcessReplica) else None
    if isinstance(replica, ProcessReplica) and status is not None:
        raise DeployError(
            f"{replica.name} exited with {_status(status)} before it was ready",
            detail=_tail(replica.spec.log),
            hint=f"its command is: {shlex.join(replica.spec.argv)}",
        )
    if said:
        raise DeployError(
            f"{replica.name} was not ready within {patience:g} s: {said}",
            detail=_tail(up.log(replica.name)),
            hint="`ready_within` in target.yaml gives it more time",
        )


def _found(up: _Up, name: str) -> None:
    _await(up, up.elsewhere[name], _ELSEWHERE)


# -------------------------------------------------------------------------------------------------------- words


def _status(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {-status}"


def _tail(log: str) -> str:
    """The last lines of a log; empty where there is none."""
    path = Path(log)
    if not log or not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-_TAIL:])


def _together(up: _Up, job: Callable[[str], None], names: Iterable[str]) -> None:
    """Do a job for every name at once. Raises the first error; the other jobs are given up then."""
    errors: list[BaseException] = []

    def do(name: str) -> None:
        try:
            job(name)
        except BaseException as error:
            errors.append(error)
            up.given_up.set()
            raise

    todo = list(names)
    with ThreadPoolExecutor(max_workers=len(todo) or 1) as pool:
        try:
            pending = {pool.submit(do, name) for name in todo}
            while pending and not errors:  # in short waits, so that an interrupt gets through
                _, pending = wait(pending, timeout=0.1, return_when=FIRST_EXCEPTION)
        except BaseException:
            up.given_up.set()  # interrupted: the jobs must not outlive the wait
            raise
    if errors:
        raise errors[0]
