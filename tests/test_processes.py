"""Identities of processes, families, and their ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaoskit import processes
from chaoskit.processes import (
    CHILD_MARK,
    Ending,
    ProcessId,
    descendants,
    end_all,
    family,
    identify,
    marked,
    running,
    table,
)

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, **env: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["sh", "-c", script], env={**os.environ, **env}, start_new_session=True)
        started.append(child)
        return child

    yield start
    for child in started:
        for pid in [*descendants(table(), child.pid), child.pid]:
            if running(identify(pid) or ProcessId(pid, "", "")):
                os.kill(pid, signal.SIGKILL)
        child.wait()


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not what():
        assert time.monotonic() < until, "waited for 10 s"
        time.sleep(0.01)


def of(child: subprocess.Popen[bytes]) -> ProcessId:
    found = identify(child.pid)
    assert found is not None
    return found


def test_a_process_is_itself_and_no_other(start: Start) -> None:
    process = of(start("sleep 60"))
    assert running(process)
    assert not running(process._replace(started="1"))
    assert not running(process._replace(boot="another"))


def test_a_zombie_has_ended(start: Start) -> None:
    child = start("exit 0")
    wait_for(lambda: table()[child.pid].state == "Z")
    assert not running(of(child))


def test_a_name_with_parentheses_does_not_confuse_the_table(start: Start, tmp_path: Path) -> None:
    link = tmp_path / "a) (R 1"
    link.symlink_to("/bin/sleep")
    child = start(f"exec '{link}' 60")
    wait_for(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "a) (R 1\n")
    assert table()[child.pid].parent == os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="compares /proc with ps")
def test_ps_tells_the_same_families_as_proc(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    child = start("sleep 60 & sleep 60")
    wait_for(lambda: len(descendants(table(), child.pid)) == 2)
    by_proc = descendants(table(), child.pid)
    monkeypatch.setattr(processes, "_HAS_PROC", False)
    assert descendants(table(), child.pid) == by_proc
    assert running(of(child))
    assert not running(of(child)._replace(started="Sat Jan  1 00:00:00 2000"))


def test_a_mark_is_the_whole_value_of_one_variable(start: Start) -> None:
    child = start("sleep 60", **{CHILD_MARK: "run/12"})
    wait_for(lambda: bool(marked(CHILD_MARK, "run/12", [child.pid])))
    assert not marked(CHILD_MARK, "run/1", [child.pid])
    assert not marked("KIT_CHILD", "run/12", [child.pid])


def test_a_family_holds_what_was_daemonised(start: Start) -> None:
    child = start("(setsid sleep 60 &); sleep 60", **{CHILD_MARK: "run/1"})
    wait_for(lambda: len(family(of(child), "run/1", table())) == 3)
    assert os.getpid() not in family(of(child), "run/1", table())


def test_a_family_is_not_that_of_whoever_has_the_pid_now(start: Start) -> None:
    child = start("sleep 60")
    assert family(of(child)._replace(started="1"), "run/none", table()) == set()


def test_an_end_is_asked_for_before_it_is_forced(start: Start, tmp_path: Path) -> None:
    child = start(f"trap 'echo asked > {tmp_path}/said; exit 0' TERM; while :; do sleep 0.05; done")
    time.sleep(0.2)
    assert end_all([Ending(of(child), "run/1", signal.SIGTERM, 5.0)], 10.0) == []
    assert child.wait() == 0
    assert (tmp_path / "said").read_text() == "asked\n"


def test_who_does_not_listen_is_killed_when_the_grace_is_over(start: Start) -> None:
    child = start("trap '' TERM; while :; do sleep 0.05; done")
    time.sleep(0.2)
    assert end_all([Ending(of(child), "run/1", signal.SIGTERM, 0.2)], 10.0) == []
    assert child.wait() == -signal.SIGKILL


def test_a_stopped_process_hears_too(start: Start) -> None:
    child = start("exec sleep 60")
    os.kill(child.pid, signal.SIGSTOP)
    wait_for(lambda: table()[child.pid].state == "T")
    assert end_all([Ending(of(child), "run/1", signal.SIGTERM, 5.0)], 10.0) == []
    assert child.wait() == -signal.SIGTERM


def test_what_a_process_leaves_behind_ends_with_it(start: Start) -> None:
    child = start("(setsid sleep 61 &); sleep 60", **{CHILD_MARK: "run/7"})
    wait_for(lambda: len(family(of(child), "run/7", table())) == 3)
    root = of(child)
    everybody = family(root, "run/7", table())
    assert end_all([Ending(root, "run/7", signal.SIGTERM, 1.0)], 10.0) == []
    assert not [pid for pid in everybody if pid in table() and table()[pid].state != "Z"]
