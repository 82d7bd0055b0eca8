"""chaoskit down: take a game day down, and report what was done and seen"""

from __future__ import annotations

import click

__all__ = ["command"]

_PATIENCE = 300.0


@click.command()
@click.option("--run", metavar="RUN", help="Which game day, where several are up: its id, or its target.")
@click.option("--all", "everything", is_flag=True, help="Every one.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="One line.")
def command(run: str | None, everything: bool, as_json: bool, quiet: bool) -> None:
    """Take a game day down: faults out, load ended, every process and container gone. Then its report is written.

    Nothing was claimed, so its verdict is inconclusive, and that is what is expected: exits 0, or 5 where something
    could not be undone.
    """
    from chaoskit.cli.common.gameday import chosen, status_of
    from chaoskit.cli.common.outcome import tell_run
    from chaoskit.cli.console import Screen
    from chaoskit.control import ask, standing
    from chaoskit.errors import UsageError, worst_exit
    from chaoskit.reporters.answer import exit_code
    from chaoskit.store import load_run, read_run

    if run and everything:
        raise UsageError("expected --run or --all, not both")
    names = standing() if everything else [chosen(run)]
    pids = [status_of(name).pid for name in names]
    from pathlib import Path

    folders = [Path(str(ask(name, {"op": "down"}, patience=_PATIENCE)["folder"])) for name in names]
    _await_ends(pids)
    screen = Screen(quiet=quiet, aside=as_json)
    for folder in folders:
        tell_run(screen, read_run(folder))
    if not folders:
        screen.line("no game day is up")
    if as_json:
        from chaoskit.reporters.json import result_text

        click.echo(result_text([load_run(folder) for folder in folders]), nl=False)
    click.get_current_context().exit(worst_exit(exit_code(read_run(folder)) for folder in folders))


def _await_ends(pids: list[int]) -> None:
    """Their hosts say that all is kept, and end then."""
    import time

    from chaoskit.processes import identify, running

    until = time.monotonic() + 5.0
    for process in filter(None, map(identify, pids)):
        while running(process) and time.monotonic() < until:
            time.sleep(0.02)
