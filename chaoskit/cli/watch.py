"""chaoskit watch: watch a game day live: rates, response times, health, breakers, faults"""

from __future__ import annotations

import click

from chaoskit.errors import UsageError

__all__ = ["command"]

_EVERY = 0.4
_LINE_EVERY = 2.0
"""Seconds between looks, and between lines where there is no terminal."""


@click.command()
@click.option("--for", "lasts", metavar="TIME", help="Stop watching then (default: when it goes down, or on Ctrl-C).")
@click.option("--run", metavar="RUN", help="Which game day, where several are up: its id, or its target.")
def command(lasts: str | None, run: str | None) -> None:
    """Watch a game day live. Without a terminal: a line every two seconds, and one for all that happens."""
    import threading
    import time

    from chaoskit.cli.common.gameday import chosen, picture, status_line, status_of
    from chaoskit.cli.console import Screen
    from chaoskit.errors import CouldNotRun
    from chaoskit.model.units import parse_duration

    try:
        until = time.monotonic() + (parse_duration(lasts) if lasts else float("inf"))
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    which = chosen(run)
    screen = Screen()
    status = status_of(which)
    told = status.at
    next_line = time.monotonic()
    pause = threading.Event()
    try:
        with screen.live(lambda: ["", *picture(status)]):
            while time.monotonic() < until:
                for at, text in status.events:
                    if at > told:
                        screen.line(f"{at:7.1f} s  ", text)
                        told = at
                if not screen.interactive and time.monotonic() >= next_line:
                    screen.line(*status_line(status))
                    next_line += _LINE_EVERY
                pause.wait(_EVERY)
                status = status_of(which)
    except CouldNotRun:
        screen.line(f"{which} is down")
    except KeyboardInterrupt:
        pass
