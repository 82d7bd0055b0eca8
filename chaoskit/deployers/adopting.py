"""Puts proxies of ours among containers that somebody else runs, and takes them out again, names and all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from chaoskit.deployers.adopted import AdoptedReplica, SetBack, port_of, set_back
from chaoskit.deployers.adoption import Move, edges_within, find_containers, moves
from chaoskit.deployers.docker_engine import RUN_LABEL, Engine, Found
from chaoskit.deployers.docker_images import lab_image
from chaoskit.deployers.docker_place import ContainerPlace
from chaoskit.deployers.docker_sweep import sweep_undo, swept
from chaoskit.deployers.readiness import wait_until
from chaoskit.deployers.system import Standing
from chaoskit.errors import CouldNotRun, DeployError, ProxyError
from chaoskit.interfaces import Address, Child, ReplicaControl, Scene, System
from chaoskit.model.topology import LOAD, Edge
from chaoskit.model.undo import Undo
from chaoskit.target import Target

__all__ = ["AdoptedPlace", "Adoption"]

_READY = 10.0
"""Seconds that a service may take to answer, before anything of it is touched and after."""


class AdoptedPlace(ContainerPlace):
    """One of our servers for each callee: callers find it under the callee's name, on the callee's own port. Who does
    not call over an edge that moved passes through it to the callee, untouched."""

    def __init__(
        self,
        engine: Engine,
        image: str,
        network: str,
        labels: Mapping[str, str],
        scene: Scene,
        moved: Mapping[Edge, Move],
        entry: str,
    ) -> None:
        """`entry` is the network in which the front edge's callee is found."""
        super().__init__(engine, image, network, labels, scene)
        self._moved = moved
        self._entry = entry
        self._joined: set[tuple[str, str]] = set()

    def serving(self, edge: Edge) -> str:
        return "embedded" if edge.caller == LOAD else f"embedded/{edge.callee}"

    def serve(self, serving: str, seed: int | None) -> tuple[str, Child]:
        served = super().serve(serving, seed)
        if serving == "real":  # it stands behind every tap: it must find all that they find
            for network in sorted({self._entry, *(name for move in self._moved.values() for name in move.networks)}):
                self._engine.join(network, self._idents[serving], ())
        return served

    def listen(self, serving: str, edge: Edge) -> str:
        if serving.startswith("embedded/"):
            return f"0.0.0.0:{self._moved[edge].port}"
        return super().listen(serving, edge)

    def callers(self, edge: Edge) -> tuple[str, ...]:
        move = self._moved.get(edge)
        return move.addresses_of(move.caller) if move is not None else ()

    def enter(self, edge: Edge) -> None:
        """Among the others at last, once it listens: from now on its callers may find it."""
        ident = self._idents[self.serving(edge)]
        if edge.caller == LOAD:
            self._engine.join(self._entry, ident, ())
            return
        for network in self._moved[edge].networks:
            if (network, ident) not in self._joined:
                self._joined.add((network, ident))
                self._engine.join(network, ident, (self._moved[edge].alias,))


class Adoption:
    """The containers of one target while a run lasts. `prepare`, `deploy`, `stop`, as a deployer."""

    def __init__(self, target: Target, scene: Scene) -> None:
        self._target = target
        self._scene = scene
        self._engine = Engine()
        self._found: dict[str, Found] = {}
        self._moved: dict[Edge, Move] = {}
        self._undos: list[Undo] = []
        self._sweep: Undo | None = None
        self._place: AdoptedPlace | None = None
        self._replicas: dict[str, AdoptedReplica] = {}
        self._unfollow: Callable[[], None] | None = None

    def prepare(self) -> AdoptedPlace:
        """Find everything, and refuse what cannot be, before anything is made."""
        engine, scene, topology = self._engine, self._scene, self._target.topology()
        self._found = find_containers(engine, self._target)
        made = moves(engine, self._target, self._found, edges_within(topology, scene.blast_radius))
        self._moved = {move.edge: move for move in made}
        front = self._found[topology.edges[0].callee]
        entry = next((place.network for place in front.endpoints if place.resolves), "")
        if not entry:
            raise DeployError(
                f"{topology.edges[0].name}: container {front.name} is in no user-defined network: no proxy finds it",
                hint=f"docker network create NAME, and docker network connect NAME {front.name}",
            )
        image = lab_image(engine, scene.say)
        network, labels = f"chaoskit-{scene.run_id}", {RUN_LABEL: scene.run_id}
        self._sweep = sweep_undo(engine, scene.run_id, network)
        scene.will_undo(self._sweep)
        engine.make_network(network, labels)
        self._place = AdoptedPlace(engine, image, network, labels, scene, self._moved, entry)
        return self._place

    def deploy(self) -> System:
        assert self._place is not None, "prepared before"
        engine, scene, services = self._engine, self._scene, self._target.services
        for name, found in self._found.items():
            self._replicas[name] = AdoptedReplica(name, found, engine, services[name.partition(".")[0]])
        by_ident = {replica.ident: replica for replica in self._replicas.values()}

        def heard(ident: str, what: str) -> None:
            if ident in by_ident:
                by_ident[ident].heard(what)
                if what != "die":
                    self._call_from(by_ident[ident])

        self._unfollow = engine.follow(heard)
        self._await("runs, and")
        front = self._target.topology().edges[0]
        for edge in (front, *self._moved):
            found = self._found[edge.callee]
            port = self._moved[edge].port if edge in self._moved else self._port(edge)
            scene.open_edge(edge, Address(found.short, port))
            self._place.enter(edge)
        for callee in dict.fromkeys(edge.callee for edge in self._moved):
            self._move([move for edge, move in self._moved.items() if edge.callee == callee])
        for replica in self._replicas.values():
            replica.look()
        self._await("was given to our proxy, and")
        replicas: dict[str, ReplicaControl] = dict(self._replicas)
        return Standing(self._target, scene, replicas)

    def _port(self, edge: Edge) -> int:
        return port_of(edge.callee, self._found[edge.callee], self._target.services[edge.called_service])

    def _call_from(self, caller: AdoptedReplica) -> None:
        """A container that started again, or joined a network, may have another address there."""
        for edge, move in self._moved.items():
            if edge.caller != caller.name:
                continue
            addresses = move.addresses_of(caller.found)
            try:
                if addresses:
                    self._scene.proxy_of(edge).set_callers(addresses)
            except ProxyError as error:
                self._scene.say(f"{edge.name}: {error.message}")

    def _move(self, of_one: Sequence[Move]) -> None:
        """Take its names from a callee; its proxy has them already, so that they are never without an owner."""
        container = of_one[0].container
        found = self._engine.inspect(container.ident)
        if found is None:
            raise DeployError(f"container {container.name} is gone")
        undo = set_back(self._engine, found, of_one[0].edge.callee, found.name)
        self._scene.will_undo(undo)
        self._undos.append(undo)
        for place in found.endpoints:
            taken = {move.alias for move in of_one if place.network in move.networks}
            if taken & set(place.aliases):
                left = tuple(name for name in place.aliases if name not in taken)
                self._engine.put(found.ident, msgspec.structs.replace(place, aliases=left))
        if any(found.name == move.alias for move in of_one):
            self._engine.rename(found.ident, f"{found.name}-behind-{self._scene.run_id[-8:]}")
        for move in of_one:
            self._scene.say(f"{move.edge.name}: {move.alias} in {', '.join(move.networks)} leads to our proxy")

    def _await(self, says: str) -> None:
        for name, replica in self._replicas.items():
            within = min(replica.service.ready_within, _READY)
            said = wait_until(replica.asked, within, clock=time.monotonic, sleep=threading.Event().wait)
            if said:
                hint = "" if replica.published else _UNREACHED
                raise DeployError(f"{name} {says} does not answer: {said}", hint=hint)

    def stop(self) -> None:
        """Names back first: until our proxies are gone both lead to the callee. Nothing of theirs is stopped."""
        undos, self._undos = self._undos, []
        sweep, self._sweep = self._sweep, None
        try:
            for undo in reversed(undos):
                SetBack.apply_undo(undo, None)
                self._scene.undone(undo.id)
            if self._unfollow is not None:
                self._unfollow()
                self._unfollow = None
            if self._place is not None:
                self._place.stop()
            if sweep is not None:
                swept(self._engine, self._scene, sweep)
        except CouldNotRun as error:
            self._scene.say(f"left to the guardian, or to chaoskit recover: {error.message}")
        finally:
            self._engine.close()


_UNREACHED = "it publishes no port, so it was asked at its container's address: publish one where that is not reached"
