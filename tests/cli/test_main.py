"""The front door itself: commands are found, errors end with a message and a code, and help says what codes mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import chaoskit.cli
from chaoskit.cli import check
from chaoskit.errors import DeployError, Exit, FileError, Problem
from tests.cli.conftest import Said


def test_help_lists_every_command_and_every_exit_code(chaoskit: Callable[..., Said]) -> None:
    code, out, _ = chaoskit("--help")
    assert code == 0
    for command in ("check", "doctor", "list", "new", "plan", "recover", "report", "run", "schema"):
        assert f"  {command} " in out
    for exit_code in Exit:
        assert f"\n  {exit_code.value} " in out


def test_every_file_of_the_folder_with_a_command_in_it_says_so_in_its_first_line(chaoskit: Callable[..., Said]) -> None:
    _, out, _ = chaoskit("--help")
    for path in Path(chaoskit_folder()).glob("*.py"):
        if "def command(" in path.read_text():
            assert f"  {path.stem} " in out, f"{path}: expected the first line to be `chaoskit {path.stem}: …`"


def chaoskit_folder() -> str:
    return str(Path(chaoskit.cli.__file__).parent)


def test_a_command_that_is_not_there_is_told_with_what_was_meant(chaoskit: Callable[..., Said]) -> None:
    code, _, err = chaoskit("chekc")
    assert code == 2
    assert "Did you mean 'check'?" in err
    assert chaoskit("zzz").code == 2


def test_a_flag_that_is_not_there_is_bad_usage(chaoskit: Callable[..., Said]) -> None:
    assert chaoskit("run", "--vairant", "x", "y.yaml").code == 2


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            DeployError("orders did not get ready", hint="look at its log", detail="line one\nline two"),
            4,
            "  | line two",
        ),
        (FileError([Problem("x.yaml", 3, 4, "load.rate", "wrong", "so")]), 2, "x.yaml:3:4: load.rate: wrong (so)"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("a bug"), 4, "chaoskit itself failed: RuntimeError: a bug"),
    ],
    ids=["could not run", "file", "Ctrl-C", "a bug"],
)
def test_errors_end_with_their_words_and_their_code(
    chaoskit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, says: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(check.command, "callback", fail)
    done = chaoskit("check")
    assert done.code == code
    assert says in done.err
    assert not done.out


def test_the_version_is_said(chaoskit: Callable[..., Said]) -> None:
    code, out, _ = chaoskit("--version")
    assert code == 0
    assert out.startswith("chaoskit ")
