"""Deployer `docker`: every service in a container of its own, in one network for the run, with the proxies among them.

    harness ─127.0.0.1:…─► [ proxy ] ─► gateway:8000 ─► chaoskit-proxy:10001 ─► orders:8000 ─► …

Every container, network and volume bears the run's label; one undo in the journal, written before the first of them,
sweeps by that label.
"""

from __future__ import annotations

import itertools
import shlex
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import PrivateAttr

from chaoskit.deployers.container import Again, ContainerReplica, Reconnect, Unpause
from chaoskit.deployers.container_server import DATA
from chaoskit.deployers.docker_engine import RUN_LABEL, ContainerSpec, Engine
from chaoskit.deployers.docker_images import build_folder, lab_image, target_image
from chaoskit.deployers.docker_place import ContainerPlace
from chaoskit.deployers.docker_servers import introduced, server_image
from chaoskit.deployers.docker_sweep import Sweep, sweep_undo, swept
from chaoskit.deployers.external import ExternalReplica, address_of
from chaoskit.deployers.readiness import ask_http, ask_tcp, wait_until
from chaoskit.deployers.system import Standing
from chaoskit.errors import CouldNotRun, DeployError
from chaoskit.interfaces import Address, Deployer, ProxyPlace, ReplicaControl, Scene, System
from chaoskit.model.topology import Edge
from chaoskit.model.undo import Undo
from chaoskit.target import ServiceSpec, Target

__all__ = ["Again", "Docker", "Reconnect", "Sweep", "Unpause"]

_PORT = 8000
"""Where a service listens inside its container, unless it says another one."""
_SERVER_PORTS = {"postgres": 5432, "redis": 6379, "nats": 4222, "prometheus": 9090}
_TAKEN = {
    "localhost": "every container is",
    ContainerPlace.host("embedded"): "our proxy is called so",
    ContainerPlace.host("real"): "a real Toxiproxy is called so",
}
"""Names in the run's network that are no service's."""
_SELDOM = 10
_STAYS = 0.1
"""Seconds that a connection must last before its service counts as listening."""


class Docker(Deployer):
    """Services are containers, from `image`, `build`, or an image made for the target's commands."""

    kind = "docker"
    can: ClassVar[frozenset[str]] = frozenset({"disconnect", "kill", "limit", "pause"})
    takes: ClassVar[frozenset[str]] = frozenset({"build", "image", "provides", "run", "url"})
    on_loopback: ClassVar[bool] = False

    _engine: Engine | None = PrivateAttr(default=None)
    _place: ContainerPlace | None = PrivateAttr(default=None)
    _scene: Scene | None = PrivateAttr(default=None)
    _undo: Undo | None = PrivateAttr(default=None)
    _giving_up: threading.Event = PrivateAttr(default_factory=threading.Event)
    _images: dict[str, str] = PrivateAttr(default_factory=dict)
    _replicas: list[ContainerReplica] = PrivateAttr(default_factory=list)
    _servers: dict[str, tuple[ContainerReplica, Future[None]]] = PrivateAttr(default_factory=dict)
    """Those that came up beside the proxies."""
    _pool: ThreadPoolExecutor | None = PrivateAttr(default=None)

    @classmethod
    def refuses(cls, target: Target) -> Sequence[str]:
        """Two of one name: the network would lead callers to either."""
        found, taken = [], dict(_TAKEN)
        for name in target.topology().replica_names():
            alias = _alias(name)
            if target.services[name.partition(".")[0]].url:
                continue
            if alias in taken:
                found.append(f"{name} would be called {alias} among the containers: {taken[alias]}")
            taken[alias] = f"{name} is called so"
        return found

    def prepare(self, target: Target, scene: Scene) -> ProxyPlace:
        """Images first (they stay, as a cache), then the run's network, with its undo written before it."""
        if refused := self.refuses(target):
            raise DeployError("; ".join(refused))
        self._scene = scene
        self._engine = engine = Engine()
        lab = lab_image(engine, scene.say)
        files = target_image(engine, target, lab, scene.say) if any(s.run for s in target.services.values()) else lab
        for name in target.services:
            self._images[name] = self._image(engine, target, name, lab, files, scene)
        network = f"chaoskit-{scene.run_id}"
        undo = sweep_undo(engine, scene.run_id, network)
        scene.will_undo(undo)
        self._undo = undo
        labels = {RUN_LABEL: scene.run_id}
        engine.make_network(network, labels)
        self._place = ContainerPlace(engine, lab, network, labels, scene)
        self._pool = ThreadPoolExecutor(thread_name_prefix="server")
        for name, spec in target.services.items():
            if spec.provides and not spec.needs:  # they call nobody: up they go, while the proxies do
                self._begin_server(target, scene, name, {})
        return self._place

    def _begin_server(self, target: Target, scene: Scene, name: str, listens: dict[Edge, Address]) -> None:
        assert self._pool is not None, "made before"
        replica = self._container(target, scene, name, listens)
        self._replicas.append(replica)
        self._servers[name] = replica, self._pool.submit(self._serve, target, scene, replica)

    @staticmethod
    def _image(engine: Engine, target: Target, name: str, lab: str, files: str, scene: Scene) -> str:
        spec = target.services[name]
        if spec.url:
            return ""
        if spec.build:
            folder = (target.file.parent if target.file else Path.cwd()) / spec.build
            return build_folder(engine, folder, name, scene.say)
        if spec.image:
            if not engine.has_image(spec.image):
                engine.pull(spec.image, scene.say)
            return spec.image
        if spec.provides:
            return server_image(engine, spec.provides, scene.backing(spec.provides), lab, scene.say)
        return files

    def deploy(self, target: Target, scene: Scene) -> System:
        """Edges first, then all services together, each when the real servers that it needs are up."""
        assert self._engine is not None and self._place is not None, "prepared before"
        topology = target.topology()
        standing: dict[str, ReplicaControl] = {}
        addresses: dict[str, Address] = {}
        for name in topology.replica_names():
            spec = target.services[name.partition(".")[0]]
            if spec.url:
                where = address_of(name, spec, scene.allowed_hosts)
                addresses[name] = where
                standing[name] = ExternalReplica(name, where, spec)
            else:
                addresses[name] = Address(_alias(name), _inside(spec))
        listens = {edge: scene.open_edge(edge, addresses[edge.callee]) for edge in topology.edges}
        for name, spec in target.services.items():
            if spec.provides and name not in self._servers:
                self._begin_server(target, scene, name, listens)
        jobs: list[Callable[[], object]] = [up.result for _, up in self._servers.values()]
        for name in topology.replica_names():
            if name in standing:
                continue
            if name in self._servers:
                standing[name] = self._servers[name][0]
                continue
            replica = self._container(target, scene, name, listens)
            standing[name] = replica
            self._replicas.append(replica)
            callees = [edge.callee for edge in topology.edges if edge.caller == name]
            jobs.append(partial(self._follow_servers, replica, callees))
        self._together(jobs)
        return Standing(target, scene, standing)

    def _follow_servers(self, replica: ContainerReplica, callees: Sequence[str]) -> None:
        replica.make()  # while they come up
        for callee in callees:
            if callee in self._servers:
                self._servers[callee][1].result()
        if not self._giving_up.is_set():
            self._bring_up(replica)

    def _container(self, target: Target, scene: Scene, name: str, listens: dict[Edge, Address]) -> ContainerReplica:
        assert self._engine is not None, "prepared before"
        service = name.partition(".")[0]
        spec = target.services[service]
        inside = _inside(spec)
        placed = {"host": "0.0.0.0", "port": str(inside)}  # noqa: S104 - inside its container
        command: tuple[str, ...] = ()
        files: dict[str, bytes] = {}
        changed = {**scene.env.get(service, {}), **scene.env.get(name, {})}
        if spec.provides:
            settings, backing = {**spec.env, **changed}, scene.backing(spec.provides)
            files = introduced(spec.provides, backing, _metrics(target), settings, root=target.workdir)
            command = ("python3", "-m", "chaoskit.deployers.container_server", spec.provides, str(inside))
        elif spec.run:
            command = tuple(_placed(word, placed) for word in shlex.split(spec.run))
        needs = target.environment(name, lambda edge: str(listens[edge]))
        own = {key: _placed(value, placed) for key, value in spec.env.items()}
        container = ContainerSpec(
            name=f"chaoskit-{scene.run_id}-{_alias(name)}",
            image=self._images[service],
            command=command,
            env={**own, **needs, **changed},
            alias=_alias(name),
            ports=(inside,),
            data=DATA if spec.provides else "",
            files=files,
        )

        def ask(where: Address) -> str:
            if spec.provides:
                return "" if scene.backing(spec.provides).ready(where) else f"no answer from {spec.provides}"
            return ask_http(where, spec.health.ready) if spec.health.ready else ask_tcp(where, stays=_STAYS)

        log = scene.folder / "logs" / f"{name}.log"
        network = f"chaoskit-{scene.run_id}"
        return ContainerReplica(name, container, self._engine, network, {RUN_LABEL: scene.run_id}, ask, log, spec)

    def _serve(self, target: Target, scene: Scene, replica: ContainerReplica) -> None:
        if not self._bring_up(replica):
            return
        spec = replica.service
        databases = sorted({name for other in target.services.values() for name in other.databases_of(replica.name)})
        scene.backing(spec.provides).after_start(replica.where, databases)

    def _bring_up(self, replica: ContainerReplica) -> bool:
        """Start a container and wait until its service is ready, or (False) another one has failed."""
        replica.start()
        patience = replica.service.ready_within
        exited: list[int | None] = []
        asked = itertools.count(1)

        def ask() -> str:
            # Its log tells of its end. The engine is asked seldom: a question costs it as much as an answer costs us.
            if not replica.alive() or next(asked) % _SELDOM == 0:
                running, status = replica.look()
                if not running:
                    exited.append(status)
                    return ""
            return replica.asked()

        said = wait_until(ask, patience, clock=time.monotonic, sleep=self._giving_up.wait)
        if exited:
            raise DeployError(
                f"{replica.name} exited with status {exited[0]} before it was ready", detail=replica.tail()
            )
        if said and self._giving_up.is_set():
            return False  # why, is said by the one that failed
        if said:
            raise DeployError(f"{replica.name} was not ready within {patience:g} s: {said}", detail=replica.tail())
        return True

    def _together(self, jobs: Sequence[Callable[[], object]]) -> None:
        """Do all jobs at once; raises the first error when all have ended, or have given up waiting."""
        with ThreadPoolExecutor(max_workers=len(jobs) or 1) as pool:
            running = [pool.submit(job) for job in jobs]
            try:
                for done in as_completed(running):
                    done.result()
            except BaseException:  # an interrupt too must not wait for services that may never be ready
                self._giving_up.set()
                raise

    def stop(self) -> None:
        """Services, servers and proxies together; the network when they are gone."""
        if self._engine is None:
            return
        if self._pool is not None:  # nothing may come up any more
            self._giving_up.set()
            self._pool.shutdown(wait=True)
        try:
            proxies = [self._place.stop] if self._place is not None else []
            self._together([*(replica.stop for replica in self._replicas), *proxies])
            if self._undo is not None and self._scene is not None:
                swept(self._engine, self._scene, self._undo)
        except CouldNotRun as error:
            if self._scene is None or self._undo is None:
                raise
            self._scene.say(f"left to the guardian, or to chaoskit recover: {error.message}")
        finally:
            self._replicas.clear()
            self._servers.clear()
            self._undo = self._pool = None
            self._engine.close()


def _alias(replica: str) -> str:
    """A replica's host name in the run's network."""
    return replica.replace(".", "-")


def _metrics(target: Target) -> dict[str, str]:
    """URL of each replica's metrics in the run's network."""
    found = {}
    for name in target.topology().replica_names():
        spec = target.services[name.partition(".")[0]]
        if spec.metrics and not spec.url:
            found[name] = f"http://{_alias(name)}:{_inside(spec)}{spec.metrics}"
    return found


def _inside(spec: ServiceSpec) -> int:
    return spec.port or _SERVER_PORTS.get(spec.provides, _PORT)


def _placed(text: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        text = text.replace("{" + key + "}", value)
    return text
