"""What can be known to fail before anything starts: names, files, the blast radius, the deployer's powers, what faults
find on this machine, samples.

Pure functions of an experiment, its target, and what is there. Paths are those of the file, so that `reading`
can say the line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from chaoskit.document import Path_
from chaoskit.experiment import GATE_MARGIN, Experiment
from chaoskit.interfaces import Deployer, Fault, Hypothesis, Named
from chaoskit.model.history import Phase, Span
from chaoskit.model.observation import SLOT
from chaoskit.model.topology import Topology
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Verdict
from chaoskit.registry import kinds
from chaoskit.target import Target
from chaoskit.traffic import LoadSpec
from chaoskit.wording import Mistake, did_you_mean, keys_of

__all__ = ["Planned", "check", "planned_samples", "samples"]

_VARIANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")


def check(
    experiment: Experiment,
    target: Target | None,
    *,
    doubtful: Collection[str] = (),
    numbers: Mapping[str, Sequence[int]] | None = None,
) -> list[Mistake]:
    """All that does not fit together.

    `target` is None where it could not be read; `doubtful` are keys of the experiment that hold a stand-in; `numbers`
    are the places in the file of the items that could be read, for each list.
    """
    return list(_Checks(experiment, target, frozenset(doubtful), numbers or {}).all())


class _Checks:
    def __init__(
        self,
        experiment: Experiment,
        target: Target | None,
        doubtful: frozenset[str],
        numbers: Mapping[str, Sequence[int]],
    ) -> None:
        self.experiment = experiment
        self.target = target
        self.topology: Topology | None = target.topology() if target else None
        self.doubtful = doubtful
        self.numbers = numbers

    def _numbered(self, key: str) -> Iterator[tuple[Path_, Fault | Hypothesis]]:
        items: Sequence[Fault | Hypothesis] = getattr(self.experiment, key)
        places = self.numbers.get(key) or range(len(items))
        yield from (((key, place), item) for place, item in zip(places, items, strict=True))

    def all(self) -> Iterator[Mistake]:
        yield from self._deployer()
        yield from self._blast_radius()
        for path, item in self._numbered("faults"):
            assert isinstance(item, Fault), "what is in faults was read as one"
            yield from self._fault(path, item)
        for key in ("steady_state", "hypotheses"):
            for path, item in self._numbered(key):
                assert isinstance(item, Hypothesis), "what is in there was read as one"
                yield from self._claim(path, item)
        yield from self._baseline()
        yield from self._variants()
        yield from self._aborts()
        yield from self._files()

    def _files(self) -> Iterator[Mistake]:
        """Every file that the load names is there, beside the experiment."""
        load = self.experiment.load
        named: list[tuple[Path_, str]] = [(("load", "locustfile"), load.locustfile)] if load.locustfile else []
        named += [(("load", "listeners", place), name) for place, name in enumerate(load.listeners)]
        for name, feed in load.data.items():
            named += [(("load", "data", name, key), path) for key in ("csv", "jsonl") if (path := getattr(feed, key))]
        root = self.experiment.file.parent if self.experiment.file else Path()
        for path, name in named:
            wanted = root / Path(name).expanduser()
            if not wanted.is_file():
                beside = [one.name for one in wanted.parent.iterdir()] if wanted.parent.is_dir() else []
                yield Mistake(path, f"there is no file {wanted}", did_you_mean(wanted.name, beside, all_of_them=False))

    # ------------------------------------------------------------------------------------------------------- faults

    def _deployer(self) -> Iterator[Mistake]:
        known = kinds("deployers")
        if self.experiment.deployer not in known:
            hint = did_you_mean(self.experiment.deployer, known)
            yield Mistake(("deployer",), f"no deployer of kind {self.experiment.deployer!r}", hint)
            return
        deployer = known[self.experiment.deployer]
        for path, fault in self._numbered("faults"):
            assert isinstance(fault, Fault), "what is in faults was read as one"
            if missing := fault.needs - deployer.can:
                able = [kind for kind, one in known.items() if fault.needs <= one.can]
                hint = f"deployer: {able[0]} can" if able else ""
                what = f"{fault.kind} needs a deployer that can {' and '.join(sorted(missing))}"
                yield Mistake((*path, "kind"), f"{what}; {self.experiment.deployer} cannot", hint)
            else:
                yield from self._powers(path, fault, deployer)
                for key, message in fault.obstacles(deployer):
                    yield Mistake((*path, *_steps(key)), *_split(message))
        if self.target is not None and "deployer" not in self.doubtful:
            yield from self._ways(deployer, known)

    def _powers(self, path: Path_, fault: Fault, deployer: type[Deployer]) -> Iterator[Mistake]:
        """A deployer may be able to do less to a service that it did not start."""
        if self.target is None or self.topology is None or not fault.needs:
            return
        try:
            names = {replica.partition(".")[0] for replica in fault.replicas(self.topology)}
        except ValueError:
            return  # it names what is not there, which is told elsewhere
        for name in sorted(names):
            if missing := fault.needs - deployer.able(self.target.services[name]):
                what = f"{fault.kind} needs to {' and '.join(sorted(missing))} what runs as {name}"
                yield Mistake((*path, "on"), f"{what}; {deployer.kind} only knows its url")

    def _ways(self, deployer: type[Deployer], known: Mapping[str, type[Deployer]]) -> Iterator[Mistake]:
        """Every service is one that the deployer can put up, and so are all of them together."""
        assert self.target is not None, "asked before"
        key = ("deployer",) if "deployer" in self.experiment.model_fields_set else ("target",)
        for name in self.target.services:
            ways = self.target.ways(name)
            if not ways & deployer.takes:
                able = [kind for kind, one in known.items() if ways & one.takes]
                what = f"deployer {deployer.kind} cannot put up {name}, which has {' and '.join(sorted(ways))}"
                yield Mistake(key, what, f"deployer: {able[0]} can" if able else "")
        yield from (Mistake(key, what) for what in deployer.refuses(self.target))

    def _blast_radius(self) -> Iterator[Mistake]:
        written = self.experiment.blast_radius
        if "faults" in self.doubtful or "blast_radius" in self.doubtful:
            return
        if self.experiment.faults and not written:
            places = list(dict.fromkeys(place for fault in self.experiment.faults for place in fault.places))
            path = ("blast_radius",) if "blast_radius" in self.experiment.model_fields_set else ("faults",)
            what = "expected a blast_radius with faults: the edges and services that they may touch"
            yield Mistake(path, what, f"blast_radius: [{', '.join(places)}]", key=True)
        if self.topology is None:
            return
        for number, place in enumerate(written):
            try:
                _selected(self.topology, place)
            except ValueError as error:
                yield Mistake(("blast_radius", number), *_split(error))

    def _fault(self, path: Path_, fault: Fault) -> Iterator[Mistake]:
        yield from self._window(path, fault)
        if self.topology is None:
            return
        for number, place in enumerate(fault.places):
            where: Path_ = (*path, "on") if isinstance(fault.on, str) else (*path, "on", number)
            yield from self._place(where, fault, place, self.topology)
        try:
            unfit = fault.check(self.topology)
        except ValueError:  # it asked for a place that is not there, which is told above
            unfit = ()
        for key, message in unfit:
            yield Mistake((*path, *_steps(key)), *_split(message))

    def _place(self, where: Path_, fault: Fault, place: str, topology: Topology) -> Iterator[Mistake]:
        if (fault.acts_on == "edges") != ("->" in place):
            edges = {edge.calling_service + "->" + edge.called_service for edge in topology.edges}
            fitting = [edge for edge in edges if place in edge.split("->")] if fault.acts_on == "edges" else []
            service = place.rpartition("->")[2].strip()
            hint = f"such as {min(fitting)}" if fitting else f"such as {service}" if "->" in place else ""
            message = f"{fault.kind} acts on {fault.acts_on}, not on {'edges' if '->' in place else 'services'}"
            yield Mistake(where, message, hint)
            return
        try:
            touched = _selected(topology, place)
        except ValueError as error:
            yield Mistake(where, *_split(error))
            return
        if not self.experiment.blast_radius or "blast_radius" in self.doubtful:
            return
        allowed: set[str] = set()
        for entry in self.experiment.blast_radius:
            try:
                allowed |= _selected(topology, entry)
            except ValueError:
                return  # told already; what it meant to allow is not known
        if outside := sorted(touched - allowed):
            yield Mistake(where, f"{', '.join(outside)} is outside the blast radius", f"add {place} to blast_radius")

    def _window(self, path: Path_, fault: Fault) -> Iterator[Mistake]:
        if "phases" in self.doubtful:
            return
        phase = self.experiment.phases.fault
        if fault.lasts is not None and fault.lasts <= 0:
            yield Mistake((*path, "lasts"), "expected a fault that lasts longer than nothing")
        elif fault.at >= phase:
            what = f"goes in at {duration_text(fault.at)}, but the fault phase lasts {duration_text(phase)}"
            yield Mistake((*path, "at"), what, "at counts from the start of the fault phase")
        elif fault.lasts is not None and fault.at + fault.lasts > phase + 1e-9:
            end = duration_text(fault.at + fault.lasts)
            what = f"would end {end} into the fault phase, which lasts {duration_text(phase)}"
            hint = f"at most {duration_text(phase - fault.at)}, or a longer fault phase"
            yield Mistake((*path, "lasts"), what, hint)

    # ------------------------------------------------------------------------------------------------------- claims

    def _claim(self, path: Path_, claim: Hypothesis) -> Iterator[Mistake]:
        steady = path[0] == "steady_state"
        if steady and claim.as_bound() is None:
            able = [kind for kind, one in kinds("hypotheses").items() if one.as_bound is not Hypothesis.as_bound]
            what = f"{claim.expected()} cannot be part of a steady state"
            yield Mistake((*path, "kind"), what, f"absolute bounds of {', '.join(able)} can")
        if self.topology is not None:
            names = () if "load" in self.doubtful else self.experiment.load.names
            for key, message in claim.check(self.topology, names):
                yield Mistake((*path, *_steps(key)), *_split(message))
        if not {"load", "verify"} & self.doubtful:
            for key, message in claim.check_names(self._named()):
                yield Mistake((*path, *_steps(key)), *_split(message))
        yield from self._phases(path, claim)

    def _faults_end(self, fault: Span) -> float:
        """When the last fault is out: recovery is watched from there on."""
        ends = [fault[1] if one.lasts is None else fault[0] + one.at + one.lasts for one in self.experiment.faults]
        return min(max(ends, default=fault[1]), fault[1])

    def _baseline(self) -> Iterator[Mistake]:
        """The steady state can be judged before the injection: each of its bounds has a request, or all together."""
        if "phases" in self.doubtful:
            return
        start, end = self.experiment.phases.judged_baseline
        if start >= end:
            least = duration_text(GATE_MARGIN + 2 * SLOT)
            lasts = duration_text(self.experiment.phases.baseline)
            what = f"expected a baseline of at least {least}, not {lasts}: the steady state is judged before its end"
            yield Mistake(("phases", "baseline"), what)
        elif "load" not in self.doubtful:
            claims = [(path, str(getattr(claim, "of", "") or "")) for path, claim in self._numbered("steady_state")]
            for path, of in claims or [(("phases", "baseline"), "")]:
                planned = planned_samples(self.experiment.load, start, end, of)
                if planned is not None and planned + 1e-6 < 1.0:
                    what = f"no request{f' of {of}' if of else ''} is planned in the {duration_text(end - start)}"
                    yield Mistake(path, f"{what} of baseline in which the steady state is judged", "a longer baseline")

    def _named(self) -> Named:
        load = self.experiment.load
        steps = [step for request in load.requests for step in request.steps()]
        told = [step.tells.as_ for step in steps if step.tells is not None]
        return Named(load.marks, told, [step.name or f"{step.method} {step.path}" for step in self.experiment.verify])

    def _phases(self, path: Path_, claim: Hypothesis) -> Iterator[Mistake]:
        """Each phase it is judged in is there, and long enough for its samples."""
        if "phases" in self.doubtful:
            return
        spans = self.experiment.phases.spans()
        phases = (Phase.BASELINE,) if path[0] == "steady_state" else claim.phases
        for number, phase in enumerate(phases):
            if phase in spans and spans[phase][0] == spans[phase][1]:
                where: Path_ = (*path, "holds_in", number) if claim.holds_in else (*path, "kind")
                yield Mistake(where, f"is judged in {phase}, which this experiment does not have", "give it a length")
        if path[0] == "steady_state":
            return  # a gate on the measured value itself: it needs a request, and `_baseline` tells where there is none
        for phase in phases:
            length = spans[phase][1] - spans[phase][0] if phase in spans else math.inf
            if phase is Phase.RECOVERY and length > 0.0:
                length = max(length, spans[phase][1] - self._faults_end(spans[Phase.FAULT]))
            if 0.0 < length < claim.seconds_needed() - 1e-6:
                needed = duration_text(claim.seconds_needed())
                lasts = f"it lasts {duration_text(length)}"
                point = ", or judge: point" if "judge" in keys_of(type(claim)) else ""
                what = f"{claim.expected()} needs {needed} of {phase}{' for its interval' if point else ''}; {lasts}"
                yield Mistake(path, what, f"a {phase} phase of {needed}{point}")
        if "load" in self.doubtful:
            return
        for one in samples(self.experiment, claim, phases):
            there = spans[one.phase][0] < spans[one.phase][1]
            if there and one.planned is not None and one.planned + 1e-6 < one.needed:
                of = f" of {one.of}" if one.of else ""
                planned = f"{math.floor(one.planned + 1e-6)} are planned" if one.planned >= 1 else "none is planned"
                what = f"{claim.expected()} needs {one.needed} requests{of} in {one.phase}; {planned}"
                yield Mistake(path, what, _long_enough(one, spans[one.phase]))

    # --------------------------------------------------------------------------------------------------------- rest

    def _variants(self) -> Iterator[Mistake]:
        titles = {claim.title for claim in self.experiment.hypotheses}
        for name, variant in self.experiment.variants.items():
            if not _VARIANT.fullmatch(name):
                what = "expected a name of letters, digits, spaces, dots, _ and -"
                yield Mistake(("variants", name), f"{what}, not {name!r}", key=True)
            if variant.breaks and variant.expect is not Verdict.REFUTED:
                what = f"breaks goes with expect: refuted, not with {variant.expect.value}"
                yield Mistake(("variants", name, "breaks"), what, key=True)
            if "hypotheses" not in self.doubtful:
                for number, broken in enumerate(variant.breaks):
                    if broken not in titles:
                        hint = did_you_mean(broken, titles)
                        yield Mistake(("variants", name, "breaks", number), f"no hypothesis named {broken!r}", hint)
            if self.target is not None:
                for service in variant.env:
                    if service not in self.target.services:
                        hint = did_you_mean(service, self.target.services)
                        what = f"no service {service!r} in target {self.target.name}"
                        yield Mistake(("variants", name, "env", service), what, hint, key=True)

    def _aborts(self) -> Iterator[Mistake]:
        if "load" in self.doubtful or not self.experiment.load.names:
            return
        for number, condition in enumerate(self.experiment.abort_when):
            names = self.experiment.load.names
            if condition.of and not any(fnmatchcase(name, condition.of) for name in names):
                hint = did_you_mean(condition.of, names)
                yield Mistake(("abort_when", number), f"no request {condition.of!r} in the load", hint)


class Planned(NamedTuple):
    """Requests that a claim needs in one phase, and those that the load plans there (None where nobody can tell)."""

    phase: Phase
    of: str
    needed: int
    planned: float | None


def samples(experiment: Experiment, claim: Hypothesis, phases: Sequence[Phase] | None = None) -> list[Planned]:
    """What `claim` needs and gets in each of its phases (or in those given)."""
    of = getattr(claim, "of", "")
    of = of if isinstance(of, str) else ""
    spans = experiment.phases.spans()
    found = []
    for phase in claim.phases if phases is None else phases:
        if phase in spans:
            planned = planned_samples(experiment.load, *spans[phase], of)
            found.append(Planned(phase, of, claim.samples_under(experiment.bounds()), planned))
    return found


def planned_samples(load: LoadSpec, begin: float, end: float, of: str = "") -> float | None:
    """Requests called `of` (a glob; empty for all) between two instants from the load's start.

    None for users who wait for their answers, and for what follows something that nobody can count beforehand.
    """
    if not load.open:
        return None
    mix = [request for request in load.requests if not request.once]
    matches: Callable[[str], bool] = lambda name: not of or name == of or fnmatchcase(name, of)  # noqa: E731 - three lines as a def
    whole = sum(request.weight for request in mix)
    share = sum(r.weight / whole * sum(matches(step.title) for step in r.steps()) for r in mix)
    return load.planned(begin, end) * share


def _selected(topology: Topology, place: str) -> set[str]:
    """Names of the edges or replicas that a place means. Raises ValueError."""
    if "->" in place:
        return {edge.name for edge in topology.select_edges(place)}
    return set(topology.select_replicas(place))


def _split(message: object) -> tuple[str, str]:
    """A message and its suggestion, apart."""
    what, _, hint = str(message).partition("; ")
    return what, hint


def _steps(key: str) -> Path_:
    """`edges.0` or `edge` as a path."""
    return tuple(int(step) if step.isdigit() else step for step in key.split(".")) if key else ()


def _long_enough(one: Planned, span: tuple[float, float]) -> str:
    """The length at which the same load would give enough."""
    length = span[1] - span[0]
    if not one.planned or not length:
        return ""
    return f"a {one.phase} phase of {math.ceil(length * one.needed / one.planned):d}s would do"
