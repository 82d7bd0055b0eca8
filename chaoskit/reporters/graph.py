"""The system as a graph: replicas in columns from the load to what they lean on, edges coloured by what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chaoskit.model.topology import LOAD, Topology

__all__ = ["Box", "EdgeState", "Graph", "Wire", "draw"]

MOST_REPLICAS = 4
"""A service with more is one box."""

BOX_HEIGHT = 38.0
NOTE = 0.68
"""Where on its line a note stands: nearer to the callee, where lines are apart."""


@dataclass(frozen=True)
class EdgeState:
    """What became of an edge. `look`: broken · hurt · fine · unused · unknown; `note` is shown beside its line."""

    look: str
    note: str = ""


@dataclass(frozen=True)
class Box:
    """One replica (or a whole service). `look`: broken · hurt · fine · load."""

    name: str
    about: str
    look: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Wire:
    """One edge: an SVG path, and where its note stands."""

    name: str
    look: str
    path: str
    note: str
    x: float
    y: float


@dataclass(frozen=True)
class Graph:
    width: float
    height: float
    boxes: tuple[Box, ...]
    wires: tuple[Wire, ...]


def draw(
    topology: Topology,
    states: Mapping[str, EdgeState],
    looks: Mapping[str, str],
    *,
    upright: bool = False,
) -> Graph:
    """Lay the target out, from left to right or (`upright`, for narrow screens) from top to bottom.

    `states` by edge name, `looks` (broken, hurt) by replica name; what is missing is fine.
    """
    shown = _boxes(topology)
    wires = _joined(topology, shown, states)
    layers = _layers(list(dict.fromkeys(shown.values())), [(one, other) for one, other, _ in wires])
    widest = max(len(layer) for layer in layers)
    if upright:
        width = max(96.0, min(118.0, 340.0 / widest - 8.0))
        size = (max(340.0, widest * (width + 8.0)), len(layers) * 96.0 - 96.0 + BOX_HEIGHT + 16.0)
    else:
        width = 124.0
        size = (len(layers) * 232.0 - 232.0 + width + 16.0, max(widest * 60.0, 90.0))
    place: dict[str, tuple[float, float]] = {}
    for number, layer in enumerate(layers):
        for index, name in enumerate(layer):
            share = (index + 0.5) / len(layer)
            if upright:
                place[name] = (size[0] * share, 8.0 + BOX_HEIGHT / 2 + number * 96.0)
            else:
                place[name] = (8.0 + width / 2 + number * 232.0, size[1] * share)
    about = {service.name: service.provides for service in topology.services}
    boxes = tuple(
        Box(
            name, about.get(name.partition(".")[0].partition(" ")[0], ""),
            _look(name, shown, looks),
            x - width / 2, y - BOX_HEIGHT / 2, width, BOX_HEIGHT,
        )
        for name, (x, y) in place.items()
    )  # fmt: skip
    drawn = tuple(_wire(one, other, state, place, width, upright) for one, other, state in wires)
    order = {"fine": 0, "unused": 0, "unknown": 1, "hurt": 2, "broken": 3}
    return Graph(size[0], size[1], boxes, tuple(sorted(drawn, key=lambda wire: order[wire.look])))


def _boxes(topology: Topology) -> dict[str, str]:
    """Replica name → name of the box that shows it."""
    shown = {LOAD: LOAD}
    for service in topology.services:
        for replica in service.replica_names():
            many = service.replicas > MOST_REPLICAS
            shown[replica] = f"{service.name} ×{service.replicas}" if many else replica
    return shown


def _joined(
    topology: Topology, shown: Mapping[str, str], states: Mapping[str, EdgeState]
) -> list[tuple[str, str, EdgeState]]:
    """Edges between boxes; several that fall together take the state of the worst."""
    rank = {"broken": 4, "hurt": 3, "unknown": 2, "fine": 1, "unused": 0}
    found: dict[tuple[str, str], EdgeState] = {}
    for edge in topology.edges:
        key = (shown.get(edge.caller, edge.caller), shown.get(edge.callee, edge.callee))
        state = states.get(edge.name, EdgeState("fine"))
        other = found.get(key)
        if other is None or rank[state.look] > rank[other.look]:
            found[key] = state
    return [(one, other, state) for (one, other), state in found.items()]


def _look(box: str, shown: Mapping[str, str], looks: Mapping[str, str]) -> str:
    """The worst of the replicas in a box."""
    if box == LOAD:
        return "load"
    found = {looks.get(replica, "fine") for replica, place in shown.items() if place == box}
    return "broken" if "broken" in found else "hurt" if "hurt" in found else "fine"


def _layers(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Columns by the longest way from the load (edges that close a circle are left out), ordered by their callers."""
    depth = dict.fromkeys(names, 0)
    for _ in range(len(names)):
        changed = False
        for caller, callee in edges:
            if depth[callee] < depth[caller] + 1 <= len(names) - 1 and not _reaches(callee, caller, edges):
                depth[callee] = depth[caller] + 1
                changed = True
        if not changed:
            break
    # What nothing calls stands beside the entry, not beside the load.
    for name in names:
        if name != LOAD and depth[name] == 0:
            depth[name] = 1
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in names:
        layers[depth[name]].append(name)
    layers = [layer for layer in layers if layer]
    row: dict[str, float] = {}
    for layer in layers:
        weight = {name: _mean([row[one] for one, other in edges if other == name and one in row]) for name in layer}
        layer.sort(key=lambda name: (weight[name], names.index(name)))
        row.update({name: (index + 0.5) / len(layer) for index, name in enumerate(layer)})
    return layers


def _reaches(start: str, goal: str, edges: Sequence[tuple[str, str]]) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        if here == goal:
            return True
        for caller, callee in edges:
            if caller == here and callee not in seen:
                seen.add(callee)
                waiting.append(callee)
    return False


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.5


def _wire(
    one: str, other: str, state: EdgeState, place: Mapping[str, tuple[float, float]], width: float, upright: bool
) -> Wire:
    (x1, y1), (x2, y2) = place[one], place[other]
    half = BOX_HEIGHT / 2
    if upright:
        down = 1.0 if y2 >= y1 else -1.0
        y1, y2 = y1 + half * down, y2 - (half + 7) * down
        bend = max(abs(y2 - y1) * 0.45, 18.0) * down
        path = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
    else:
        right = 1.0 if x2 >= x1 else -1.0
        x1, x2 = x1 + width / 2 * right, x2 - (width / 2 + 7) * right
        bend = max(abs(x2 - x1) * 0.45, 24.0) * right
        path = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        return Wire(
            f"{one}->{other}",
            state.look,
            path,
            state.note,
            *_at(NOTE, (x1, x1 + bend, x2 - bend, x2), (y1, y1, y2, y2)),
        )
    return Wire(
        f"{one}->{other}", state.look, path, state.note, *_at(NOTE, (x1, x1, x2, x2), (y1, y1 + bend, y2 - bend, y2))
    )


def _at(t: float, x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """The point of a cubic Bézier curve at `t`."""
    weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
    return sum(w * v for w, v in zip(weights, x, strict=True)), sum(w * v for w, v in zip(weights, y, strict=True))
