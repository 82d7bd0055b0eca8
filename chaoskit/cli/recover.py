"""chaoskit recover: undo what runs have left behind."""

from __future__ import annotations

import click

from chaoskit.errors import Exit, UsageError

__all__ = ["command"]


@click.command()
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="All runs that are over, as without RUN.")
def command(run: str | None, everything: bool) -> None:
    """Undo what runs have left behind, from their journals: faults out, processes ended, folders removed.

    RUN is the id of one run (default: all that are over). Doing it twice is the same as once.
    """
    from chaoskit.recover import recover, recover_all

    if run and everything:
        raise UsageError("expected the id of a run, or --all: not both")
    done = [recover(run)] if run else recover_all()
    dirty = False
    for one in done:
        label = f" ({one.label})" if one.label else ""
        if one.in_progress:
            click.echo(f"{one.run}{label}: still going on, left alone")
            continue
        for undo in one.undone:
            click.echo(f"{one.run}{label}: undone: {undo.says or undo.id}")
        if one.ended:
            click.echo(f"{one.run}{label}: ended: {', '.join(one.ended)}")
        for undo, because in one.left:
            click.echo(f"{one.run}{label}: NOT undone: {undo.says or undo.id}: {because}", err=True)
        for pid in one.still_running:
            click.echo(f"{one.run}{label}: process {pid} does not end", err=True)
        if not (one.undone or one.ended or one.left or one.still_running):
            click.echo(f"{one.run}{label}: nothing was left")
        dirty = dirty or not one.clean
    if not done:
        click.echo("nothing to recover")
    click.get_current_context().exit(Exit.UNDO_LEFT if dirty else Exit.AS_EXPECTED)
