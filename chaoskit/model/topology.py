"""The target's shape as pure data: services, replicas, and the edges between them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

__all__ = ["LOAD", "Edge", "Service", "Topology"]

LOAD = "load"
"""The caller of the front edge: the load itself."""


class Service(msgspec.Struct, frozen=True):
    """One process of the target (or several alike: replicas are counted from 1)."""

    name: str
    replicas: int = 1
    provides: str = ""
    """The real server it is (`postgres`, `redis`), or empty."""
    ready: str = ""
    """Path of the readiness endpoint, or empty."""
    live: str = ""
    metrics: str = ""

    def replica_names(self) -> list[str]:
        """`orders` where there is one, else `payments.1`, `payments.2`, …"""
        if self.replicas == 1:
            return [self.name]
        return [f"{self.name}.{number}" for number in range(1, self.replicas + 1)]


class Edge(msgspec.Struct, frozen=True, order=True):
    """A caller→callee dependency between two replicas: `orders->payments.1`, `load->gateway`."""

    caller: str
    """Replica name of the caller (`orders`, `web.2`), or `load`."""
    callee: str
    """Replica name of the callee."""
    protocol: str = "http"
    """http · tcp · postgres · redis: what a call is on it."""

    @property
    def name(self) -> str:
        return f"{self.caller}->{self.callee}"

    @property
    def calling_service(self) -> str:
        return self.caller.partition(".")[0]

    @property
    def called_service(self) -> str:
        return self.callee.partition(".")[0]


class Topology(msgspec.Struct, frozen=True):
    """Services and edges of one target. `entry` is the service that the load talks to."""

    target: str
    entry: str
    services: tuple[Service, ...]
    edges: tuple[Edge, ...]

    def service(self, name: str) -> Service:
        """Raises KeyError where there is none of that name."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)

    def replica_names(self) -> list[str]:
        return [replica for service in self.services for replica in service.replica_names()]

    def edge(self, name: str) -> Edge:
        """The one edge with exactly this name; KeyError otherwise."""
        for edge in self.edges:
            if edge.name == name:
                return edge
        raise KeyError(name)

    def select_edges(self, text: str) -> list[Edge]:
        """Edges that `orders->payments` (all replicas) or `orders->payments.1` (that one) means.

        Raises ValueError with a suggestion where it means none.
        """
        caller, arrow, callee = (part.strip() for part in text.partition("->"))
        found = [
            edge
            for edge in self.edges
            if arrow and caller in (edge.caller, edge.calling_service) and callee in (edge.callee, edge.called_service)
        ]
        if not found:
            known = {f"{edge.calling_service}->{edge.called_service}" for edge in self.edges}
            known |= {edge.name for edge in self.edges}
            raise ValueError(f"no edge {text!r} in target {self.target}{_did_you_mean(text.replace(' ', ''), known)}")
        return found

    def select_replicas(self, text: str) -> list[str]:
        """Replica names that `payments` (all) or `payments.1` means. Raises ValueError with a suggestion."""
        for service in self.services:
            if text == service.name:
                return service.replica_names()
            if text in service.replica_names():
                return [text]
        known = {service.name for service in self.services} | set(self.replica_names())
        raise ValueError(f"no service {text!r} in target {self.target}{_did_you_mean(text, known)}")

    def upstream_of(self, services: Iterable[str]) -> set[str]:
        """The named services and everything that calls them, directly or not (without `load`)."""
        reached = set(services)
        while True:
            callers = {e.calling_service for e in self.edges if e.called_service in reached} - {LOAD}
            if callers <= reached:
                return reached
            reached |= callers

    def bystanders(self, broken: Iterable[str]) -> set[str]:
        """Services that are neither at nor upstream of a faulted edge or service; `broken` as in `on:`."""
        touched: set[str] = set()
        for text in broken:
            if "->" in text:
                for edge in self.select_edges(text):
                    touched |= {edge.called_service} | ({edge.calling_service} - {LOAD})
            else:
                touched |= {replica.partition(".")[0] for replica in self.select_replicas(text)}
        return {service.name for service in self.services} - self.upstream_of(touched)


def _did_you_mean(text: str, known: Iterable[str]) -> str:
    options = sorted(known)
    close = difflib.get_close_matches(text, options, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are: {', '.join(options)}"
