"""Topologies in a few words."""

from __future__ import annotations

from chaoskit.model.topology import LOAD, Edge, Service, Topology

__all__ = ["SHOP_EDGES", "topology_of"]

SHOP_EDGES = (
    "load->gateway",
    "gateway->orders",
    "orders->payments.1",
    "orders->payments.2",
    "orders->inventory",
    "orders->postgres:postgres",
    "inventory->postgres:postgres",
    "inventory->redis:redis",
)
"""A topology like that of the shop: two replicas of payments, real servers behind."""


def topology_of(*edges: str, target: str = "example") -> Topology:
    """A topology from its edges: `load->gateway`, `orders->payments.1` (a replica), `a->b:postgres` (a protocol)."""
    found: list[Edge] = []
    replicas: dict[str, int] = {}
    protocols: dict[str, str] = {}
    for text in edges:
        ends, _, protocol = text.partition(":")
        caller, _, callee = ends.partition("->")
        found.append(Edge(caller, callee, protocol or "http"))
        for name in (caller, callee):
            service, _, number = name.partition(".")
            if service != LOAD:
                replicas[service] = max(replicas.get(service, 1), int(number or 1))
        protocols[callee.partition(".")[0]] = protocol or "http"
    services = tuple(
        Service(
            name=name,
            replicas=count,
            provides="" if protocols.get(name, "http") == "http" else name,
            ready="/health/ready" if protocols.get(name, "http") == "http" else "",
            live="/health/live" if protocols.get(name, "http") == "http" else "",
            metrics="/metrics" if protocols.get(name, "http") == "http" else "",
        )
        for name, count in replicas.items()
    )
    entry = next(edge.called_service for edge in found if edge.caller == LOAD)
    return Topology(target=target, entry=entry, services=services, edges=tuple(found))
