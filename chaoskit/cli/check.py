"""chaoskit check: check experiment and target files, and count the samples they need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from chaoskit.errors import Exit, FileError, Problem

if TYPE_CHECKING:
    from chaoskit.experiment import Experiment

__all__ = ["command"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="FILE_OR_FOLDER...")
@click.option("--deployer", metavar="KIND", help="Check as if files named this one: process, docker, external.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Print problems only.")
def command(paths: tuple[Path, ...], deployer: str | None, as_json: bool, quiet: bool) -> None:
    """Check experiment and target files (default: experiments/ and targets/ here).

    All problems of all files are told, each with line and column. For every hypothesis it also says how many requests
    it needs in each of its phases, and how many the load plans there. Exits 0, or 2 where there is a problem.
    """
    from chaoskit.cli.common.files import found_files
    from chaoskit.reading import is_target, load, load_target

    if not paths:
        paths = tuple(path for path in (Path("experiments"), Path("targets")) if path.is_dir()) or (Path(),)
    problems: list[Problem] = []
    good: list[str] = []
    files = found_files(paths, targets=True)
    for file in files:
        try:
            from chaoskit.document import read

            if is_target(read(file)):
                target = load_target(str(file.absolute()))
                good.append(f"ok  {file}  {len(target.services)} services, {len(target.topology().edges)} edges")
                good += [f"      {line}" for line in target.to_point()]
            else:
                good += [f"ok  {file}", *(f"      {line}" for line in _samples(load(file, deployer=deployer)))]
        except FileError as error:
            problems += error.problems
    problems = list(dict.fromkeys(problems))
    if as_json:
        _print_json(files, problems)
    else:
        for line in good if not quiet else ():
            click.echo(line)
        if not files:
            click.echo("no experiment and no target here (chaoskit new demo writes some)", err=True)
        for problem in problems:
            click.echo(str(problem), err=True)
        if problems:
            count = len({problem.file for problem in problems})
            click.echo(f"{len(problems)} problem{'s'[: len(problems) > 1]} in {count} file{'s'[: count > 1]}", err=True)
    click.get_current_context().exit(Exit.USAGE if problems else Exit.AS_EXPECTED)


def _samples(experiment: Experiment) -> list[str]:
    """One line for each claim and phase: what it needs and what is planned."""
    from chaoskit.checks import samples
    from chaoskit.model.history import Phase

    lines = []
    for claim in experiment.steady_state:
        for one in samples(experiment, claim, (Phase.BASELINE,)):
            planned = "" if one.planned is None else f", {one.planned:.0f} planned"
            lines.append(f"steady state: {claim.expected()}: any requests will do in baseline{planned}")
    for claim in experiment.hypotheses:
        for one in samples(experiment, claim):
            if one.needed <= 1:
                continue
            planned = "as many as users manage" if one.planned is None else f"{one.planned:.0f} planned"
            lines.append(f"{claim.title}: {claim.expected()}: {one.needed} requests needed in {one.phase}, {planned}")
    return lines


def _print_json(files: list[Path], problems: list[Problem]) -> None:
    import json
    from dataclasses import asdict

    document = {
        "format_version": 1,
        "files": [str(file) for file in files],
        "problems": [asdict(problem) for problem in problems],
    }
    click.echo(json.dumps(document, indent=1, ensure_ascii=False))
