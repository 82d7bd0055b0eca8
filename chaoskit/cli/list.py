"""chaoskit list: list experiments, targets, runs, and every kind of fault, hypothesis, …"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

__all__ = ["command"]

_KINDS = ("faults", "hypotheses", "probes", "deployers", "backing", "reporters")


@click.command()
@click.argument("what", required=False, type=click.Choice(["experiments", "targets", "runs", *_KINDS]))
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True,
              help="Folder that runs are kept in.")  # fmt: skip
def command(what: str | None, store: Path) -> None:
    """List what there is. Without an argument: experiments and targets here, and the names of all kinds."""
    if what is None:
        _section("experiments", _experiments())
        _section("targets", _targets())
        from chaoskit.registry import kinds

        for folder in _KINDS:
            click.echo(f"{folder + ':':<13} {', '.join(sorted(kinds(folder)))}")
    elif what == "experiments":
        _print(_experiments(), "no experiments here (chaoskit new demo writes some)")
    elif what == "targets":
        _print(_targets(), "no targets here (chaoskit new demo writes one)")
    elif what == "runs":
        _print(_runs(store), f"no runs in {store}/")
    else:
        _print(_of_kind(what), f"no {what}")


def _section(title: str, rows: Iterator[tuple[str, str]]) -> None:
    found = list(rows)
    click.echo(click.style(f"{title}:", bold=True) + ("" if found else " none here"))
    for name, about in found:
        click.echo(f"  {name}\n      {about}")


def _print(rows: Iterator[tuple[str, str]], otherwise: str) -> None:
    found = list(rows)
    width = max((len(name) for name, _ in found), default=0)
    for name, about in found:
        click.echo(f"{name:<{width}}  {about}".rstrip())
    if not found:
        click.echo(otherwise, err=True)


def _experiments() -> Iterator[tuple[str, str]]:
    """Files in `experiments/` (or here), with their questions; a broken one says so."""
    from chaoskit.cli.common.files import found_files
    from chaoskit.document import read
    from chaoskit.errors import FileError

    folder = Path("experiments") if Path("experiments").is_dir() else Path()
    for file in found_files([folder], targets=False):
        try:
            data = read(file).data
        except FileError as error:
            yield str(file), f"cannot be read: {error.problems[0].message}"
            continue
        assert isinstance(data, dict), "others are not found"
        variants = data.get("variants")
        names = f"  [{', '.join(variants)}]" if isinstance(variants, dict) else ""
        yield str(file), f"{data.get('title', '(no title)')}{names}"


def _targets() -> Iterator[tuple[str, str]]:
    from chaoskit.errors import ChaoskitError
    from chaoskit.reading import load_target, targets_near

    for name, file in targets_near().items():
        try:
            target = load_target(str(file))
        except ChaoskitError as error:
            yield name, f"cannot be read: {error.message.splitlines()[0]}"
        else:
            yield name, f"{target.description or '(no description)'}: {', '.join(target.services)}"


def _runs(store: Path) -> Iterator[tuple[str, str]]:
    from chaoskit.errors import UsageError
    from chaoskit.store import Store, load_run

    for folder in Store(store).runs():
        try:
            run, _ = load_run(folder)
        except UsageError as error:
            yield str(folder), error.message
        else:
            variant = f" [{run.variant}]" if run.variant else ""
            expected = "" if run.as_expected else f" (expected {run.expected})"
            yield str(folder), f"{run.verdict}{expected}  {run.title}{variant}"


def _of_kind(folder: str) -> Iterator[tuple[str, str]]:
    from chaoskit.registry import kinds

    for kind, cls in sorted(kinds(folder).items()):
        found = f"  ({cls.found() or 'not here'})" if folder == "backing" else ""
        yield kind, f"{(cls.__doc__ or '').strip().splitlines()[0] if cls.__doc__ else ''}{found}".strip()
