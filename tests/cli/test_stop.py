"""`chaoskit stop`: what it refuses, and the lever that it pulls and lifts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.lever import lever_file
from tests.cli.conftest import Said


def test_without_a_run_or_all_it_says_what_it_wants(chaoskit: Callable[..., Said]) -> None:
    said = chaoskit("stop")
    assert said.code == 2
    assert "--all" in said.err
    assert chaoskit("stop", "--all", "a-run").code == 2
    assert not lever_file().exists()


def test_a_run_that_is_none_is_a_mistake(chaoskit: Callable[..., Said]) -> None:
    said = chaoskit("stop", "a-run")
    assert said.code == 2
    assert "no run 'a-run'" in said.err


def test_all_pulls_the_lever_and_lift_lifts_it(chaoskit: Callable[..., Said]) -> None:
    said = chaoskit("stop", "--all", "--because", "a real incident")
    assert said.code == 0
    assert "a real incident" in said.out and "chaoskit stop --lift" in said.out
    assert "a real incident" in lever_file().read_text()
    said = chaoskit("stop", "--lift")
    assert said.code == 0 and "a real incident" in said.out
    assert not lever_file().exists()
    assert chaoskit("stop", "--lift").code == 0


def test_once_leaves_the_lever_alone(chaoskit: Callable[..., Said]) -> None:
    assert chaoskit("stop", "--all", "--once").code == 0
    assert not lever_file().exists()


EXPERIMENT = str(Path(__file__).parent.parent / "e2e" / "experiments" / "back-100ms-slower.yaml")


@pytest.mark.parametrize("command", [("run", EXPERIMENT), ("load", "http://127.0.0.1:9", "--for", "1s")])
def test_while_it_is_pulled_nothing_starts(chaoskit: Callable[..., Said], here: Path, command: tuple[str, ...]) -> None:
    chaoskit("stop", "--all", "--because", "not now")
    said = chaoskit(*command)
    assert said.code == 4
    assert "not now" in said.err and "chaoskit stop --lift" in said.err
    assert not list(here.rglob("history.jsonl")) and not list((here / "reports").glob("*/20*"))
