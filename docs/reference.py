"""Writes docs/reference/ from the code: `python docs/reference.py`; `--check` says whether it is up to date.

Nothing in there is kept by hand: commands come from click, keys and kinds from the classes, texts from docstrings.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from chaoskit.cli import main
from chaoskit.document import Data
from chaoskit.errors import ChaoskitError, Exit
from chaoskit.registry import kinds
from chaoskit.schema import Schema, experiment_schema, kind_schema, target_schema

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Made by docs/reference.py from the code: change it there. -->\n"

INTRODUCTIONS = {
    "faults": "What an experiment can break, on the edges or services that `on` names.",
    "hypotheses": "What an experiment can claim. Absolute bounds on the load can be in `steady_state` too.",
    "probes": "What is read while a run goes on. `taps`, `health`, `scrape` and `replicas` are always on.",
    "deployers": "Ways to put a target up: `deployer:` in an experiment, or `--deployer`.",
    "backing": "Real servers that a target gets with `provides:`.",
    "reporters": "What every run writes into its folder.",
}
EXITS = {
    Exit.AS_EXPECTED: "every run as expected (without variants: supported)",
    Exit.REFUTED: "refuted, or another verdict than the expected one",
    Exit.USAGE: "bad usage or file",
    Exit.INCONCLUSIVE: "inconclusive: the experiment could not tell",
    Exit.COULD_NOT_RUN: "could not run",
    Exit.UNDO_LEFT: "a fault may still be in place (`chaoskit recover`)",
    Exit.INTERRUPTED: "interrupted, and undone",
}


def pages() -> dict[str, str]:
    """File name → text of every page."""
    found = {
        "cli.md": cli_page(),
        "experiment.md": file_page("Experiment files", experiment_schema(), EXPERIMENT_INTRODUCTION),
        "target.md": file_page("Target files", target_schema(), TARGET_INTRODUCTION),
    }
    found |= {f"{folder}.md": kinds_page(folder) for folder in INTRODUCTIONS}
    return {name: NOTE + text for name, text in found.items()}


EXPERIMENT_INTRODUCTION = """\
One question in a file. YAML 1.2 (`on`, `off`, `yes` and `no` are texts) or JSON. Durations, rates, shares and sizes
have units: `200ms`, `5s`, `1m`, `50/s`, `1%`, `64KB`; a bare number is refused where its unit would be a guess. Unknown
keys are refused. `chaoskit schema` prints the same as JSON Schema, for editors.

The items of `faults`, `hypotheses`, `steady_state` and `probes` each have a `kind`: see [faults](faults.md),
[hypotheses](hypotheses.md) and [probes](probes.md).
"""
TARGET_INTRODUCTION = """\
The services of a system, in `targets/<name>/target.yaml`. Services start in the folder that holds `targets/`, inherit
the environment, and find the interpreter's own folder first on PATH.

Each value in `needs` names other services in braces, and each such reference is an edge with a proxy on it: `{orders}`
is the address (host:port) of the first replica, `{orders.2}` of the second, and `http://{orders:all}` repeats the text
around it (up to a comma) for each, joined by commas. Two references to one service are one edge, and a URL says what
goes over it. `load->entry` is the front edge.
"""


# --------------------------------------------------------------------------------------------------------------- cli


def cli_page() -> str:
    lines = ["# Commands", "", inspect.cleandoc(main.help or ""), ""]
    context = click.Context(main, info_name="chaoskit")
    assert isinstance(main, click.Group), "the front door is a group"
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None, "it was listed"
        lines += command_lines(f"chaoskit {name}", command)
    lines += ["## Exit codes", "", "| code | says |", "|---|---|"]
    lines += [f"| {code.value} | {EXITS[code]} |" for code in sorted(Exit)]
    lines += ["", "Over several runs: the leftmost of 5, 130, 4, 2, 1, 3, 0 that occurred.", ""]
    lines += ["Errors are of one tree; each class has its code:", "", "```text", *error_tree(ChaoskitError), "```", ""]
    return "\n".join(lines)


def command_lines(path: str, command: click.Command) -> Iterator[str]:
    yield f"## {path}" if path.count(" ") == 1 else f"### {path}"
    yield ""
    arguments = [
        param.make_metavar(click.Context(command)) for param in command.params if param.param_type_name == "argument"
    ]
    if not isinstance(command, click.Group):
        yield f"`{' '.join([path, '[OPTIONS]' if options(command) else '', *arguments]).replace('  ', ' ').strip()}`"
        yield ""
    yield inspect.cleandoc(command.help or "")
    yield ""
    rows = options(command)
    if rows:
        yield "| option | meaning |"
        yield "|---|---|"
        yield from (f"| `{cell(names)}` | {cell(text)} |" for names, text in rows)
        yield ""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from command_lines(f"{path} {name}", inner)


def options(command: click.Command) -> list[tuple[str, str]]:
    rows = []
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden:
            metavar = "" if param.is_flag else f" {param.metavar or value_of(param)}"
            default = param.default if isinstance(param.default, str | int | Path) else None
            text = param.help or ""
            if default is not None and not param.is_flag and not param.required:
                text += f" Default: `{default}`."
            rows.append((", ".join(param.opts) + metavar, text.strip()))
    return rows


def value_of(param: click.Option) -> str:
    if isinstance(param.type, click.Choice):
        return "|".join(map(str, param.type.choices))
    return {"integer range": "NUMBER", "integer": "NUMBER", "float": "NUMBER", "directory": "FOLDER", "path": "PATH",
            "file": "FILE"}.get(param.type.name, "TEXT")  # fmt: skip


def error_tree(cls: type[ChaoskitError], indent: str = "") -> Iterator[str]:
    yield f"{indent}{cls.__name__} ({cls.exit_code.value})"
    for inner in sorted(cls.__subclasses__(), key=lambda one: one.__name__):
        if inner.__module__ == "chaoskit.errors":
            yield from error_tree(inner, indent + "    ")


# ------------------------------------------------------------------------------------------------------------- files


def file_page(title: str, schema: Schema, introduction: str) -> str:
    definitions = schema.get("$defs", {})
    assert isinstance(definitions, dict), "a mapping by name"
    remember(definitions, linked=True)
    lines = [f"# {title}", "", introduction, *table(schema), ""]
    for name, definition in definitions.items():
        assert isinstance(definition, dict), "a schema"
        if "." not in name and definition.get("type") == "object":
            lines += [f"## {name}", "", prose(str(definition.get("description", ""))), "", *table(definition), ""]
    return "\n".join(lines)


def kinds_page(folder: str) -> str:
    names = sorted(kinds(folder))
    lines = [f"# {folder.capitalize()}", "", INTRODUCTIONS[folder], ""]
    lines += [f"- [{kind}](#{kind}): {first_line(kinds(folder)[kind])}" for kind in names]
    for kind in names:
        cls = kinds(folder)[kind]
        lines += ["", f"## {kind}", "", prose(inspect.cleandoc(cls.__doc__ or "")), ""]
        lines += list(facts(folder, cls))
        if folder in ("faults", "hypotheses", "probes"):
            schema = kind_schema(folder, kind)
            remember(schema.get("$defs", {}), linked=False)
            lines += table(schema)
    return "\n".join(lines) + "\n"


def facts(folder: str, cls: Any) -> Iterator[str]:
    """What a kind's class says beside its docstring."""
    if folder == "faults":
        needs = f" The deployer must be able to {' and '.join(sorted(cls.needs))}." if cls.needs else ""
        yield f"Acts on {cls.acts_on}.{needs}"
        yield ""
    elif folder == "hypotheses":
        phases = " and ".join(cls.default_phases)
        yield f"Judged in {phases}, unless `holds_in` says otherwise."
        yield ""
    elif folder == "deployers":
        yield (
            f"Faults that need to {' or '.join(sorted(cls.can))} can be used with it."
            if cls.can
            else "It starts nothing."
        )
    elif folder == "backing":
        image = f" Its image under Docker is `{cls.image}`." if cls.image else ""
        yield f"A call on its edges is one of `{cls.protocol}`.{image}"
    elif folder == "reporters":
        yield f"File: `{cls.file}`."


def first_line(cls: Any) -> str:
    return (inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]).replace("\n", " ")


def table(schema: Schema) -> list[str]:
    """Keys, what they take, and what they mean."""
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    assert isinstance(properties, dict) and isinstance(required, list), "a schema of keys"
    rows = ["| key | takes | meaning |", "|---|---|---|"]
    for key, value in properties.items():
        assert isinstance(value, dict), "a schema"
        if key == "kind":
            continue
        must = "" if key not in required else " **required**"
        text = str(value.get("description", "")).replace("\n", " ")
        default = value.get("default")
        shown = f" Default: `{json.dumps(default, ensure_ascii=False).strip(chr(34))}`." if default is not None else ""
        rows.append(f"| `{key}`{must} | {cell(takes(value))} | {cell((text + shown).strip())} |")
    return rows


_named: dict[str, str] = {}
"""How the page that is being made writes what a schema refers to by name."""


def remember(definitions: Data, *, linked: bool) -> None:
    """Choices are written out; other classes by name, linked where the page has a section on them."""
    assert isinstance(definitions, dict), "a mapping by name"
    _named.clear()
    for name, definition in definitions.items():
        assert isinstance(definition, dict), "a schema"
        choices = isinstance(definition.get("enum"), list)
        _named[name] = takes(definition) if choices else f"[{name}](#{name.lower()})" if linked else name


def named(name: str) -> str:
    return "any JSON" if name == "JsonValue" else _named.get(name, name)


def takes(value: Data) -> str:
    """What a key's value may be, in words."""
    if not isinstance(value, dict):
        return "anything"
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if isinstance(options := value.get("enum"), list):
        return " · ".join(f"`{option}`" for option in options)
    if isinstance(ref := value.get("$ref"), str):
        return named(ref.rpartition("/")[2])
    for key in ("anyOf", "oneOf"):
        if isinstance(branches := value.get(key), list):
            if key == "oneOf" and len(branches) > 4:
                return "one of the kinds"
            return " or ".join(dict.fromkeys(takes(one) for one in branches if one != {"type": "null"}))
    if isinstance(examples := value.get("examples"), list) and value.get("type") == "string":
        return " or ".join(f"`{example}`" for example in examples)
    return _typed(value)


def _typed(value: Schema) -> str:
    kind = value.get("type")
    if kind == "array":
        if isinstance(parts := value.get("prefixItems"), list):
            return f"[{', '.join(takes(part) for part in parts)}]"
        return f"list of {takes(value.get('items', {}))}"
    if kind == "object":
        inner = value.get("additionalProperties")
        return f"name: {takes(inner)}" if isinstance(inner, dict) else "keys with values"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}.get(
        str(kind), "anything"
    )


# -------------------------------------------------------------------------------------------------------------- text


def prose(text: str) -> str:
    """A docstring as Markdown: `Example` becomes a block of YAML, other headed sections paragraphs of their own."""
    found = []
    for block in text.split("\n\n"):
        head, _, body = block.partition("\n")
        lines = body.splitlines()
        headed = re.fullmatch(r"([A-Z][A-Za-z ]+):?", head)
        if headed and lines and all(not line or line.startswith("    ") for line in lines):
            inner = textwrap.dedent(body)
            block = {"Example": "```yaml\n{}\n```", "Formula": "```text\n{}\n```"}.get(headed.group(1))
            found.append(block.format(inner) if block else f"**{headed.group(1)}.** {inner}")
        else:
            found.append(re.sub(r"\A(What it measures|Limits|Example):", r"**\1.**", block))
    return "\n\n".join(found)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def differences() -> list[str]:
    """Pages that are not what the code says, and pages that it says nothing of."""
    wanted = pages()
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    return sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    wanted = pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(f"out of date: {', '.join(stale)} (make docs)" if (stale := differences()) else 0)
    write()
    print(f"wrote {len(pages())} pages into {FOLDER}/")  # noqa: T201 - a script's last word
