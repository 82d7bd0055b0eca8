"""chaoskit report: make the reports of a run again from disk."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command()
@click.argument("runs", nargs=-1, metavar="RUN...")
@click.option("--store", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"), show_default=True,
              help="Folder that runs are kept in.")  # fmt: skip
@click.option("--kind", "only", multiple=True, metavar="KIND", help="Only this report: html, json, junit, markdown.")
def command(runs: tuple[str, ...], store: Path, only: tuple[str, ...]) -> None:
    """Make the reports of a run again from disk, and print where they are.

    RUN is a run's folder, an experiment's name (its latest run), the start of a folder's name, or `latest` (default).
    """
    from chaoskit.registry import find, kinds
    from chaoskit.store import Store, load_run

    reporters = [find("reporters", kind) for kind in only] or list(kinds("reporters").values())
    for name in runs or ("latest",):
        folder = Store(store).find(name)
        run, history = load_run(folder)
        for reporter in reporters:
            click.echo(reporter().write(run, history, folder))
