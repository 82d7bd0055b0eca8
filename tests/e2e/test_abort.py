"""Abort conditions in a whole run: also where nothing is answered any more, so that no slot of the load says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import HERE, Command, document, gone_within

pytestmark = pytest.mark.live

FROZEN = f"""
title: Pages come while the front stands still
target: {HERE / "targets" / "tiny" / "target.yaml"}
load: {{rate: 40/s, requests: [{{name: page, path: /page, timeout: 60s}}]}}
phases: {{warmup: 1s, baseline: 3s, fault: 30s, recovery: 1s}}
blast_radius: [front]
abort_when: throughput < 5/s for 1s
faults:
  - {{kind: pause, on: front}}
hypotheses:
  - {{kind: error_rate, max: 5%}}
"""


def test_silence_takes_the_fault_out_and_refutes_the_run(chaoskit: Callable[..., Command], tmp_path: Path) -> None:
    (tmp_path / "frozen.yaml").write_text(FROZEN)
    command = chaoskit("run", "frozen.yaml", "--json", "--quiet")
    command.wait_for(lambda: bool(command.journals()))
    ids = command.run_ids()
    code, out, err = command.finish(90.0)
    assert code == 1, out + err
    [run] = document(out)["runs"]
    assert run["verdict"] == "refuted" and run["undo_left"] == []
    [aborted] = [finding for finding in run["findings"] if finding["aborted"]]
    assert "`throughput < 5/s for 1s` fired" in aborted["because"]
    assert 5.0 < aborted["evidence"][0][1] < 15.0, "the fault went in at 4 s, and would have come out at 34 s"
    gone_within(5.0, ids)
