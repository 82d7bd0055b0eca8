"""What all faults on edges share: toxics that are named before they exist, put in, and traced place by place."""

from __future__ import annotations

import hashlib
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import ClassVar, NamedTuple

from pydantic import Field

from chaoskit.faults.evidence import Bite, Seen
from chaoskit.interfaces import Fault, System
from chaoskit.model.history import History
from chaoskit.model.topology import Edge
from chaoskit.model.undo import JSON, Undo
from chaoskit.model.units import Share
from chaoskit.model.verdict import Trace

__all__ = ["EdgeFault", "SharedFault", "Toxic", "Way", "milliseconds", "toxic_name", "toxic_prefix"]


class Way(StrEnum):
    """Which bytes of an edge a fault acts on."""

    REQUESTS = "requests"
    """From the caller to the callee."""
    ANSWERS = "answers"
    """From the callee to the caller."""
    BOTH = "both"

    @property
    def streams(self) -> tuple[str, ...]:
        """The same in Toxiproxy's words."""
        return {"requests": ("upstream",), "answers": ("downstream",), "both": ("upstream", "downstream")}[self.value]


class Toxic(NamedTuple):
    """One toxic that a fault puts on an edge. `part` tells several of one fault apart."""

    type: str
    attributes: Mapping[str, JSON] = {}
    stream: str = "downstream"
    toxicity: float = 1.0
    part: str = ""


def milliseconds(seconds: float) -> int:
    """Toxiproxy takes whole milliseconds."""
    return round(seconds * 1000)


def toxic_prefix(fault_id: str) -> str:
    """What the names of a fault's toxics have after the run's part: letters that may stand in a URL."""
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", fault_id)
    if slug != fault_id:  # two ids may come to the same letters
        slug += "-" + hashlib.blake2s(fault_id.encode(), digest_size=3).hexdigest()
    return slug


def toxic_name(system: System, fault_id: str, part: str = "") -> str:
    """`chaoskit-<run>-<fault>[~part]`: the same on every call in one run, and no other run's."""
    run = hashlib.blake2s(str(system.folder.resolve()).encode(), digest_size=4).hexdigest()
    return f"chaoskit-{run}-{toxic_prefix(fault_id)}" + (f"~{part}" if part else "")


class EdgeFault(Fault):
    """Base of faults that are toxics. Kinds say which toxics, and what proves that they bit."""

    acts_on: ClassVar[str] = "edges"

    @abstractmethod
    def toxics(self, edge: Edge) -> Sequence[Toxic]:
        """What it puts on one edge. Pure."""

    @abstractmethod
    def bite(self, seen: Seen) -> Bite:
        """Whether it bit one of its places, from what was seen there. Pure. Calls are known to have crossed."""

    def undo(self, system: System) -> Sequence[Undo]:
        return [
            system.proxy(edge).undo_toxics([toxic_name(system, self.id, toxic.part) for toxic in self.toxics(edge)])
            for edge in self.edges(system.topology)
        ]

    def inject(self, system: System) -> None:
        edges = self.edges(system.topology)
        if len(edges) == 1:
            self._inject_on(system, edges[0])
            return
        with ThreadPoolExecutor(max_workers=min(len(edges), 16)) as pool:
            for _ in pool.map(lambda edge: self._inject_on(system, edge), edges):
                pass

    def _inject_on(self, system: System, edge: Edge) -> None:
        proxy = system.proxy(edge)
        for toxic in self.toxics(edge):
            proxy.add_toxic(
                toxic_name(system, self.id, toxic.part),
                toxic.type,
                stream=toxic.stream,
                toxicity=toxic.toxicity,
                attributes=toxic.attributes,
            )

    def trace(self, history: History) -> Trace:
        """It bit if it bit at every place that `on` names; then what the load and the health checks saw is told too."""
        span = history.fault(self.id)
        if span.active is None:
            return Trace(fault=self.id, bit=False, because=f"{self.says()} was never put in")
        seen = [Seen(history, self.id, place, toxic_prefix(self.id)) for place in self.places]
        bites = [self._bite_at(place) for place in seen]
        bit = all(bite.bit for bite in bites)
        said = [bite.because for bite in bites]
        if bit:  # else why it did not is the last that is said
            said += seen[0].beside()
        return Trace(fault=self.id, bit=bit, because="; ".join(said), evidence=(span.active,))

    def _bite_at(self, seen: Seen) -> Bite:
        return seen.silence() or self.bite(seen)


class SharedFault(EdgeFault):
    """Base of faults that may act on a share of the connections only."""

    share: Share = Field(default=1.0, gt=0.0, le=1.0)
    """Share of the connections that it acts on, rolled for each connection."""

    def shared_words(self, words: str) -> str:
        """`words`, with the share where it is not all."""
        return words if self.share == 1.0 else f"{words} for {self.share * 100:g}% of connections"
