"""The picture of the system: no line behind a box, and every note where it can be read."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from chaoskit.model.topology import Edge, Service, Topology
from chaoskit.reporters.graph import Box, EdgeState, Graph, draw
from tests.reporters.runs import SHOP

Area = tuple[float, float, float, float]

STAR = Topology(
    target="star",
    entry="hub",
    services=(Service(name="hub"), *(Service(name=f"leaf-{n}") for n in range(9)), Service(name="root")),
    edges=(
        Edge("load", "hub"),
        *(Edge("hub", f"leaf-{n}") for n in range(9)),
        *(Edge(f"leaf-{n}", "root") for n in range(9)),
        Edge("hub", "root"),
    ),
)
CIRCLE = Topology(
    target="circle",
    entry="a",
    services=tuple(Service(name=name) for name in "abc"),
    edges=(Edge("load", "a"), Edge("a", "b"), Edge("b", "c"), Edge("c", "a")),
)


def crossed(graph: Graph) -> list[tuple[str, str]]:
    """(edge, box) where a line passes through a box at which it neither begins nor ends."""
    found = []
    for wire in graph.wires:
        ends = wire.name.split("->")
        others = [box for box in graph.boxes if box.name not in ends]
        found += [(wire.name, box.name) for box in others if any(inside(point, box) for point in points(wire.path))]
    return found


def points(path: str) -> list[tuple[float, float]]:
    """Points of a path of cubic curves."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
    stops = list(zip(numbers[::2], numbers[1::2], strict=True))
    found = []
    for first in range(0, len(stops) - 3, 3):
        curve = stops[first : first + 4]
        for t in (step / 40 for step in range(41)):
            weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
            x, y = (sum(w * at[i] for w, at in zip(weights, curve, strict=True)) for i in (0, 1))
            found.append((x, y))
    return found


def inside(point: tuple[float, float], box: Box) -> bool:
    return box.x < point[0] < box.x + box.width and box.y < point[1] < box.y + box.height


def areas(graph: Graph) -> list[Area]:
    """What notes and boxes cover; letters of 7.2 as wide sans have them."""
    notes = [(wire.x, wire.y, len(wire.note) * 3.6) for wire in graph.wires if wire.note]
    covered = [(x - half, y - 7, x + half, y + 7) for x, y, half in notes]
    return covered + [(box.x, box.y, box.x + box.width, box.y + box.height) for box in graph.boxes]


def overlap(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("topology", [SHOP, STAR, CIRCLE], ids=lambda one: one.target)
def test_an_edge_that_skips_a_column_goes_around_its_boxes(topology: Topology, upright: bool) -> None:
    assert crossed(draw(topology, {}, {}, upright=upright)) == []


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("topology", [SHOP, STAR, CIRCLE], ids=lambda one: one.target)
def test_notes_lie_over_nothing_even_where_every_edge_has_one(topology: Topology, upright: bool) -> None:
    states = {edge.name: EdgeState("hurt", "95.2% failed") for edge in topology.edges}
    graph = draw(topology, states, {}, upright=upright)
    assert sum(bool(wire.note) for wire in graph.wires) == len(topology.edges)
    assert [pair for pair in combinations(areas(graph), 2) if overlap(*pair)] == []
    assert all(one[0] >= 0 and one[2] <= graph.width for one in areas(graph))


def test_what_calls_in_a_circle_is_laid_out_in_the_order_of_its_calls() -> None:
    graph = draw(CIRCLE, {}, {})
    assert [box.name for box in sorted(graph.boxes, key=lambda box: box.x)] == ["load", "a", "b", "c"]
    assert sorted(wire.name for wire in graph.wires) == ["a->b", "b->c", "c->a", "load->a"]


def test_peers_that_call_each_other_or_themselves_are_drawn() -> None:
    services = (Service(name="a"), Service(name="b"), Service(name="ring", replicas=5))
    rings = tuple(Edge(f"ring.{n + 1}", f"ring.{(n + 1) % 5 + 1}") for n in range(5))
    edges = (Edge("load", "a"), Edge("a", "b"), Edge("b", "a"), Edge("b", "ring.1"), *rings)
    graph = draw(Topology(target="peers", entry="a", services=services, edges=edges), {}, {})
    assert [box.name for box in sorted(graph.boxes, key=lambda box: box.x)] == ["load", "a", "b", "ring ×5"]
    assert {"a->b", "b->a", "ring ×5->ring ×5"} < {wire.name for wire in graph.wires}
