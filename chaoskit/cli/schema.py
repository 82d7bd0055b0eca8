"""chaoskit schema: print the JSON Schema of experiment or target files."""

from __future__ import annotations

import click

__all__ = ["command"]


@click.command()
@click.argument("what", type=click.Choice(["experiment", "target"]), default="experiment")
def command(what: str) -> None:
    """Print the JSON Schema of experiment (default) or target files, for editors.

    With the YAML extension of VS Code or another editor that uses yaml-language-server, write it to a file and put
    `# yaml-language-server: $schema=experiment.schema.json` into the first line of an experiment.
    """
    import json

    from chaoskit.schema import experiment_schema, target_schema

    schema = experiment_schema() if what == "experiment" else target_schema()
    click.echo(json.dumps(schema, indent=2, ensure_ascii=False))
