"""What is up, as the deployers of services on this machine hand it on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from chaoskit.interfaces import Address, Emit, ProxyControl, ReplicaControl, Scene
from chaoskit.model.topology import LOAD, Edge, Topology
from chaoskit.target import Target

__all__ = ["Standing"]


class Standing:
    """A system whose replicas are known by name."""

    def __init__(self, target: Target, scene: Scene, replicas: dict[str, ReplicaControl]) -> None:
        self._target = target
        self._topology = target.topology()
        self._scene = scene
        self._replicas = replicas

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def target(self) -> Target:
        return self._target

    @property
    def folder(self) -> Path:
        return self._scene.folder

    def proxy(self, edge: Edge) -> ProxyControl:
        return self._scene.proxy_of(edge)

    def replica(self, name: str) -> ReplicaControl:
        """Raises KeyError where there is none of that name."""
        return self._replicas[name]

    def replicas(self) -> Sequence[ReplicaControl]:
        return list(self._replicas.values())

    def entry(self) -> Address:
        front = next(edge for edge in self._topology.edges if edge.caller == LOAD)
        return self._scene.proxy_of(front).listen

    def taps(self, emit: Emit, stop: threading.Event) -> None:
        self._scene.taps(emit, stop)
