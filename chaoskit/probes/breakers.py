"""How circuit breakers tell their state in metrics, and which edge each of them stands on.

resilience4j_circuitbreaker_state{name="payments", state="open"} 1          a sample for each state, 1 is the one
circuit_breaker_state{circuit="payments"} 2                                 a number; the help text says which
envoy_cluster_circuit_breakers_default_rq_open{envoy_cluster_name="payments"} 1     open or not
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

from chaoskit.model.topology import Topology

__all__ = ["BreakerMetrics", "numbered_states"]

_STATE_METRIC = re.compile(
    r"(circuit_?breaker|breaker|circuit)\w*_(state|status)$|(circuit_?breaker|breaker|circuit)_state"
)
_OPEN_METRIC = re.compile(r"(circuit_?breakers?|breaker|circuit)\w*_(is_)?open$")
_NUMBERED = re.compile(
    r"\b([0-9])\s*(?:=|:|->|-|–|is|means|for|\()?\s*\"?'?(closed|half[-_ ]?open(?:ed)?|open(?:ed)?)\b", re.IGNORECASE
)
_NAMED = re.compile(r"\b(closed|half[-_ ]?open(?:ed)?|open(?:ed)?)\"?'?\s*(?:=|:|->|is|\()\s*([0-9])\b", re.IGNORECASE)

_LETS_THROUGH = ("open", "half_open", "unknown", "closed")


def state_of(word: str) -> str:
    """closed · open · half_open, however it is spelt; `unknown` for any other word."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    if letters.startswith("half"):
        return "half_open"
    if letters in ("open", "opened", "forcedopen", "tripped"):
        return "open"
    return "closed" if letters in ("closed", "close", "disabled", "metricsonly") else "unknown"


def numbered_states(help_text: str) -> dict[int, str]:
    """What the numbers of a state metric mean, as its help text says: `0=closed, 1=open, 2=half-open`, either order."""
    found = {int(number): state_of(word) for number, word in _NUMBERED.findall(help_text)}
    return found or {int(number): state_of(word) for word, number in _NAMED.findall(help_text)}


class BreakerMetrics:
    """Reads the breakers on one replica's pages. Several on one edge (one a callee's replica, one a limit) count as
    the one of them that lets the least through."""

    def __init__(self, topology: Topology, replica: str) -> None:
        self._replica = replica
        callees = [edge for edge in topology.edges if edge.caller == replica]
        self._edges = {edge.callee: edge.name for edge in callees}
        self._edges |= {edge.called_service: f"{replica}->{edge.called_service}" for edge in callees}
        self._page: dict[str, str] = {}
        self._last: dict[str, str] = {}
        self._silent: set[str] = set()
        """Edges of which the last page told nothing."""

    def read(self, name: str, labels: Mapping[str, str], value: float, help_text: str) -> None:
        """Take one sample of a page."""
        state = _state(name, labels, value, help_text)
        if state and (edge := self._edge(labels)):
            self._page[edge] = min(state, self._page.get(edge, state), key=_LETS_THROUGH.index)

    def changes(self) -> list[tuple[str, str]]:
        """(edge, state) of what this page, now read, tells otherwise than those before. A breaker of which two pages on
        end tell nothing (not read, or they do not name it) is unknown; a single one may just have been slow."""
        silent = self._last.keys() - self._page.keys()
        told = {**self._last, **dict.fromkeys(silent & self._silent, "unknown"), **self._page}
        changed = [(edge, state) for edge, state in told.items() if self._last.get(edge) != state]
        self._last, self._page, self._silent = told, {}, silent
        return changed

    def _edge(self, labels: Mapping[str, str]) -> str:
        """The edge that a breaker's labels name: a callee's name, whole or as one word of a value. One without labels
        is on the edge of a caller that has no other."""
        values = [value for key, value in labels.items() if key != "state"]
        for value in values:
            if value in self._edges:
                return self._edges[value]
        text = " ".join(values).lower()
        named = {
            edge
            for callee, edge in self._edges.items()
            if re.search(rf"(?<![a-z0-9]){re.escape(callee)}(?![a-z0-9])", text)
        }
        if len(named) == 1:
            return named.pop()
        if text:  # it guards something else, or nobody knows what
            return ""
        services = {edge for edge in self._edges.values() if "." not in edge.partition("->")[2]}
        return services.pop() if len(services) == 1 else ""


def _state(name: str, labels: Mapping[str, str], value: float, help_text: str) -> str:
    """The state that one sample tells; empty where it tells none."""
    lower = name.lower()
    if _OPEN_METRIC.search(lower):
        return "unknown" if not isfinite(value) else "open" if value else "closed"
    if not _STATE_METRIC.search(lower):
        return ""
    if not isfinite(value):
        return "unknown"
    if "state" in labels:
        return state_of(labels["state"]) if value == 1 else ""
    return numbered_states(help_text).get(int(value), "closed" if value == 0 else "unknown")
