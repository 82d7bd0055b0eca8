"""Front door 1: `chaoskit <command>`. Each command is one light file here; what it needs is imported when it runs.

This is the only place that ends the process: errors become messages and exit codes here.
"""

from __future__ import annotations

import os
import re
from functools import cache
from importlib import import_module
from typing import Any

import click

from chaoskit.errors import ChaoskitError, Exit, FileError

__all__ = ["main", "tell"]

_EXIT_CODES = (
    ("0", "every run as expected (without variants: supported)"),
    ("1", "refuted, or another verdict than the expected one"),
    ("2", "bad usage or file"),
    ("3", "inconclusive: the experiment could not tell"),
    ("4", "could not run"),
    ("5", "a fault may still be in place (chaoskit recover)"),
    ("130", "interrupted, and undone"),
)


_WIDEST = 100
_FIRST_LINE = re.compile(r'"""`?chaoskit ([a-z]+)`?: (.+?)(?:"""|$)')


class _Commands(click.Group):
    """Finds commands by walking this folder: a file whose first line is `chaoskit <name>: <help>` is one."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        return [*_commands()]  # the name `list` is that of a command in this package

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's own signature
        if cmd_name not in _commands():
            return None
        command = import_module(f"{__name__}.{cmd_name}").command
        assert isinstance(command, click.Command), "the first line of the file says that it is one"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        with formatter.section("Commands"):
            formatter.write_dl([*_commands().items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            import difflib

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(self.list_commands(ctx))}."
            raise click.UsageError(f"No such command {args[0]!r}. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's own signature
        with formatter.section("Exit codes"):
            formatter.write_dl(_EXIT_CODES)
        formatter.write_paragraph()
        formatter.write_text("Over several runs: the leftmost of 5, 130, 4, 2, 1, 3, 0 that occurred.")

    def invoke(self, ctx: click.Context) -> Any:
        if os.environ.get("NO_COLOR"):
            ctx.color = False
        try:
            return super().invoke(ctx)
        except ChaoskitError as error:
            tell(error)
            ctx.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            ctx.exit(Exit.INTERRUPTED)
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - a bug must not exit with 1, which means "refuted"
            import traceback

            click.echo(traceback.format_exc(), err=True)
            click.echo(f"error: chaoskit itself failed: {type(error).__name__}: {error}", err=True)
            ctx.exit(Exit.COULD_NOT_RUN)


def _width() -> int:
    """Columns for help. `shutil` knows too, and takes a twentieth of the time of `chaoskit --help` to load."""
    try:
        return min(_WIDEST, int(os.environ.get("COLUMNS") or os.get_terminal_size().columns))
    except (OSError, ValueError):
        return 80


@cache
def _commands() -> dict[str, str]:
    """Name → what it does, from the first line of each file in this folder: help is printed without importing them."""
    found = {}
    for folder in __path__:
        for entry in os.scandir(folder):
            if entry.name.endswith(".py"):
                with open(entry.path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to load than this
                    match = _FIRST_LINE.match(file.readline())
                if match and match.group(1) == entry.name[:-3]:
                    found[match.group(1)] = match.group(2)[0].upper() + match.group(2)[1:]
    return dict(sorted(found.items()))


def tell(error: ChaoskitError) -> None:
    """Print an error: what happened, what to do, and what helps to see why."""
    if isinstance(error, FileError):
        for problem in error.problems:
            click.echo(str(problem), err=True)
        if len(error.problems) > 1:
            click.echo(f"{len(error.problems)} problems", err=True)
    else:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error.message}", err=True)
    if error.hint:
        click.echo(f"{click.style('hint:', bold=True)} {error.hint}", err=True)
    for line in error.detail.splitlines():
        click.echo(f"  | {line}", err=True)


def _version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"chaoskit {version('chaoskit')}")
        ctx.exit()


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": _width()},
    help="""Ask a service what happens when something it depends on goes wrong, and get an answer with evidence.

    A target is put up, gets traffic, has one thing broken, is watched and judged: supported, refuted or inconclusive.
    Start with `chaoskit new demo`, then `chaoskit run experiments/`.
    """,
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def main() -> None:
    pass
