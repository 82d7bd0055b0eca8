"""A run as somebody at a terminal sees it: a picture of now below the lines, with the findings so far."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY

pytestmark = pytest.mark.live

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def test_findings_so_far_are_shown_while_the_run_goes_on(tmp_path: Path, state_folder: Path) -> None:
    ours, theirs = pty.openpty()
    env = {**os.environ, "CHAOSKIT_STATE": str(state_folder), "TERM": "xterm-256color", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-m", "chaoskit", "run", str(TINY), "--variant", "patient", "--store", str(tmp_path)],
        stdin=theirs, stdout=theirs, stderr=theirs, env=env,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as screen:
        try:
            while piece := screen.read(65536):
                shown += piece
        except OSError:  # how Linux says that the other end was closed
            pass
    assert process.wait(30.0) in (0, 3), shown.decode()
    text = _CONTROL.sub("", shown.decode())
    before, _, after = text.partition("so far   ✓ latency  · error_rate  · recovery")
    assert after, text
    assert "▶ recovery" in before
    assert "so far   · latency  · error_rate  · recovery" in before, "what is not judged yet is shown as such"
    assert "supported as expected" in after or "inconclusive" in after, "the verdict comes after it"
