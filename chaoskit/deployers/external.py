"""Deployer `external`: services that run already; we stand proxies in front of them and stop nothing of theirs."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PrivateAttr

from chaoskit.deployers.readiness import ask_http, ask_tcp, wait_until
from chaoskit.deployers.system import Standing
from chaoskit.errors import CouldNotRun, DeployError
from chaoskit.interfaces import Address, Deployer, ProxyPlace, Scene, System
from chaoskit.model.topology import LOAD, Edge
from chaoskit.model.undo import Undo
from chaoskit.target import ServiceSpec, Target, place_of

if TYPE_CHECKING:
    from chaoskit.deployers.adopting import Adoption

__all__ = ["External", "ExternalReplica", "address_of", "pointed"]


def address_of(name: str, spec: ServiceSpec, allowed_hosts: Sequence[str]) -> Address:
    """Where a service with a `url` is. Raises DeployError where that is neither loopback nor allowed.

    Its name is resolved here, once: what was checked is what is connected to.
    """
    try:
        host, port = place_of(spec.url)
    except ValueError as error:
        what, _, hint = str(error).partition("; ")
        raise DeployError(f"url {spec.url!r} of {name} {what}", hint=hint) from None
    try:
        found = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise DeployError(f"the host of {name}, {host}, is not found: {error.strerror}") from error
    if not ipaddress.ip_address(found).is_loopback and host not in allowed_hosts:
        raise DeployError(
            f"{name} is at {host} ({found}), which is not this machine",
            hint=f"`allow_hosts: [{host}]` in the experiment and --allow-host {host} on the command line allow it",
        )
    return Address(found, port)


def pointed(edge: Edge, listen: Address, upstream: Address) -> str:
    """What somebody must do for a caller that runs already, in words."""
    return f"{edge.name}: point {edge.caller} at {listen} instead of {upstream}"


class ExternalReplica:
    """A replica that somebody else runs: it can be asked, and nothing else."""

    def __init__(self, name: str, address: Address, spec: ServiceSpec) -> None:
        self._name = name
        self._address = address
        self._spec = spec

    @property
    def name(self) -> str:
        return self._name

    @property
    def address(self) -> Address | None:
        return self._address

    def asked(self) -> str:
        """Empty where it is ready, else what it answers."""
        path = self._spec.health.ready
        return ask_http(self._address, path) if path else ask_tcp(self._address)

    def ready(self) -> bool:
        return not self.asked()

    def alive(self) -> bool:
        """Whether it accepts connections: more cannot be seen from here."""
        return not ask_tcp(self._address)

    def pids(self) -> list[int]:
        return []

    def start(self) -> None:
        raise self._not_ours("started")

    def signal(self, number: int) -> None:
        raise self._not_ours(f"sent signal {number}")

    def undo_kill(self) -> Undo:
        raise self._not_ours("killed")

    def undo_pause(self) -> Undo:
        raise self._not_ours("paused")

    def _not_ours(self, what: str) -> CouldNotRun:
        return CouldNotRun(f"{self._name} is not ours: it cannot be {what}")


class External(Deployer):
    """Services that run already: nothing is started, and nothing of theirs is stopped.

    By `url`: the load goes through a proxy in front of the entry. Every other edge is broken once its caller is pointed
    at its proxy: the address is printed, and `proxies` in the target file keeps it the same in every run. A `url` on
    another machine needs `allow_hosts` and `--allow-host`.

    By `adopt`: containers of a Docker engine, found by compose project, name or label, and not edited. For each edge
    that the blast radius names, the callee's name in their network leads to a proxy of ours while the run lasts. Faults
    on services act on the containers that the blast radius names, which run again afterwards.
    """

    kind = "external"
    can: ClassVar[frozenset[str]] = frozenset({"disconnect", "kill", "limit", "pause"})
    takes: ClassVar[frozenset[str]] = frozenset({"adopt", "url"})

    _adoption: Adoption | None = PrivateAttr(default=None)

    @classmethod
    def announces(cls, target: Target, blast_radius: Sequence[str]) -> Sequence[str]:
        from chaoskit.deployers.adoption import (
            called,
            edges_within,
        )  # lazy, as those who only read `url` have no engine

        said = []
        for edge in edges_within(target.topology(), blast_radius):
            adopt = target.adopted(edge.called_service)
            if adopt is not None:
                name = called(adopt, edge.called_service)[0]
                said.append(f"{edge.name}: the name {name} moves from {adopt.says} to a proxy of ours, and back")
        for place in (place for place in blast_radius if "->" not in place):
            adopt = target.adopted(place.partition(".")[0])
            if adopt is not None:
                said.append(f"{place}: faults act on {adopt.says}, which runs as before afterwards")
        return said

    def prepare(self, target: Target, scene: Scene) -> ProxyPlace | None:
        """Adopted containers are found, and refused, before anything is made."""
        adopted = [name for name in target.services if target.adopted(name) is not None]
        others = [name for name in target.services if name not in adopted]
        if adopted and others:
            raise DeployError(
                f"{', '.join(others)} of target {target.name} is no container to adopt, as {adopted[0]} is",
                hint="adopt them too, or leave them out: they are looked after by whoever calls them",
            )
        if not adopted:
            return None
        from chaoskit.deployers.adopting import Adoption

        self._adoption = Adoption(target, scene)
        return self._adoption.prepare()

    def deploy(self, target: Target, scene: Scene) -> System:
        """Open every edge and wait until each service answers."""
        if self._adoption is not None:
            return self._adoption.deploy()
        others = [name for name, spec in target.services.items() if not spec.url]
        if others:
            raise DeployError(
                f"{', '.join(others)} of target {target.name} would have to be started",
                hint="deployer `external` is for services with a `url` or `adopt`; `process` takes `url` and `run`",
            )
        topology = target.topology()
        replicas: dict[str, ExternalReplica] = {}
        for service in topology.services:
            spec = target.services[service.name]
            address = address_of(service.name, spec, scene.allowed_hosts)
            for name in service.replica_names():
                replicas[name] = ExternalReplica(name, address, spec)
        for edge in topology.edges:
            upstream = replicas[edge.callee].address
            assert upstream is not None, "an external replica has an address"
            listen = scene.open_edge(edge, upstream)
            if edge.caller != LOAD:
                scene.say(pointed(edge, listen, upstream))
        for name, replica in replicas.items():
            within = target.services[name.partition(".")[0]].ready_within
            said = wait_until(replica.asked, min(within, 5.0), clock=time.monotonic, sleep=threading.Event().wait)
            if said:
                raise DeployError(f"{name} does not answer at {replica.address}: {said}")
        return Standing(target, scene, dict(replicas))

    def stop(self) -> None:
        """Nothing of theirs is stopped. Names that were moved are back then; other proxies are the runner's."""
        adoption, self._adoption = self._adoption, None
        if adoption is not None:
            adoption.stop()
