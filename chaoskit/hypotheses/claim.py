"""What every judge shares: parts of a claim, how they merge into one finding, and how a number meets its bound."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from pydantic import ConfigDict, Field

from chaoskit.interfaces import Hypothesis
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.topology import Topology
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.wording import did_you_mean

__all__ = [
    "Claim",
    "JudgeBy",
    "Part",
    "compared",
    "finding",
    "unknown_edge",
    "unknown_name",
    "unknown_request",
    "unknown_service",
]

JudgeBy = Literal["interval", "point"]


class Part(NamedTuple):
    """One part of a claim, judged: fields as in Finding. `because` follows on `about` (its subject) where there is one:
    parts with the same subject are told as one sentence."""

    verdict: Verdict
    because: str
    measured: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    phase: str = ""
    samples: int = 0
    evidence: tuple[Span, ...] = ()
    lane: str = ""
    about: str = ""
    bound: float | None = None


class Claim(Hypothesis):
    """A hypothesis whose numbers have intervals."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    judge_by: JudgeBy | None = Field(default=None, alias="judge")
    """`interval` (default): a bound inside the measured interval is too close to call. `point`: the measured value
    alone decides."""

    @property
    def by_point(self) -> bool:
        return self.judge_by == "point"

    def judged_phases(self, history: History) -> tuple[Phase, ...]:
        """Its phases, or the one window of a plain load run."""
        return (Phase.LOAD,) if Phase.LOAD in history.windows else self.phases


_ORDER = (Verdict.REFUTED, Verdict.INCONCLUSIVE, Verdict.SUPPORTED)


def finding(claim: Hypothesis, parts: Sequence[Part]) -> Finding:
    """The worst of the parts, in the words of all that are as bad. Nothing judged is inconclusive."""
    if not parts:
        parts = [Part(Verdict.INCONCLUSIVE, "there was nothing to judge")]
    worst = next(verdict for verdict in _ORDER if any(part.verdict is verdict for part in parts))
    told = [part for part in parts if part.verdict is worst]
    first = told[0]
    return Finding(
        hypothesis=claim.title,
        kind=claim.kind,
        verdict=worst,
        because=_sentence(told),
        expected=claim.expected(),
        measured=first.measured,
        unit=first.unit,
        interval=first.interval,
        bound=first.bound,
        phase=first.phase,
        samples=first.samples,
        evidence=tuple(span for part in told for span in part.evidence) if worst is Verdict.REFUTED else first.evidence,
        lane=first.lane,
    )


def _sentence(parts: Sequence[Part]) -> str:
    told: list[str] = []
    before = ""
    for part in parts:
        subject = "it" if part.about and part.about == before else part.about
        said = f"{subject} {part.because}" if subject else part.because
        before = part.about
        if said not in told:
            told.append(said)
    return "; ".join(told)


def compared(
    value: float, interval: tuple[float, float] | None, *, most: float | None = None, least: float | None = None
) -> Verdict:
    """A number against its bound: inconclusive where the bound lies inside the interval; without one the value says."""
    low, high = interval if interval is not None else (value, value)
    if value != value or low != low or high != high:
        return Verdict.INCONCLUSIVE
    above = most is not None and low > most
    below = least is not None and high < least
    if above or below:
        return Verdict.REFUTED
    held = (most is None or high <= most) and (least is None or low >= least)
    return Verdict.SUPPORTED if held else Verdict.INCONCLUSIVE


def unknown_request(name: str, names: Sequence[str], key: str = "of") -> list[tuple[str, str]]:
    """Says so where `name` (a name, a glob, or empty for all) means no request; nothing where names are unknown."""
    if not name or not names or any(name == one or fnmatchcase(one, name) for one in names):
        return []
    return [(key, f"no request {name!r} in the load; there are: {', '.join(names)}")]


def unknown_name(what: str, name: str, known: Collection[str], key: str) -> list[tuple[str, str]]:
    """Says so where nothing is called `name`, with what is called nearly so: `no mark 'degradd'; did you mean …`."""
    if name in known:
        return []
    return [(key, f"no {what} {name!r}; {did_you_mean(name, known) or 'there is none'}")]


def unknown_edge(name: str, topology: Topology, key: str = "edge") -> list[tuple[str, str]]:
    try:
        topology.select_edges(name)
    except ValueError as error:
        return [(key, str(error))]
    return []


def unknown_service(name: str, topology: Topology, key: str = "service") -> list[tuple[str, str]]:
    try:
        topology.select_replicas(name)
    except ValueError as error:
        return [(key, str(error))]
    return []
