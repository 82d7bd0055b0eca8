"""chaoskit up: put a target up for a game day, with a proxy on every edge"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaoskit.errors import UsageError

if TYPE_CHECKING:
    from chaoskit.cli.console import Screen
    from chaoskit.experiment import Experiment
    from chaoskit.studies.gameday import UpAsked
    from chaoskit.studies.live import Status

__all__ = ["command"]


@click.command()
@click.argument("what", metavar="TARGET|EXPERIMENT")
@click.option("--for", "lasts", metavar="TIME", default="30m", show_default=True, help="It goes down by itself then.")
@click.option("--variant", metavar="NAME", help="Of the experiment: the environment of its services.")
@click.option("--env", "env", multiple=True, metavar="SERVICE.NAME=VALUE",
              help="A variable of a service, over that of the target (may be repeated).")  # fmt: skip
@click.option("--deployer", metavar="KIND", help="process, docker, external (default: the experiment's, or process).")
@click.option("--toxiproxy", metavar="embedded|real|URL", help="Whose proxies (default: $CHAOSKIT_TOXIPROXY).")
@click.option("--load", "load_file", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="Send the load of this file: an experiment, or a load file.")  # fmt: skip
@click.option("--rate", metavar="RATE", help="Send open load, such as 20/s: to --path, or instead of the file's rate.")
@click.option("--users", type=click.IntRange(1), help="The same with so many users who wait for their answers.")
@click.option("--path", "paths", multiple=True, help="What the load asks of the entry (default: /; may be repeated).")
@click.option("--no-load", is_flag=True, help="Of an experiment: without its load.")
@click.option("--blast-radius", "blast_radius", multiple=True, metavar="PLACE",
              help="Faults may touch this edge or service alone (may be repeated; default: all).")  # fmt: skip
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Load may go there (repeatable).")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True)
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True,
              help="Folder that runs are kept in.")  # fmt: skip
@click.option("--print-env", is_flag=True, help="Print NAME=value of every edge, to point services at the proxies.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON; progress goes to standard error.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(what: str, **given: Any) -> None:
    """Put a target up for a game day, with a proxy on every edge, and return when it stands.

    It stands until `chaoskit down` (or the time that --for says). Meanwhile: `chaoskit inject` breaks something,
    `chaoskit watch` and `chaoskit status` show what goes on. Without a load, requests are yours to send to the entry.
    Of an experiment its target, setup and load are put up, and none of its faults. What was done and seen lands in a
    run with a report. If the process behind it is killed, everything is taken down.
    """
    from chaoskit.cli.console import Screen
    from chaoskit.lever import refuse_if_pulled
    from chaoskit.studies.hosting import put_up

    refuse_if_pulled()
    if given["print_env"] and given["as_json"]:
        raise UsageError("--print-env and --json would both write to standard output")
    asked = _asked(what, given)
    screen = Screen(quiet=given["quiet"], aside=given["as_json"] or given["print_env"])
    screen.line((f"Game day on {asked.target.name}", "bold"), (f"  {asked.deployer}", "dim"))
    status = put_up(asked, lambda text: screen.line((text, "dim"), indent=2))
    _tell(screen, status)
    if given["print_env"]:
        from chaoskit.cli.common.gameday import env_lines

        click.echo("\n".join(env_lines(status)))
    if given["as_json"]:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(status), indent=1))


def _asked(what: str, given: dict[str, Any]) -> UpAsked:
    from chaoskit.cli.common.load import load_beside
    from chaoskit.model.units import parse_duration
    from chaoskit.proxy.choice import chosen_toxiproxy
    from chaoskit.reading import load_target
    from chaoskit.registry import find
    from chaoskit.studies.gameday import UpAsked

    try:
        lasts = parse_duration(given["lasts"])
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    if lasts <= 0:
        raise UsageError("--for: expected a game day that lasts longer than nothing")
    spec, root = load_beside(given["load_file"], rate=given["rate"], users=given["users"], paths=given["paths"])
    experiment = _experiment(what, given["variant"])
    target = load_target(experiment.target, near=experiment.file) if experiment else load_target(what)
    deployer = given["deployer"] or (experiment.deployer if experiment else "process")
    find("deployers", deployer)
    env: dict[str, dict[str, str]] = {}
    if experiment:
        if given["variant"]:
            env = {service: dict(values) for service, values in experiment.variants[given["variant"]].env.items()}
        if given["no_load"] and spec is None:
            root = None
        elif spec is None:
            spec, root = experiment.load, experiment.file.parent if experiment.file else None
    _check_places(given["blast_radius"], target)
    for service, name, value in map(_variable, given["env"]):
        if service not in target.services:
            from chaoskit.wording import did_you_mean

            raise UsageError(
                f"no service {service!r} in target {target.name}", hint=did_you_mean(service, target.services)
            )
        env.setdefault(service, {})[name] = value
    return UpAsked(
        target=target,
        lasts=lasts,
        deployer=deployer,
        toxiproxy=chosen_toxiproxy(given["toxiproxy"]),
        env=env,
        spec=spec,
        setup=experiment.setup if experiment else (),
        root=root,
        blast_radius=given["blast_radius"],
        allow_hosts=given["allow_hosts"],
        seed=given["seed"],
        store=given["store"],
        command=("chaoskit", *sys.argv[1:]),
    )


def _experiment(what: str, variant: str | None) -> Experiment | None:
    """The experiment of that file; None where it is a target (by name or file)."""
    found = None
    if what.endswith((".yaml", ".yml", ".json")) and Path(what).is_file():
        from chaoskit.document import read
        from chaoskit.reading import is_target, load

        found = None if is_target(read(what)) else load(what)
    if variant is not None and (found is None or variant not in found.variants):
        known = ", ".join(found.variants) if found else "a target has none"
        raise UsageError(f"no variant {variant!r} of {what}", hint=f"there are: {known}" if found else known)
    return found


def _check_places(places: tuple[str, ...], target: Any) -> None:
    topology = target.topology()
    for place in places:
        try:
            topology.select_edges(place) if "->" in place else topology.select_replicas(place)
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            raise UsageError(f"--blast-radius: {what}", hint=hint) from None


def _variable(text: str) -> tuple[str, str, str]:
    place, equals, value = text.partition("=")
    service, dot, name = place.partition(".")
    if not (equals and dot and service and name):
        raise UsageError(f"expected --env SERVICE.NAME=VALUE, not {text!r}")
    return service, name, value


def _tell(screen: Screen, status: Status) -> None:
    from chaoskit.cli.common.gameday import clock

    screen.line(("up: ", "bold green"), f"{len(status.edges)} edges, each behind a proxy; run {status.run}")
    screen.line(f"entry: http://{status.entry}", indent=2)
    screen.line((f"goes down by itself in {clock(status.left)}; chaoskit down takes it down now", "dim"), indent=2)
    edge = next((edge.edge for edge in status.edges if not edge.edge.startswith("load->")), status.edges[0].edge)
    screen.line((f"chaoskit inject latency --on '{edge}' --add 200ms --for 30s", "dim"), indent=2)
