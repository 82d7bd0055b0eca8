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
@click.option("--serve", is_flag=True, help="Browse the store on loopback until Ctrl-C; nothing is made again.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port for --serve (default: a free one).")
def command(runs: tuple[str, ...], store: Path, only: tuple[str, ...], serve: bool, port: int) -> None:
    """Make the reports of a run again from disk, and print where they are.

    RUN is a run's folder, an experiment's name (its latest run), the start of a folder's name, or `latest` (default).
    """
    if serve:
        _serve(store, port)
        return
    from chaoskit.registry import find, kinds
    from chaoskit.store import Store, load_run

    reporters = [find("reporters", kind) for kind in only] or list(kinds("reporters").values())
    for name in runs or ("latest",):
        folder = Store(store).find(name)
        run, history = load_run(folder)
        for reporter in reporters:
            click.echo(reporter().write(run, history, folder))
    if Store(store).runs():
        from chaoskit.studies.suite import write_index

        click.echo(write_index(store))


def _serve(store: Path, port: int) -> None:
    """Answer the browser of this machine until Ctrl-C. Raises UsageError where there is no store or no such port."""
    from chaoskit.errors import UsageError
    from chaoskit.studies.browse import Browser

    if not store.is_dir():
        raise UsageError(f"there is no store at {store}/", hint="chaoskit run makes one")
    try:
        browser = Browser(store, port)
    except OSError as error:
        hint = "without --port a free one is taken"
        raise UsageError(f"port {port} cannot be had: {error.strerror}", hint=hint) from error
    with browser:
        click.echo(f"{browser.url}  (Ctrl-C ends it)")
        try:
            browser.serve_forever()
        except KeyboardInterrupt:
            click.echo("ended")
