"""chaoskit plan: show the timeline, the blast radius and what will run; start nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaoskit.errors import UsageError

if TYPE_CHECKING:
    from chaoskit.cli.console import Screen
    from chaoskit.experiment import Experiment, Variant
    from chaoskit.target import Target

__all__ = ["command"]

_WIDEST = 100


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE_OR_FOLDER...")
@click.option("--variant", metavar="NAME", help="Show this variant's environment.")
@click.option("--deployer", metavar="KIND", help="Instead of the file's.")
def command(paths: tuple[Path, ...], variant: str | None, deployer: str | None) -> None:
    """Show when what will happen, what faults may touch, and which commands and files will run. Nothing is started."""
    from chaoskit.cli.common.files import experiment_files
    from chaoskit.cli.console import Screen
    from chaoskit.reading import load, load_target

    screen = Screen()
    for file in experiment_files(paths):
        experiment = load(file, deployer=deployer)
        if variant is not None and variant not in experiment.variants:
            known = ", ".join(experiment.variants) or "none"
            raise UsageError(f"no variant {variant!r} in {file}; there are: {known}")
        _plan(screen, experiment, load_target(experiment.target, near=file), variant)


def _plan(screen: Screen, experiment: Experiment, target: Target, variant: str | None) -> None:
    screen.line((experiment.title, "bold"))
    screen.line((f"{experiment.file}  seed {experiment.seed}  deployer {experiment.deployer}", "dim"))
    if experiment.description:
        screen.line()
        for line in experiment.description.strip().splitlines():
            screen.line(line.strip(), indent=2)
    sections = (
        ("Timeline", _timeline(experiment, min(screen.width, _WIDEST) - 4)),
        ("Load", _load(experiment)),
        ("Faults", _faults(experiment, target)),
        ("Blast radius", _blast_radius(experiment, target)),
        ("What is moved", _moved(experiment, target)),
        ("What must be pointed at proxies", _to_point(experiment, target)),
        ("Hypotheses", _hypotheses(experiment)),
        ("Variants", _variants(experiment, variant)),
        ("What will run", _programs(experiment, target, experiment.variants.get(variant or ""))),
    )
    for title, lines in sections:
        rows = list(lines)
        if rows:
            screen.line()
            screen.line((title, "bold"))
            for row in rows:
                screen.line(row, indent=2)
    screen.line()


def _timeline(experiment: Experiment, width: int) -> Iterator[str]:
    """Phases to scale, then one bar for each fault and abort condition."""
    spans = {phase.value: span for phase, span in experiment.phases.spans().items() if span[1] > span[0]}
    total = experiment.phases.total
    if not spans or total <= 0:
        return
    least = max(len(name) for name in spans) + 2
    width = max(width, least * len(spans) + 8)
    columns = _columns([end - start for start, end in spans.values()], width - 8, least)
    marks, bars, at = "", "", 0
    edges: list[tuple[float, int]] = [(0.0, 0)]
    for (name, (start, end)), length in zip(spans.items(), columns, strict=True):
        marks = marks.ljust(at) + f"{start:g} s"
        bars += "│" + f" {name}".ljust(length - 1)[: length - 1]
        at += length
        edges.append((end, at))
    yield marks.ljust(at) + f"{total:g} s"
    yield bars + "│"
    if "fault" in spans:
        begin, finish = spans["fault"]
        for fault in experiment.faults:
            start = begin + fault.at
            end = min(finish, start + fault.lasts) if fault.lasts is not None else finish
            left, right = _column(start, edges), _column(end, edges)
            yield " " * left + "█" * max(right - left, 1) + f" {fault.says()} on {', '.join(fault.places)}"
    for condition in experiment.abort_when:
        yield f"aborts when {condition.text}"
    steps = [f"setup: {len(experiment.setup)} requests before it"] * bool(experiment.setup)
    steps += [f"verify: {len(experiment.verify)} requests after it"] * bool(experiment.verify)
    yield from steps


def _columns(lengths: list[float], width: int, least: int) -> list[int]:
    """Widths to scale, each at least so wide that its name fits."""
    total = sum(lengths)
    return [max(least, round(width * length / total)) for length in lengths]


def _column(at: float, edges: list[tuple[float, int]]) -> int:
    for (start, left), (end, right) in pairwise(edges):
        if start <= at <= end and end > start:
            return round(left + (right - left) * (at - start) / (end - start))
    return edges[-1][1]


def _load(experiment: Experiment) -> Iterator[str]:
    from chaoskit.model.units import duration_text

    load = experiment.load
    if load.rate is not None:
        yield f"open: {load.rate:g}/s, {load.arrivals} arrivals"
    elif load.users is not None:
        yield f"closed: {load.users} users"
    for stage in load.stages:
        level = f"{stage.rate:g}/s" if stage.rate is not None else f"{stage.users} users"
        ramp = f" (ramp {duration_text(stage.ramp)})" if stage.ramp else ""
        yield f"stage: {level} for {duration_text(stage.for_)}{ramp}"
    if load.locustfile:
        yield f"users of {load.locustfile}"
    weights = sum(request.weight for request in load.requests if not request.once)
    for request in load.requests:
        share = "once" if request.once else f"{request.weight / weights:.0%}" if weights else ""
        title = f"{request.title}  " if request.name else ""
        yield f"{share:>4}  {title}{request.method} {request.path}"
    spans = experiment.phases.spans()
    if load.open:
        planned = load.planned(0.0, experiment.phases.total)
        each = ", ".join(f"{load.planned(*span):.0f} in {phase}" for phase, span in spans.items() if span[1] > span[0])
        yield f"{planned:.0f} requests planned: {each}"


def _faults(experiment: Experiment, target: Target) -> Iterator[str]:
    from chaoskit.registry import find

    topology = target.topology()
    deployer = find("deployers", experiment.deployer)
    for fault in experiment.faults:
        touched = [edge.name for edge in fault.edges(topology)] or fault.replicas(topology)
        means = f", by {by}" if (by := fault.uses(deployer)) else ""
        yield f"{fault.id}: {fault.says()} on {', '.join(touched)}{means}"


def _blast_radius(experiment: Experiment, target: Target) -> Iterator[str]:
    topology = target.topology()
    for place in experiment.blast_radius:
        found = (
            [edge.name for edge in topology.select_edges(place)] if "->" in place else topology.select_replicas(place)
        )
        yield f"{place}: {', '.join(found)}" if found != [place] else place
    broken = [place for fault in experiment.faults for place in fault.places]
    bystanders = topology.bystanders(broken) if broken else set()
    if bystanders:
        yield f"bystanders (must not notice): {', '.join(sorted(bystanders))}"


def _to_point(experiment: Experiment, target: Target) -> Sequence[str]:
    """What somebody must point at proxies, where they can be reached."""
    from chaoskit.registry import find

    return target.to_point() if find("deployers", experiment.deployer).on_loopback else ()


def _moved(experiment: Experiment, target: Target) -> Iterator[str]:
    """What of somebody else's the deployer changes while the run lasts."""
    from chaoskit.registry import find

    yield from find("deployers", experiment.deployer).announces(target, experiment.blast_radius)


def _hypotheses(experiment: Experiment) -> Iterator[str]:
    for claim in experiment.steady_state:
        yield f"steady state: {claim.expected()}"
    for claim in experiment.hypotheses:
        name = f"{claim.title}: " if claim.name else ""
        yield f"{name}{claim.expected()}  in {' and '.join(claim.phases)}"


def _variants(experiment: Experiment, only: str | None) -> Iterator[str]:
    for name, variant in experiment.variants.items():
        if only is None or name == only:
            breaks = f", breaking {' and '.join(variant.breaks)}" if variant.breaks else ""
            env = [f"{service}: {key}={value}" for service, more in variant.env.items() for key, value in more.items()]
            yield f"{name}: expected {variant.expect}{breaks}" + (f"  ({', '.join(env)})" if env else "")


def _programs(experiment: Experiment, target: Target, variant: Variant | None) -> Iterator[str]:
    """Everything that starts, by name: an experiment file itself runs no code."""
    yield f"target {target.name} ({target.file}), services start in {target.workdir}"
    for name, service in target.services.items():
        times = f" × {service.replicas}" if service.replicas > 1 else ""
        how = service.run or (f"a real {service.provides}" if service.provides else "")
        adopted = target.adopted(name)
        if experiment.deployer == "external" and adopted is not None:
            how = f"nothing: runs already, {adopted.says}"
        how = how or (f"nothing: runs already at {service.url}" if service.url else f"image {service.image}")
        if service.build and not service.run and not service.image:
            how = f"image built from {service.build}"
        yield f"{name}{times}: {how}"
        for key, value in (variant.env.get(name, {}) if variant else {}).items():
            yield f"    {key}={value}"
    for file in (experiment.load.locustfile, *experiment.load.listeners):
        if file:
            yield f"Python code of {file} in the load worker"
    if experiment.allow_hosts:
        yield f"load may go to {', '.join(experiment.allow_hosts)} (with --allow-host)"
