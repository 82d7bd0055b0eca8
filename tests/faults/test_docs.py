"""Every fault's docstring is its page: fixed sections, an example that loads, words for every field."""

from __future__ import annotations

import inspect

import pytest
from ruamel.yaml import YAML

from chaoskit.described import described
from chaoskit.interfaces import Fault
from chaoskit.registry import kinds

SECTIONS = ("What it does", "What it reveals", "Example", "Undone by")


def sections(fault: type[Fault]) -> dict[str, str]:
    text = inspect.getdoc(fault) or ""
    found: dict[str, str] = {}
    title = ""
    for line in text.splitlines():
        if line in SECTIONS:
            title = line
        elif title:
            found[title] = found.get(title, "") + line + "\n"
    return found


@pytest.mark.parametrize("kind", kinds("faults"))
def test_it_has_the_fixed_sections_in_order(kind: str) -> None:
    assert tuple(sections(kinds("faults")[kind])) == SECTIONS


@pytest.mark.parametrize("kind", kinds("faults"))
def test_its_examples_load(kind: str) -> None:
    lines = [line.strip() for line in sections(kinds("faults")[kind])["Example"].splitlines() if line.strip()]
    assert lines
    for line in lines:
        written = YAML(typ="safe", pure=True).load(line)
        assert written.pop("kind") == kind
        fault = kinds("faults")[kind].model_validate(
            {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()}
        )
        assert fault.says()


@pytest.mark.parametrize("kind", kinds("faults"))
def test_every_field_of_its_own_is_described(kind: str) -> None:
    fault = kinds("faults")[kind]
    assert set(fault.model_fields) - set(described(fault)) <= {"id"}


def test_the_kinds_are_those_that_the_issues_name() -> None:
    assert set(kinds("faults")) >= {
        *("latency", "jitter", "bandwidth", "reset", "blackhole", "partition", "slow_close", "slicer", "limit"),
        *("http_error", "http_delay", "truncate", "corrupt", "flap"),
        *("kill", "pause", "restart", "crash_loop", "monkey", "scale"),
        *("cpu", "memory", "fds", "io_slow", "disk_full"),
    }
