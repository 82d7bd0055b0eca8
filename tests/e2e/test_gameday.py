"""A game day on a small real target: up, inject, status, down, its report; and what is left when its host is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaoskit.control import standing
from chaoskit.journal import journals
from chaoskit.stopping import stop_runs
from tests.e2e.conftest import HERE, TINY, Command, document, gone_within, listening, marked_processes

pytestmark = pytest.mark.live

TARGET = str(HERE / "targets" / "tiny" / "target.yaml")
LOAD = ("--rate", "40/s", "--path", "/page")


@pytest.fixture(autouse=True)
def _nothing_stays(state_folder: Path) -> Iterator[None]:
    yield
    stop_runs()


def said(chaoskit: Callable[..., Command], *args: str, code: int = 0) -> str:
    found, out, err = chaoskit(*args).finish(60.0)
    assert found == code, out + err
    return out + err


def status(chaoskit: Callable[..., Command]) -> dict:
    found, out, err = chaoskit("status", "--json").finish(30.0)
    assert found == 0, err
    (one,) = json.loads(out)["game_days"]
    return one


def test_what_was_done_lands_in_a_run_with_a_report(chaoskit: Callable[..., Command], tmp_path: Path) -> None:
    out = said(chaoskit, "up", TARGET, *LOAD)
    assert "chaoskit inject latency --on 'front->middle'" in out
    (run,) = standing()
    before = time.monotonic()
    while time.monotonic() < before + 2.5:
        time.sleep(0.1)
    out = said(chaoskit, "inject", "latency", "--on", "middle->back", "--add", "150ms", "--for", "2s")
    assert "in, out in" in out
    time.sleep(1.4)
    now = status(chaoskit)
    assert now["run"] == run
    assert now["load"]["rate"] == pytest.approx(40, rel=0.5)
    (fault,) = now["faults"]
    assert (fault["id"], fault["kind"], fault["on"]) == ("latency", "latency", ["middle->back"])
    assert {check["name"] for check in now["checks"]} >= {"back/ready", "front/live"}
    watched = said(chaoskit, "watch", "--for", "3s")
    assert "fault out" in watched and "/s" in watched
    code, out, err = chaoskit("down", "--json").finish(60.0)
    assert code == 0, out + err
    (kept,) = document(out)["runs"]
    assert (kept["verdict"], kept["expected"], kept["as_expected"]) == ("inconclusive", "inconclusive", True)
    assert set(kept["windows"]) == {"baseline", "fault", "recovery"}
    assert [(fault["kind"], fault["undone"] is not None) for fault in kept["faults"]] == [("latency", True)]
    (trace,) = [gate for gate in kept["gates"] if gate["gate"] == "trace"]
    assert trace["open"], trace
    assert kept["load"]["GET /page"]["fault"]["requests"] > 20
    folder = Path(kept["folder"])
    for name in ("report.html", "summary.md", "junit.xml", "history.jsonl"):
        assert (folder / name).stat().st_size > 100, name
    gone_within(3.0, [run])
    assert not standing() and not list(journals())


def test_a_fault_comes_out_when_it_is_told_to(chaoskit: Callable[..., Command]) -> None:
    said(chaoskit, "up", TARGET, "-q")
    said(chaoskit, "inject", "pause", "--on", "back", "--for", "10m")
    assert [fault["state"] for fault in status(chaoskit)["faults"]] == ["in"]
    said(chaoskit, "inject", "--withdraw", "pause")
    assert [fault["state"] for fault in status(chaoskit)["faults"]] == ["out"]
    assert "no fault 'pause'" in said(chaoskit, "inject", "--withdraw", "pause", code=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("latncy", "--on", "middle->back", "--add", "1s"), "did you mean 'latency'?"),
        (("latency", "--on", "middle->bak", "--add", "1s"), "did you mean 'middle->back'?"),
        (("latency", "--on", "middle->back", "--ad", "1s"), "did you mean 'add'?"),
        (("latency", "--on", "front->middle", "--add", "1s"), "outside the blast radius"),
        (("latency", "--on", "middle->back", "--add", "100"), "add"),
        (("disconnect", "--on", "back"), "process cannot"),
        (("kill", "--on", "middle->back"), "acts on services"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(
    standing_still: Callable[..., Command], arguments: tuple[str, ...], message: str
) -> None:
    out = said(standing_still, "inject", *arguments, code=2)
    assert message in out
    assert out.count("error:") == 1
    assert status(standing_still)["faults"] == []


@pytest.fixture
def standing_still(chaoskit: Callable[..., Command]) -> Callable[..., Command]:
    """One without a load, whose faults may touch the last service and the way to it."""
    said(chaoskit, "up", TARGET, "-q", "--blast-radius", "middle->back", "--blast-radius", "back")
    return chaoskit


def test_requests_of_others_go_through_its_proxies(chaoskit: Callable[..., Command]) -> None:
    code, out, err = chaoskit("up", TARGET, "--print-env").finish(60.0)
    assert code == 0, err
    lines = [line.partition("=") for line in out.splitlines() if not line.startswith("#")]
    entry = next(value for name, _, value in lines if name == "CHAOSKIT_ENTRY_URL")
    middle = next(value for name, _, value in lines if name == "NEXT_URL")
    for _ in range(10):
        urllib.request.urlopen(f"{entry}/page", timeout=5).read()
        urllib.request.urlopen(f"{middle}/page", timeout=5).read()
    time.sleep(0.8)
    edges = {edge["edge"]: edge for edge in status(chaoskit)["edges"]}
    assert edges["load->front"]["rate"] > 0
    assert edges["front->middle"]["rate"] > edges["load->front"]["rate"]


def test_services_of_others_are_broken_and_left_alone(chaoskit: Callable[..., Command], tmp_path: Path) -> None:
    (tmp_path / "page").write_text("hello")
    theirs = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert theirs.stdout is not None
        port = int(theirs.stdout.readline().split(" port ")[1].split()[0])
        target = tmp_path / "target.yaml"
        target.write_text(f'name: theirs\nentry: web\nservices:\n  web: {{url: "http://127.0.0.1:{port}"}}\n')
        said(chaoskit, "up", str(target), "--deployer", "external", "--rate", "20/s", "--path", "/page", "-q")
        time.sleep(2.0)
        said(chaoskit, "inject", "reset", "--on", "load->web", "--for", "2s")
        assert "only knows its url" in said(chaoskit, "inject", "kill", "--on", "web", code=2)
        time.sleep(2.5)
        code, out, err = chaoskit("down", "--json").finish(60.0)
        assert code == 0, out + err
        (kept,) = document(out)["runs"]
        (trace,) = [gate for gate in kept["gates"] if gate["gate"] == "trace"]
        assert trace["open"], trace
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/page", timeout=5).read() == b"hello"
    finally:
        theirs.kill()
        theirs.communicate()


def test_a_killed_host_leaves_nothing(chaoskit: Callable[..., Command]) -> None:
    said(chaoskit, "up", TARGET, *LOAD, "-q")
    said(chaoskit, "inject", "latency", "--on", "middle->back", "--add", "1s", "--for", "10m")
    said(chaoskit, "inject", "pause", "--on", "back", "--for", "10m")
    now = status(chaoskit)
    ports = [int(edge["listen"].rpartition(":")[2]) for edge in now["edges"]]
    assert marked_processes([now["run"]]) and all(listening(port) for port in ports)
    os.kill(now["pid"], signal.SIGKILL)
    gone_within(5.0, [now["run"]])
    until = time.monotonic() + 5.0
    while (list(journals()) or standing()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not list(journals()) and not standing()
    assert not any(listening(port) for port in ports)
    assert "no game day is up" in said(chaoskit, "down", code=2)


def test_ctrl_c_while_it_goes_up_takes_it_down_again(chaoskit: Callable[..., Command]) -> None:
    command = chaoskit("up", TARGET)
    command.wait_for(lambda: bool(marked_processes(command.run_ids())))
    ids = command.run_ids()
    command.process.send_signal(signal.SIGINT)
    code, out, err = command.finish(20.0)
    assert code == 130, out + err
    gone_within(3.0, ids)
    assert not list(journals()) and not standing()


def test_up_that_is_killed_before_it_stands_takes_it_down_again(chaoskit: Callable[..., Command]) -> None:
    command = chaoskit("up", TARGET)
    command.wait_for(lambda: bool(marked_processes(command.run_ids())))
    ids = command.run_ids()
    command.process.kill()
    command.process.communicate()
    gone_within(8.0, ids)
    assert not standing()


def test_a_target_that_does_not_come_up_is_exit_4_with_its_log(
    chaoskit: Callable[..., Command], tmp_path: Path
) -> None:
    broken = tmp_path / "target.yaml"
    broken.write_text("name: broken\nentry: web\nservices:\n  web: {run: \"python -c 'print(1/0)' {port}\"}\n")
    out = said(chaoskit, "up", str(broken), code=4)
    assert "ZeroDivisionError" in out
    assert not standing() and not list(journals())


def test_stop_all_ends_a_game_day_and_a_run_and_says_so(chaoskit: Callable[..., Command]) -> None:
    said(chaoskit, "up", TARGET, "-q")
    run = chaoskit("run", str(TINY), "--quiet", "--json")
    run.wait_for(lambda: run.in_phase("baseline"))
    ids = run.run_ids()
    assert len(ids) == 2
    out = said(chaoskit, "stop", "--all", "--because", "that was enough")
    assert all(one in out for one in ids) and "that was enough" in out
    assert not marked_processes(ids) and not list(journals()) and not standing()
    code, out, err = run.finish(20.0)
    assert code == 130, out + err
    (kept,) = document(out)["runs"]
    assert kept["undo_left"] == [] and kept["verdict"] == "inconclusive"
    assert "that was enough" in said(chaoskit, "up", TARGET, code=4)
    said(chaoskit, "stop", "--lift")


def test_the_lever_put_there_by_hand_ends_a_game_day(chaoskit: Callable[..., Command], state_folder: Path) -> None:
    said(chaoskit, "up", TARGET, "-q")
    (run,) = standing()
    (state_folder / "stopped").touch()
    gone_within(4.0, [run])
    until = time.monotonic() + 5.0
    while list(journals()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not list(journals()) and not standing()
