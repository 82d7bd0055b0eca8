"""One whole run of a small real target: verdict, exit code, reports, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Command, document, gone_within, marked_processes
from tests.requires import requires

pytestmark = pytest.mark.live


def test_both_variants_come_out_as_expected_and_leave_nothing(chaoskit: Callable[..., Command], tmp_path: Path) -> None:
    command = chaoskit("run", str(TINY), "--json", "--quiet")
    command.wait_for(lambda: bool(command.journals()))
    ids = command.run_ids()
    code, out, err = command.finish(120.0)
    assert code == 0, out + err
    result = document(out)
    assert result["format_version"] == 1
    assert result["verdict"] == "supported" and result["as_expected"]
    assert [(run["variant"], run["verdict"]) for run in result["runs"]] == [
        ("patient", "supported"),
        ("hasty", "refuted"),
    ]
    for run in result["runs"]:
        assert run["undo_left"] == []
        assert all(gate["open"] for gate in run["gates"]), run["gates"]
        assert run["load"]["page"]["fault"]["requests"] == pytest.approx(160, abs=3)
        folder = Path(run["folder"]) if Path(run["folder"]).is_absolute() else tmp_path / run["folder"]
        for name in ("report.html", "result.json", "junit.xml", "summary.md", "run.json", "history.jsonl"):
            assert (folder / name).stat().st_size > 100, name
        assert json.loads((folder / "result.json").read_text())["runs"][0]["id"] == run["id"]
    trace = next(gate for gate in result["runs"][0]["gates"] if gate["gate"] == "trace")
    assert "calls" in trace["because"]
    gone_within(5.0, ids)
    assert not command.journals(), "a clean end leaves no journal"


def test_the_same_run_read_from_disk_judges_the_same(chaoskit: Callable[..., Command], tmp_path: Path) -> None:
    code, out, err = chaoskit("run", str(TINY), "--variant", "patient", "--json", "--quiet").finish(90.0)
    assert code == 0, out + err
    folder = tmp_path / document(out)["runs"][0]["folder"]
    before = json.loads((folder / "result.json").read_text())
    (folder / "result.json").unlink()
    (folder / "report.html").unlink()
    code, out, err = chaoskit("report", str(folder)).finish(60.0)
    assert code == 0, out + err
    assert json.loads((folder / "result.json").read_text()) == before
    assert (folder / "report.html").exists()


@pytest.mark.parametrize("phase", ["warmup", "baseline", "fault", "recovery"])
def test_ctrl_c_undoes_reports_and_exits_130(chaoskit: Callable[..., Command], phase: str) -> None:
    command = chaoskit("run", str(TINY), "--variant", "patient", "--json", "--quiet")
    command.wait_for(lambda: command.in_phase(phase))
    time.sleep(0.3)
    ids = command.run_ids()
    os.killpg(command.process.pid, signal.SIGINT)
    code, out, err = command.finish(15.0)
    assert code == 130, out + err
    run = document(out)["runs"][0]
    assert run["verdict"] == "inconclusive"
    assert [gate["gate"] for gate in run["gates"] if not gate["open"]].count("interrupted") == 1
    assert run["undo_left"] == []
    assert (command.reports / "latest").exists() or list(command.reports.glob("*/*/report.html"))
    gone_within(2.0, ids)
    assert not command.journals()


def test_ctrl_c_while_the_target_goes_up_ends_at_once(chaoskit: Callable[..., Command]) -> None:
    command = chaoskit("run", str(TINY), "--variant", "patient", "--json", "--quiet")
    command.wait_for(lambda: bool(marked_processes(command.run_ids())))
    ids = command.run_ids()
    os.killpg(command.process.pid, signal.SIGINT)
    code, out, err = command.finish(15.0)
    assert code == 130, out + err
    gone_within(2.0, ids)


@pytest.mark.parametrize("phase", ["", "baseline", "fault"])
def test_sigkill_leaves_nothing_within_five_seconds(chaoskit: Callable[..., Command], phase: str) -> None:
    command = chaoskit("run", str(TINY), "--variant", "patient", "--quiet")
    if phase:
        command.wait_for(lambda: command.in_phase(phase))
    else:
        command.wait_for(lambda: bool(marked_processes(command.run_ids())))
    ids = command.run_ids()
    os.killpg(command.process.pid, signal.SIGKILL)
    command.process.communicate()
    assert ids
    gone_within(5.0, ids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
@pytest.mark.parametrize(
    ("toxiproxy", "program"),
    [
        ("embedded", "chaoskit.proxy.server"),
        pytest.param("real", "toxiproxy-server", marks=requires("toxiproxy")),
    ],
)
def test_a_proxy_that_dies_or_hangs_ends_the_run_inconclusive(
    chaoskit: Callable[..., Command], toxiproxy: str, program: str, number: int
) -> None:
    command = chaoskit("run", str(TINY), "--variant", "patient", "--json", "--quiet", CHAOSKIT_TOXIPROXY=toxiproxy)
    command.wait_for(lambda: command.in_phase("fault"))
    ids = command.run_ids()
    proxies = [pid for pid in marked_processes(ids) if program.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert proxies
    for pid in proxies:
        os.kill(pid, number)
    killed = time.monotonic()
    command.wait_for(lambda: command.history_says('"kind":"died"'), 2.0)
    print(f"noticed after {time.monotonic() - killed:.2f} s")
    code, out, err = command.finish(20.0)
    took = time.monotonic() - killed
    print(f"over after {took:.2f} s")
    assert code == 3, out + err
    run = document(out)["runs"][0]
    shut = [gate["because"] for gate in run["gates"] if not gate["open"]]
    assert any("proxy died" in because for because in shut), shut
    assert run["undo_left"] == []
    assert took < 8.0, "the report is written, too"
    gone_within(2.0, ids)
    assert not command.journals()
