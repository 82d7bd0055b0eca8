"""`chaoskit proxy`: our Toxiproxy-compatible server by hand, and a real one installed."""

from __future__ import annotations

import sys

import click

__all__ = ["command"]


@click.group(name="proxy", short_help="Serve a Toxiproxy-compatible proxy, or install the real one.")
def command() -> None:
    """Serve our Toxiproxy-compatible proxy by hand, or install the real one."""


@command.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    short_help="Serve Toxiproxy's API and data plane.",
)
@click.pass_context
def serve(ctx: click.Context) -> None:
    """Serve Toxiproxy's HTTP API and data plane; `--help` lists the flags, which are those of toxiproxy-server."""
    from chaoskit.proxy.server import main

    sys.exit(main(ctx.args))


@command.command(short_help="Get a real Toxiproxy into the cache.")
def install() -> None:
    """Get Toxiproxy 2.12.0 into the cache: by `go install` where there is Go, else its release for this platform."""
    from chaoskit.proxy.install import find_toxiproxy
    from chaoskit.proxy.install import install as install_it

    there = find_toxiproxy()
    if there:
        click.echo(f"there is one already: {there}")
        return
    click.echo(f"installed {install_it(lambda line: click.echo(line, err=True))}")
