"""The system as a graph: replicas in columns from the load to what they lean on, edges coloured by what happened.

Laid out as Sugiyama, Tagawa and Toda do (1981): columns by the longest way from the load, an edge that skips columns
goes through a place of its own in each, and places are ordered by those of their callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from chaoskit.model.topology import LOAD, Topology
from chaoskit.reporters.graph_notes import Curve, Point, note_places

__all__ = ["Box", "EdgeState", "Graph", "Wire", "draw"]

MOST_REPLICAS = 4
"""A service with more is one box."""

BOX_HEIGHT = 38.0


class _Bend(NamedTuple):
    """Where an edge passes a column that it skips."""

    caller: str
    callee: str
    column: int


_Spot: TypeAlias = str | _Bend
"""A box, or a bend."""


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
    states_of = _joined(topology, shown, states)
    columns, ways = _columns(list(dict.fromkeys(shown.values())), list(states_of))
    width = _width(columns) if upright else 124.0
    sizes = _Sizes(BOX_HEIGHT, 96.0, width + 8.0, 22.0, 340.0) if upright else _Sizes(width, 232.0, 60.0, 28.0, 90.0)
    place, (deep, across) = _places(columns, sizes)
    size = _turned((deep, across), upright)
    about = {service.name: service.provides for service in topology.services}
    boxes = tuple(
        Box(
            name, about.get(name.partition(".")[0].partition(" ")[0], ""),
            _look(name, shown, looks),
            x - width / 2, y - BOX_HEIGHT / 2, width, BOX_HEIGHT,
        )
        for name, (x, y) in ((spot, _turned(at, upright)) for spot, at in place.items() if isinstance(spot, str))
    )  # fmt: skip
    curves = {
        key: [_turn(curve, upright) for curve in _curves(way, place, sizes.along / 2)] for key, way in ways.items()
    }
    rank = {"broken": 0, "hurt": 1, "unknown": 2, "unused": 3, "fine": 4}
    worst = sorted(states_of.items(), key=lambda item: rank[item[1].look])
    corners = [((box.x, box.y), (box.x + box.width, box.y + box.height)) for box in boxes]
    places = note_places([state.note for _, state in worst], [curves[edge] for edge, _ in worst], corners, size)
    wires = [
        Wire("->".join(edge), state.look, _path(curves[edge]), state.note, *at)
        for (edge, state), at in zip(worst, places, strict=True)
    ]
    return Graph(size[0], size[1], boxes, tuple(reversed(wires)))  # the worst is painted last, above the others


class _Sizes(NamedTuple):
    """Of a box along the edges, from column to column, across for a box and for a bend, and across at least."""

    along: float
    apart: float
    box: float
    bend: float
    least: float

    def of(self, *spots: _Spot) -> float:
        return sum(self.box if isinstance(spot, str) else self.bend for spot in spots)


def _width(columns: Sequence[Sequence[_Spot]]) -> float:
    """Of a box on a narrow screen."""
    boxes = max(sum(isinstance(spot, str) for spot in column) for column in columns)
    bends = max(sum(isinstance(spot, _Bend) for spot in column) for column in columns)
    return max(88.0, min(118.0, (340.0 - bends * 22.0) / boxes - 8.0))


def _places(columns: Sequence[Sequence[_Spot]], sizes: _Sizes) -> tuple[dict[_Spot, Point], Point]:
    """The middle of each spot, and the size of all: (along, across) the edges."""
    across = max(sizes.least, *(sizes.of(*column) for column in columns))
    place: dict[_Spot, Point] = {}
    for number, column in enumerate(columns):
        wider = min(across / sizes.of(*column), 1.3)
        here = (across - sizes.of(*column) * wider) / 2
        for spot in column:
            place[spot] = (8.0 + sizes.along / 2 + number * sizes.apart, here + sizes.of(spot) * wider / 2)
            here += sizes.of(spot) * wider
    return place, (8.0 + sizes.along + (len(columns) - 1) * sizes.apart + 8.0, across)


def _turned(point: Point, upright: bool) -> Point:
    return (point[1], point[0]) if upright else point


def _turn(curve: Curve, upright: bool) -> Curve:
    one, two, three, four = curve
    return _turned(one, upright), _turned(two, upright), _turned(three, upright), _turned(four, upright)


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
) -> dict[tuple[str, str], EdgeState]:
    """Edges between boxes; several that fall together take the state of the worst."""
    rank = {"broken": 4, "hurt": 3, "unknown": 2, "fine": 1, "unused": 0}
    found: dict[tuple[str, str], EdgeState] = {}
    for edge in topology.edges:
        key = (shown.get(edge.caller, edge.caller), shown.get(edge.callee, edge.callee))
        state = states.get(edge.name, EdgeState("fine"))
        other = found.get(key)
        if other is None or rank[state.look] > rank[other.look]:
            found[key] = state
    return found


def _look(box: str, shown: Mapping[str, str], looks: Mapping[str, str]) -> str:
    """The worst of the replicas in a box."""
    if box == LOAD:
        return "load"
    found = {looks.get(replica, "fine") for replica, place in shown.items() if place == box}
    return "broken" if "broken" in found else "hurt" if "hurt" in found else "fine"


def _columns(
    names: Sequence[str], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[_Spot]], dict[tuple[str, str], list[_Spot]]]:
    """Columns by the longest way from the load, ordered by their callers, and the way of each edge through them. What
    calls back in a circle is laid out as if it were called."""
    back = _backward(names, edges)
    ahead = [(edge[::-1] if edge in back else edge, edge) for edge in edges]
    depth = {name: int(name != LOAD) for name in names}  # what nothing calls stands beside the entry
    for _ in names:
        for (one, other), _edge in ahead:
            depth[other] = max(depth[other], depth[one] + (one != other))
    columns: list[list[_Spot]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in names:
        columns[depth[name]].append(name)
    ways: dict[tuple[str, str], list[_Spot]] = {}
    for (one, other), edge in ahead:
        bends = [_Bend(*edge, number) for number in range(depth[one] + 1, depth[other])]
        ways[edge] = [one, *bends, other]
        for bend in bends:
            columns[bend.column].append(bend)
    columns = [column for column in columns if column]
    callers: dict[_Spot, list[_Spot]] = {}
    for way in ways.values():
        for before, after in pairwise(way):
            callers.setdefault(after, []).append(before)
    row: dict[_Spot, float] = {}
    for column in columns:
        weight = {spot: _mean([row[one] for one in callers.get(spot, ()) if one in row]) for spot in column}
        column.sort(key=lambda spot: weight[spot])  # stable: boxes as they were named, then bends
        row.update({spot: (index + 0.5) / len(column) for index, spot in enumerate(column)})
    return columns, {edge: way[::-1] if edge in back else way for edge, way in ways.items()}


def _backward(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Edges that close a circle, as one comes upon them from the load."""
    found: set[tuple[str, str]] = set()
    done: set[str] = set()
    for start in names:
        way = [start]
        left = {start: [callee for caller, callee in edges if caller == start]}
        while way and start not in done:
            here = way[-1]
            if not left[here]:
                done.add(way.pop())
                continue
            callee = left[here].pop(0)
            if callee in way:
                found.add((here, callee))
            elif callee not in done:
                way.append(callee)
                left[callee] = [other for caller, other in edges if caller == callee]
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.5


def _curves(way: Sequence[_Spot], place: Mapping[_Spot, Point], half: float) -> Iterator[Curve]:
    """The line of an edge along its way, all in (along, across): around boxes by what it has as bends."""
    ahead = 1.0 if place[way[-1]][0] >= place[way[0]][0] else -1.0
    here = (place[way[0]][0] + half * ahead, place[way[0]][1])
    for spot in way[1:]:
        along, across = place[spot]
        there = (along - (half + (7.0 if spot is way[-1] else 0.0)) * ahead, across)
        bend = max(abs(there[0] - here[0]) * 0.45, 18.0) * ahead
        yield here, (here[0] + bend, here[1]), (there[0] - bend, there[1]), there
        here = (along + half * ahead, across)
        if spot is not way[-1]:
            yield there, there, here, here


def _path(curves: Sequence[Curve]) -> str:
    x, y = curves[0][0]
    return f"M{x:.1f} {y:.1f}" + "".join("C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in curve[1:]) for curve in curves)
