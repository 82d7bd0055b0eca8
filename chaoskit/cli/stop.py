"""chaoskit stop: end runs at once; the safety lever"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chaoskit.errors import Exit, UsageError

if TYPE_CHECKING:
    from chaoskit.stopping import Stopped

__all__ = ["command"]


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--all", "everything", is_flag=True, help="Every run of yours here, and pull the safety lever.")
@click.option("--once", is_flag=True, help="With --all: do not pull the lever; new runs may start.")
@click.option("--because", default="", metavar="TEXT", help="Why: told to whoever wants to start a run then.")
@click.option("--lift", "lifting", is_flag=True, help="Lift the lever: runs may start again.")
def command(runs: tuple[str, ...], everything: bool, once: bool, because: str, lifting: bool) -> None:
    """End runs at once: faults out, processes and containers gone. Returns when they are.

    Ends what `run`, `load` and `up` have going on, and recovers what earlier runs have left. RUN is the id of one run.

    --all also pulls the safety lever, a file that ends runs and keeps new ones from starting until it is removed
    (`chaoskit stop --lift`). Exits 0 where nothing is left, 5 where something is: it says what to do by hand.
    """
    from chaoskit.lever import lift, pull
    from chaoskit.stopping import stop_runs

    if lifting:
        if runs or everything or once or because:
            raise UsageError("--lift goes alone")
        found = lift()
        click.echo(f"lifted: it was {found}" if found else "the safety lever was not pulled")
        return
    if bool(runs) == everything:
        raise UsageError("expected the id of a run, or --all", hint="`chaoskit recover` lists runs")
    if (once or because) and not everything:
        raise UsageError("--once and --because go with --all")
    lever = pull(because) if everything and not once else None  # first: what starts now is refused
    stopped = stop_runs(None if everything else runs, tell=_aside)
    if everything:  # one may have been about to start when it was not forbidden yet
        known = {one.run for one in stopped}
        stopped += [one for one in stop_runs(tell=_aside) if one.run not in known]
    for one in stopped:
        _tell(one)
    if not stopped:
        click.echo("no run was going on, and nothing was left of earlier ones")
    if lever is not None:
        click.echo(f"the safety lever is {lever}")
        click.echo(f"nothing starts until `chaoskit stop --lift` (or: {lever.by_hand})")
    dirty = any(not one.clean for one in stopped)
    click.get_current_context().exit(Exit.UNDO_LEFT if dirty else Exit.AS_EXPECTED)


def _aside(text: str) -> None:
    click.echo(text, err=True)


def _tell(one: Stopped) -> None:
    name = f"{one.run} ({one.label})" if one.label else one.run
    if one.clean:
        how = "" if one.how in ("asked", "recovered") else f", {one.how}"
        said = "ended" if one.was_on else "was over; what it had left is undone"
        click.echo(f"{name}: {said}{how}, after {one.took:.1f} s")
        return
    assert one.recovered is not None, "else it is clean"
    for undo, because in one.recovered.left:
        click.echo(f"{name}: NOT undone: {undo.says or undo.id}: {because}", err=True)
    for pid in one.recovered.still_running:
        click.echo(f"{name}: process {pid} does not end: kill -KILL {pid}", err=True)
    if one.recovered.in_progress:
        click.echo(f"{name}: is still going on", err=True)
    click.echo(f"{name}: chaoskit recover {one.run} tries again", err=True)
