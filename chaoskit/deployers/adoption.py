"""Which containers a target means, and which of their names move to proxies of ours: looked up, nothing touched.

caller ─ payments ─► [ our proxy: has the alias now ] ─ its short id ─► payments' container

One proxy server stands for each callee. Which edge a connection belongs to, it sees by the caller's address.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chaoskit.deployers.adopted import port_of
from chaoskit.deployers.docker_engine import RUN_LABEL, Engine, Found
from chaoskit.errors import DeployError
from chaoskit.model.topology import LOAD, Edge, Topology
from chaoskit.target import Adopt, Target

__all__ = ["Move", "called", "edges_within", "find_containers", "moves"]

_PROJECT, _SERVICE = "com.docker.compose.project", "com.docker.compose.service"
_NUMBER, _ONE_OFF = "com.docker.compose.container-number", "com.docker.compose.oneoff"


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """The name of one callee that a proxy of ours answers to while a run lasts."""

    edge: Edge
    caller: Found
    container: Found
    alias: str
    networks: tuple[str, ...]
    """Those that caller and callee share."""
    port: int

    def addresses_of(self, caller: Found) -> tuple[str, ...]:
        """The caller's own, as the callee's networks see them now."""
        return tuple(place.address for place in caller.endpoints if place.network in self.networks and place.address)


def find_containers(engine: Engine, target: Target) -> dict[str, Found]:
    """Replica → its container. Raises DeployError where there is none, or not as many as there are replicas."""
    found: dict[str, Found] = {}
    for service in target.topology().services:
        adopt = target.adopted(service.name)
        assert adopt is not None, "asked before"
        containers = _matching(engine, adopt)
        names = service.replica_names()
        if len(containers) != len(names):
            there = ", ".join(one.name for one in containers)
            raise DeployError(
                f"{adopt.says} is {len(containers)} containers ({there}); {service.name} has {len(names)} replicas",
                hint=f"`replicas: {len(containers)}` in target.yaml, or name one by `adopt: {{container: …}}`",
            )
        for name, container in zip(names, containers, strict=True):
            if not container.running or container.paused:
                state = "is paused" if container.paused else "does not run"
                raise DeployError(f"{name}: container {container.name} {state}", hint=f"docker start {container.name}")
            if any(place.network == "host" for place in container.endpoints):
                raise DeployError(f"{name}: container {container.name} uses the host's network; no proxy stands there")
            found[name] = container
    return found


def _matching(engine: Engine, adopt: Adopt) -> list[Found]:
    """Raises DeployError where there is none."""
    if adopt.container:
        container = engine.inspect(adopt.container)
        if container is None:
            raise DeployError(f"there is no container {adopt.container}", hint="`docker ps` lists those that run")
        return [container]
    if adopt.label:
        containers = [one for one in engine.find(label=adopt.label) if RUN_LABEL not in one.labels]
        if not containers:
            raise DeployError(f"there is no container with label {adopt.label}")
        return containers
    project = [one for one in engine.find(label=f"{_PROJECT}={adopt.compose}") if one.labels.get(_ONE_OFF) != "True"]
    if not project:
        known = sorted({one.labels[_PROJECT] for one in engine.find(label=_PROJECT)})
        there = f"there are: {', '.join(known)}" if known else "no project runs here: docker compose up -d"
        raise DeployError(f"there is no compose project {adopt.compose}", hint=there)
    containers = [one for one in project if one.labels.get(_SERVICE) == adopt.service]
    if not containers:
        known = sorted({one.labels.get(_SERVICE, "") for one in project})
        raise DeployError(
            f"compose project {adopt.compose} has no service {adopt.service}",
            hint=f"it has {', '.join(known)}; `adopt: {{service: …}}` says which one is meant",
        )
    return sorted(containers, key=lambda one: int(one.labels.get(_NUMBER, "0")))


def edges_within(topology: Topology, blast_radius: Sequence[str] | None) -> list[Edge]:
    """Edges between services whose names may be moved: those that the blast radius names (None: all of them)."""
    inner = [edge for edge in topology.edges if edge.caller != LOAD]
    if blast_radius is None:
        return inner
    named = {edge for place in blast_radius if "->" in place for edge in topology.select_edges(place)}
    return [edge for edge in inner if edge in named]


def called(adopt: Adopt, service: str) -> list[str]:
    """What callers may call it by, the likeliest first."""
    return [adopt.alias] if adopt.alias else list(dict.fromkeys(filter(None, (adopt.service, service))))


def moves(engine: Engine, target: Target, found: dict[str, Found], edges: Sequence[Edge]) -> list[Move]:
    """What must move for proxies to stand on these edges. Raises DeployError where one cannot."""
    return [_move(engine, target, found, edge) for edge in edges]


def _move(engine: Engine, target: Target, found: dict[str, Found], edge: Edge) -> Move:
    caller, callee, service = found[edge.caller], found[edge.callee], edge.called_service
    adopt = target.adopted(service)
    assert adopt is not None, "asked before"
    for container in (caller, callee):
        if not any(place.resolves for place in container.endpoints):
            raise DeployError(
                f"{edge.name}: container {container.name} is in no user-defined network: nobody has names there",
                hint=f"docker network create NAME, and docker network connect NAME {container.name}",
            )
    common = {place.network for place in caller.endpoints} & {place.network for place in callee.endpoints}
    places = [place for place in callee.endpoints if place.network in common and place.resolves]
    if not places:
        raise DeployError(f"{edge.name}: containers {caller.name} and {callee.name} share no user-defined network")
    options = [*called(adopt, service), *([] if adopt.alias else [callee.name])]
    known = {callee.name, *(name for place in places for name in place.aliases)}
    alias = next((name for name in options if name in known), "")
    if not alias:
        raise DeployError(
            f"{edge.name}: container {callee.name} is not called {options[0]} in {', '.join(sorted(common))}",
            hint=f"`adopt: {{alias: …}}`: it is called {', '.join(sorted(known))}",
        )
    networks = tuple(place.network for place in places if alias in (callee.name, *place.aliases))
    # Replicas may share a name: those whose proxies stand leave it to them, and callers go on finding all by it.
    replicas = {container.ident for name, container in found.items() if name.partition(".")[0] == service}
    for network in networks:
        for other in engine.find(network=network):
            names = {name for place in other.endpoints if place.network == network for name in place.aliases}
            if other.ident not in replicas and alias in {other.name, *names}:
                if RUN_LABEL in other.labels:
                    raise DeployError(
                        f"{edge.name}: run {other.labels[RUN_LABEL]} has moved the name {alias}",
                        hint="chaoskit recover",
                    )
                raise DeployError(
                    f"{edge.name}: the name {alias} is shared by {callee.name} and {other.name} in {network}",
                    hint="give each a name of its own, which its callers use, or break one by `kill` and `pause`",
                )
    return Move(
        edge=edge,
        caller=caller,
        container=callee,
        alias=alias,
        networks=networks,
        port=port_of(edge.callee, callee, target.services[service]),
    )
