"""chaoskit load: load-test a URL or a target without breaking anything; find its capacity; join as a worker."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chaoskit.errors import UsageError

if TYPE_CHECKING:
    from chaoskit.runner import Finished
    from chaoskit.studies.load import LoadAsked

__all__ = ["command"]

_TOKEN = "CHAOSKIT_LOAD_TOKEN"  # noqa: S105 - the name of the variable that holds it


@click.command()
@click.argument("where", metavar="URL|TARGET|FILE|worker")
@click.option("--rate", metavar="RATE", help="Open load, such as 200/s.")
@click.option("--users", type=click.IntRange(1), help="Closed load: so many users who wait for their answers.")
@click.option("--for", "lasts", metavar="TIME", help="How long (default: 30s; 5s a step with --find-capacity).")
@click.option("--warmup", metavar="TIME", help="Load before what is judged (default: none).")
@click.option("--ramp", metavar="TIME", help="From nothing to the full load in this time.")
@click.option("--arrivals", type=click.Choice(["constant", "poisson"]), help="How an open load's sends are spread.")
@click.option("--think", metavar="TIME", help="Pause of a user after each answer.")
@click.option("--timeout", metavar="TIME", help="Of each request (default: 10s).")
@click.option("--max-in-flight", type=click.IntRange(1), help="Drop sends above this many unanswered ones.")
@click.option("--path", "paths", multiple=True, help="What is asked of a target (default: /; may be repeated).")
@click.option("--method", help="Default: GET, or POST with a body.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Of every request.")
@click.option("--body", help="Sent as it is; as JSON where it is an object or a list.")
@click.option("--locustfile", type=click.Path(exists=True, dir_okay=False), metavar="FILE",
              help="Users of this file instead of requests; runs its code.")  # fmt: skip
@click.option("--expect", "expects", multiple=True, metavar="THRESHOLD",
              help="Such as 'p95 < 200ms' or 'error_rate of checkout < 1%' (may be repeated).")  # fmt: skip
@click.option("--judge", type=click.Choice(["interval", "point"]), default="interval", show_default=True,
              help="By the measured interval, or by the measured value alone.")  # fmt: skip
@click.option("--find-capacity", is_flag=True, help="Search for the highest rate that keeps the thresholds.")
@click.option("--most", metavar="RATE", help="Where that search ends.")
@click.option("--workers", type=click.IntRange(1, 64), help="Worker processes here that share the load.")
@click.option("--away", type=click.IntRange(0, 64), default=0, help="Workers that join from other machines.")
@click.option("--listen", metavar="HOST:PORT", help="Where they join (needs a token in CHAOSKIT_LOAD_TOKEN).")
@click.option("--join", metavar="HOST:PORT", help="With `worker`: the load to join.")
@click.option("--allow-host", "allow_hosts", multiple=True, metavar="HOST", help="Load may go there (repeatable).")
@click.option("--insecure", is_flag=True, help="Do not check certificates.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Default: the file's, or 1.")
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True,
              help="Folder that runs are kept in.")  # fmt: skip
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON; progress goes to standard error.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, one line.")
def command(where: str, **given: Any) -> None:
    """Load-test without chaos.

    A URL is loaded directly (this machine's, or one named with --allow-host); a target of targets/ is put up first.
    FILE holds a `load:` section as experiments have it, and where it goes (`url:` or `target:`): an experiment is
    such a file. `chaoskit load worker --join HOST:PORT` lends this machine to a load that listens.

    Exits 0 where every threshold held (or none was given), 1 where one broke, 3 where it could not tell.
    """
    if given["join"] or where == "worker":
        _join(where, given["join"])
    from chaoskit.cli.common.load import asked_for
    from chaoskit.cli.console import Screen

    screen = Screen(quiet=given["quiet"], aside=given["as_json"])
    asked = asked_for(where, given, command=("chaoskit", *sys.argv[1:]))
    finished = _capacity(screen, asked, given) if given["find_capacity"] else _load(screen, asked)
    _write(finished, given["junit"], as_json=given["as_json"])
    from chaoskit.reporters.answer import exit_code

    click.get_current_context().exit(exit_code(finished.run))


def _load(screen: Any, asked: LoadAsked) -> Finished:
    from dataclasses import replace

    from chaoskit.cli.common.load import tell_load, watched
    from chaoskit.studies.load import load_without_faults

    with watched(screen, asked) as listener:
        finished = load_without_faults(replace(asked, listeners=(listener,)))
    tell_load(screen, finished)
    return finished


def _capacity(screen: Any, asked: LoadAsked, given: dict[str, Any]) -> Finished:
    from chaoskit.cli.common.load import tell_load, tell_step
    from chaoskit.studies.capacity import find_capacity

    most = _most(given["most"])
    screen.line((f"Capacity of {asked.where}", "bold"))
    found = find_capacity(asked, start=asked.spec.rate or 0.0, most=most, tell=lambda step: tell_step(screen, step))
    tell_load(screen, found.finished)
    screen.line(f"knee: {Path(found.finished.run.folder) / 'knee.svg'}", indent=2)
    return found.finished


def _most(text: str | None) -> float:
    from chaoskit.model.units import parse_rate

    try:
        most = parse_rate(text) if text else float("inf")
    except ValueError as error:
        raise UsageError(f"--most: {error}") from None
    if most <= 0:
        raise UsageError("--most: expected a rate above 0/s")
    return most


def _join(where: str, join: str | None) -> None:
    import os

    from chaoskit.cli.common.load import address

    if where != "worker" or not join:
        raise UsageError("expected `chaoskit load worker --join HOST:PORT`: the load that this machine joins")
    to = str(address(join))
    if not os.environ.get(_TOKEN):
        raise UsageError(f"a worker joins with a token: set {_TOKEN} to the one that the load was given")
    here = str(Path(__file__).resolve().parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    os.execv(sys.executable, [sys.executable, "-m", "chaoskit.load.worker", "--join", to])  # noqa: S606 - ours


def _write(finished: Finished, junit: Path | None, *, as_json: bool) -> None:
    if junit is not None:
        from chaoskit.reporters.junit import junit_text

        junit.parent.mkdir(parents=True, exist_ok=True)
        junit.write_text(junit_text([finished.run]), encoding="utf-8")
    if as_json:
        from chaoskit.reporters.json import result_text

        click.echo(result_text([finished]), nl=False)
