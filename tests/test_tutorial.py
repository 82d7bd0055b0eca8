"""The tutorial, done as it says: its files written, its commands typed, its verdicts come out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def typed(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    bin_folder = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_it_comes_out_as_told(tmp_path: Path) -> None:
    for text in blocks("python"):
        (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    target, question, first, second, _nightly = blocks("sh")
    assert typed(target, tmp_path).returncode == 0
    written, variants = blocks("yaml")
    assert (tmp_path / "targets/pages/target.yaml").read_text() == written
    planned = typed(question, tmp_path)
    assert planned.returncode == 0, planned.stderr
    done = typed(first, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert blocks("console")[0].strip() in done.stdout
    with (tmp_path / "experiments/api-slow.yaml").open("a") as file:
        file.write(variants)
    done = typed(second, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert blocks("console")[1].strip() in done.stdout
