"""What the docs say is so: pages are what the code says, examples load, links lead somewhere, commands exist."""

from __future__ import annotations

import importlib.util
import inspect
import re
import shlex
import sys
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator

from chaoskit.cli import main
from chaoskit.document import read_text
from chaoskit.model.topology import Edge
from chaoskit.registry import kinds
from chaoskit.schema import experiment_schema, target_schema

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "targets").rglob("*.md")])
LISTED = ("faults", "hypotheses", "probes")


def fenced(page: Path, *languages: str) -> Iterator[str]:
    for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        if match.group(2) in languages:
            yield textwrap.dedent(match.group(3))


def test_the_reference_is_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.differences() == [], "make docs writes them again"


def examples() -> Iterator[tuple[str, str, str]]:
    """Every line of every Example in a kind's docstring."""
    for folder in LISTED:
        for kind, cls in kinds(folder).items():
            text = inspect.cleandoc(cls.__doc__ or "")
            for match in re.finditer(r"^Example:?\n((?: {4}.*\n?)+)", text, re.MULTILINE):
                for line in match.group(1).splitlines():
                    if line.strip().startswith("{kind:"):
                        yield folder, kind, line.strip()


@pytest.mark.parametrize(("folder", "kind", "line"), list(examples()), ids=lambda value: value[:40])
def test_examples_of_kinds_are_what_the_reader_accepts(folder: str, kind: str, line: str) -> None:
    (item,) = [read_text(line, "example").data]
    assert item.pop("kind") == kind
    kinds(folder)[kind].model_validate(item, context={"written": True})


@pytest.mark.parametrize("folder", ["faults", "hypotheses"])
def test_every_fault_and_hypothesis_has_an_example(folder: str) -> None:
    shown = {kind for where, kind, _ in examples() if where == folder}
    assert shown == set(kinds(folder))


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        other = (page.parent / path) if path else page
        assert other.exists(), f"{page.name}: {target}"
        if anchor and other.suffix == ".md":
            assert anchor in anchors(other), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_yaml_in_pages_is_what_the_reader_accepts(page: Path) -> None:
    for block in fenced(page, "yaml"):
        heads = set(re.findall(r"^([a-z_]+):", block, re.MULTILINE))
        if {"title", "target", "load"} <= heads:
            Draft202012Validator(experiment_schema()).validate(read_text(block, "block.yaml").data)
        elif {"services", "entry"} <= heads:
            Draft202012Validator(target_schema()).validate(read_text(block, "block.yaml").data)


def commands(page: Path) -> Iterator[str]:
    """Every `chaoskit …` in a block of shell or inline code."""
    text = page.read_text(encoding="utf-8")
    for block in fenced(page, "sh", "console", "bash", "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            bare = line.removeprefix("$ ").strip()
            for part in re.split(r"&&|\|\||;|\|", bare):
                if part.strip().startswith("chaoskit "):
                    yield part.strip().partition("  #")[0]
    outside = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`(chaoskit [^`\n]+)`", outside)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_pages_exist_with_their_flags(page: Path) -> None:
    assert isinstance(main, click.Group)
    context = click.Context(main, info_name="chaoskit")
    for line in commands(page):
        words = shlex.split(line.replace("…", ""))[1:]
        command: click.Command | None = main
        while isinstance(command, click.Group) and words and not words[0].startswith("-") and words[0][0].islower():
            name = words.pop(0)
            command = command.get_command(context, name)
            assert command is not None, f"{page.name}: {line}"
        assert command is not None
        if command.context_settings.get("ignore_unknown_options"):
            continue
        flags = {flag for param in command.params for flag in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= flags, f"{page.name}: {line}: {used - flags}"


def test_the_readme_names_every_make_word() -> None:
    words = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for word in ("demo", "test", "lint", "bench", "docs"):
        assert word in words
        assert f"make {word}" in text


def test_the_fault_in_the_contributing_guide_is_one() -> None:
    (text,) = fenced(ROOT / "CONTRIBUTING.md", "python")
    guide = types.ModuleType("guide")
    sys.modules["guide"] = guide  # where pydantic looks names up
    try:
        exec(text, vars(guide))
        fault = guide.Shorten(on="a->b", size="1KB", share="50%")
    finally:
        del sys.modules["guide"]
    assert fault.kind == "shorten"
    assert fault.says() == "connections end after 1000 bytes for 50% of connections"
    assert [toxic.attributes for toxic in fault.toxics(Edge("a", "b"))] == [{"bytes": 1000}]
    assert not inspect.isabstract(guide.Shorten)
