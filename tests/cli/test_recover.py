"""`chaoskit recover`: one run, or all that are over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit import recover as recovery
from chaoskit.journal import Journal
from chaoskit.model.undo import Undo
from tests.cli.conftest import Said


@pytest.fixture
def left(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a run which is over has left behind."""
    monkeypatch.setattr(recovery, "_PASSES", 0.0)
    file = here / "left.balloon"
    file.touch()
    journal = Journal.create(f"recovered-{here.name}", label="a question")
    journal.will_undo(Undo(id="left", owner="fault.balloon", args={"file": str(file)}, says="the left balloon"))
    journal.end()
    journal.close()
    return file


@pytest.mark.parametrize("command", [("recover",), ("recover", "--all")])
def test_all_runs_that_are_over_are_recovered(
    chaoskit: Callable[..., Said], left: Path, command: tuple[str, ...]
) -> None:
    said = chaoskit(*command)
    assert said.code == 0
    assert "(a question): undone: the left balloon" in said.out
    assert not left.exists()
    assert chaoskit(*command) == (0, "nothing to recover\n", "")


def test_a_run_and_all_together_are_refused(chaoskit: Callable[..., Said], left: Path) -> None:
    said = chaoskit("recover", "--all", f"recovered-{left.parent.name}")
    assert said.code == 2
    assert "--all" in said.err
    assert left.exists()


def test_a_run_that_is_none_is_a_mistake(chaoskit: Callable[..., Said]) -> None:
    assert chaoskit("recover", "no-such-run").code == 2
