"""chaoskit status: what is up, and how it does right now"""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command()
@click.option("--run", metavar="RUN", help="Which game day, where several are up: its id, or its target.")
@click.option("--json", "as_json", is_flag=True, help="As JSON: one object for each game day that is up.")
@click.option("--print-env", is_flag=True, help="NAME=value of every edge, as `up --print-env`.")
@click.option("--service", metavar="NAME", help="With --print-env: only what this service needs.")
def command(run: str | None, as_json: bool, print_env: bool, service: str | None) -> None:
    """Show the game days that are up: rates, response times, health, breakers, faults.

    Exits 0 also where none is up. The safety lever is shown where it is pulled.
    """
    from chaoskit.cli.common.gameday import as_document, chosen, env_lines, picture, status_of
    from chaoskit.cli.console import Screen
    from chaoskit.control import standing
    from chaoskit.errors import UsageError
    from chaoskit.lever import pulled

    if service and not print_env:
        raise UsageError("--service goes with --print-env")
    if print_env:
        click.echo("\n".join(env_lines(status_of(chosen(run)), service)))
        return
    found = [status_of(one) for one in ([chosen(run)] if run else standing())]
    lever = pulled()
    if as_json:
        import json

        document = {
            "format_version": 1,
            "lever": None if lever is None else str(lever),
            "game_days": [as_document(status) for status in found],
        }
        click.echo(json.dumps(document, indent=1, ensure_ascii=False))
        return
    screen = Screen()
    if lever is not None:
        screen.line((f"the safety lever is {lever}: nothing may start (chaoskit stop --lift)", "bold red"))
    for status in found:
        for line in picture(status):
            screen.line(*line)
    if not found:
        screen.line("no game day is up (chaoskit up TARGET)")
