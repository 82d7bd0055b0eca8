"""Which toxics a real Toxiproxy serves, and which stay on the tap in front of it."""

from __future__ import annotations

from typing import Any

import pytest

from chaoskit.interfaces import Address
from chaoskit.model.topology import Edge
from chaoskit.proxy.extra_toxics import EXTRA_KINDS
from chaoskit.proxy.mesh import Control, Mesh
from chaoskit.proxy.toxics import KINDS


class Remembers:
    """A server that takes toxics."""

    def __init__(self) -> None:
        self.client: Any = self
        self.took: list[str] = []

    def add_toxic(self, proxy: str, name: str, type_: str, **_: object) -> None:
        self.took.append(type_)


@pytest.mark.parametrize("type_", [*KINDS, *EXTRA_KINDS])
def test_a_real_one_serves_what_can_be_proven_and_taken_out_there(type_: str) -> None:
    tap, real = Remembers(), Remembers()
    edge = Edge("orders", "payments", "http")
    servers: Any = (tap, "p"), (real, "q")
    Control(edge, Address("127.0.0.1", 1), "toxiproxy", *servers).add_toxic("t", type_)
    there = type_ in {"latency", "bandwidth", "timeout", "limit_data", "noop"}
    assert (tap.took, real.took) == (([], [type_]) if there else ([type_], []))


@pytest.mark.parametrize("type_", [*KINDS, *EXTRA_KINDS])
def test_where_there_is_no_real_one_the_tap_takes_all(type_: str) -> None:
    tap = Remembers()
    servers: Any = (tap, "p"), None
    Control(Edge("orders", "payments", "http"), Address("127.0.0.1", 1), "embedded", *servers).add_toxic("t", type_)
    assert tap.took == [type_]


@pytest.mark.parametrize(
    ("toxic", "noted"),
    [
        ({"type_": "latency", "toxicity": 0.5}, True),
        ({"type_": "latency", "attributes": {"latency": 5, "jitter": 2}}, True),
        ({"type_": "latency", "attributes": {"latency": 5, "jitter": 0}}, False),
        ({"type_": "http_error", "toxicity": 0.5}, False),
        ({"type_": "reset_peer", "toxicity": 0.5}, False),
    ],
)
@pytest.mark.parametrize("behind", [True, False], ids=["real", "embedded"])
def test_dice_that_a_real_one_rolls_are_said_to_have_no_seed(toxic: dict[str, Any], noted: bool, behind: bool) -> None:
    edge = Edge("orders", "payments", "http")
    tap, real = Remembers(), Remembers()
    servers: Any = (tap, "p"), ((real, "q") if behind else None)
    mesh = Mesh(None, "real", 7, lambda undo: None, lambda id_: None)  # type: ignore[arg-type]  # launches nothing
    mesh._controls[edge.name] = control = Control(edge, Address("127.0.0.1", 1), "toxiproxy", *servers)
    assert mesh.notes == []
    control.add_toxic("t", **toxic)
    assert [note.partition(":")[0] for note in mesh.notes] == ["real ignores seeds"] * (noted and behind)
