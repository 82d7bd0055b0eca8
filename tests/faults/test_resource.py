from __future__ import annotations

import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationError

from chaoskit.deployers.docker import Docker
from chaoskit.deployers.external import External
from chaoskit.deployers.process import Process
from chaoskit.errors import UndoError
from chaoskit.faults import limits
from chaoskit.faults.hogs import HOG_MARK, HogUndo, hog_undo, start_hogs
from chaoskit.faults.limits import (
    DutyUndo,
    Group,
    GroupUndo,
    LimitUndo,
    duty_cycle,
    duty_undo,
    find_group,
    group_undo,
    limit_undo,
    lower_limit,
)
from chaoskit.faults.resource import Cpu, Descriptors, Memory, limit_that_leaves
from chaoskit.processes import marked, table
from chaoskit.testing import HistoryBuilder

EDGE = "orders->payments"


@pytest.fixture
def busy() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process.pid
    process.kill()
    process.wait()


def machine(root: Path, mounts: str, membership: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/7").mkdir()
    (root / "proc/self/mountinfo").write_text(mounts)
    (root / "proc/7/cgroup").write_text(membership)
    return root


def test_under_v1_the_group_lies_below_the_process_own(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "33 32 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n",
        "3:cpu,cpuacct:/user\n1:name=systemd:/\n",
    )
    home = root / "sys/fs/cgroup/cpu/user"
    home.mkdir(parents=True)
    (home / "cgroup.procs").write_text("7\n")
    assert find_group("cpu", 7, "mine", root=root) == Group(1, home / "mine", home)
    assert find_group("memory", 7, "mine", root=root) is None


def test_under_v2_it_lies_beside_the_process_own_where_that_level_has_the_controller(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "33 32 0:29 /user.slice /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n",
        "0::/user.slice/app.slice/shell.scope\n",
    )
    home = root / "sys/fs/cgroup/app.slice/shell.scope"
    home.mkdir(parents=True)
    (home.parent / "cgroup.subtree_control").write_text("memory pids\n")
    assert find_group("memory", 7, "mine", root=root) == Group(2, home.parent / "mine", home)
    assert find_group("cpu", 7, "mine", root=root) is None


@pytest.mark.skipif(not find_group("cpu", os.getpid(), "x"), reason="no cgroup that we may write")
def test_a_real_group_is_entered_and_left_and_leaving_twice_is_no_error(busy: int) -> None:
    group = find_group("cpu", busy, f"chaoskit-test-{busy}")
    assert group is not None
    undo = group_undo(group)
    assert not group.folder.exists(), "naming it creates nothing"
    settings = (
        {"cpu.cfs_period_us": "10000", "cpu.cfs_quota_us": "1000"} if group.version == 1 else {"cpu.max": "1000 10000"}
    )
    group.enter(settings, [busy])
    try:
        assert str(busy) in (group.folder / "cgroup.procs").read_text().split()
    finally:
        GroupUndo.apply_undo(undo, None)
    assert not group.folder.exists()
    assert str(busy) in (group.home / "cgroup.procs").read_text().split()
    GroupUndo.apply_undo(undo, None)


def left_behind(root: Path, *pids: int) -> Group:
    """A group of ours under v2 whose home somebody has removed in the meantime."""
    group = Group(2, root / "slice/ours", root / "slice/theirs.scope")
    group.folder.mkdir(parents=True)
    (group.folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    return group


def test_processes_go_home_although_their_group_was_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)  # its files are the kernel's, and go with a group
    group = left_behind(tmp_path, 4242)
    GroupUndo.apply_undo(group_undo(group), None)
    assert not group.folder.exists()
    assert (group.home / "cgroup.procs").read_text() == "4242"
    empty = left_behind(tmp_path / "empty")
    GroupUndo.apply_undo(group_undo(empty), None)
    assert not empty.folder.exists() and not empty.home.exists(), "nobody wanted to go there"


def test_a_group_that_stays_is_said(tmp_path: Path) -> None:
    group = left_behind(tmp_path, 4242)
    group.home.touch()  # no folder can be made there
    with pytest.raises(UndoError, match="is still there"):
        GroupUndo.apply_undo(group_undo(group), None)


def test_a_limit_is_lowered_and_set_back_in_a_fresh_process(busy: int) -> None:
    before = resource.prlimit(busy, resource.RLIMIT_NOFILE)
    undo = limit_undo("orders", [busy], resource.RLIMIT_NOFILE)
    lower_limit(busy, resource.RLIMIT_NOFILE, 7)
    assert resource.prlimit(busy, resource.RLIMIT_NOFILE) == (7, before[1])
    LimitUndo.apply_undo(undo, None)
    LimitUndo.apply_undo(undo, None)
    assert resource.prlimit(busy, resource.RLIMIT_NOFILE) == before


def test_stopping_by_turns_holds_a_process_to_its_share_until_it_is_undone(busy: int) -> None:
    def used(seconds: float) -> float:
        began = time.clock_gettime((~busy << 3) | 2)
        time.sleep(seconds)
        return (time.clock_gettime((~busy << 3) | 2) - began) / seconds

    undo = duty_undo("orders", [busy])
    duty_cycle(undo, [busy], 0.05)
    held = used(1.0)
    DutyUndo.apply_undo(msgspec.structs.replace(undo, id=f"cpu: {undo.id}"), None)  # as it is called in the journal
    assert held < 0.15
    assert used(1.0) > held
    DutyUndo.apply_undo(undo, None)


def test_a_fresh_process_continues_what_a_dead_one_stopped(busy: int) -> None:
    undo = duty_undo("orders", [busy])
    os.kill(busy, signal.SIGSTOP)
    DutyUndo.apply_undo(undo, None)
    time.sleep(0.05)
    assert Path(f"/proc/{busy}/stat").read_text().rpartition(")")[2].split()[0] != "T"


@pytest.mark.parametrize("taken", [[], [0, 1, 2], [0, 1, 2, 4, 5], [1, 9]])
@pytest.mark.parametrize("left", [0, 1, 2, 7])
def test_the_limit_leaves_just_so_many_descriptors(left: int, taken: list[int]) -> None:
    limit = limit_that_leaves(left, taken)
    assert len(set(range(limit)) - set(taken)) == left
    assert limit not in taken, "a new one would take this number, and may not"


# ---------------------------------------------------------------------------------------------------------- traces


def usual() -> HistoryBuilder:
    return HistoryBuilder().calls(EDGE, rate=20, took=0.05).probe("payments/ready").fault("it", on="payments.1")


def test_a_share_of_the_processor_bit_where_it_was_used_before_and_held_during() -> None:
    fault = Cpu(id="it", on="payments.1", to="10%")

    def history(before: float, during: float) -> HistoryBuilder:
        builder = usual().metric("service_cpu", (0.0, 8.0), before, every=0.5, source="payments.1")
        return builder.metric("service_cpu", (8.0, 18.0), during, every=0.5, source="payments.1")

    assert fault.trace(history(0.4, 0.1).build()).bit
    assert "used 40% of a core in baseline and 10% during" in fault.trace(history(0.4, 0.1).build()).because
    assert not fault.trace(history(0.4, 0.35).build()).bit
    trace = fault.trace(history(0.02, 0.02).build())
    assert not trace.bit
    assert "it has more than it needs" in trace.because
    assert fault.trace(history(0.1, 0.09).calls(EDGE, "fault", rate=20, took=0.4).build()).bit


def test_starving_bit_where_it_exited_failed_its_checks_or_its_callers() -> None:
    for fault in (Memory(id="it", on="payments.1", more="1MB"), Descriptors(id="it", on="payments.1")):
        assert not fault.trace(usual().build()).bit
        assert not fault.trace(usual().calls(EDGE, "fault", rate=20, took=0.2).build()).bit, "slow is not starved"
        assert fault.trace(usual().event("exited", 9.0, replica="payments.1").build()).bit
        assert fault.trace(usual().probe("payments.1/ready", "fault", ok=False).build()).bit
        assert fault.trace(usual().calls(EDGE, "fault", rate=20, took=0.05, failures={"status 500": 0.3}).build()).bit


CPU, MEMORY = Cpu(on="payments", to="10%"), Memory(on="payments", more="1MB")


@pytest.fixture
def grouped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with cgroups that we may write."""
    monkeypatch.setattr(limits, "find_group", lambda *_: Group(2, Path("/x/ours"), Path("/x/home")))


@pytest.fixture
def ungrouped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without."""
    monkeypatch.setattr(limits, "find_group", lambda *_: None)


def by(fault: Cpu | Memory, way: str) -> Cpu | Memory:
    return fault.model_copy(update={"by": way})


@pytest.mark.usefixtures("grouped")
def test_a_cgroup_is_used_where_there_is_one() -> None:
    assert CPU.uses(Process) == by(CPU, "cgroup").uses(Process) == "cgroup v2 (cpu)"
    assert MEMORY.uses(Process) == by(MEMORY, "cgroup").uses(Process) == "cgroup v2 (memory)"
    assert by(CPU, "signals").uses(Process) == "SIGSTOP and SIGCONT by turns"
    assert by(MEMORY, "limit").uses(Process) == "prlimit (RLIMIT_DATA)"
    assert Descriptors(on="payments").uses(Process) == "prlimit (RLIMIT_NOFILE)"
    assert not any(fault.obstacles(Process) for fault in (CPU, MEMORY, by(CPU, "cgroup"), by(MEMORY, "cgroup")))


@pytest.mark.usefixtures("ungrouped")
def test_without_one_others_are_used_and_what_asks_for_one_is_refused() -> None:
    assert CPU.uses(Process) == "SIGSTOP and SIGCONT by turns" and not CPU.obstacles(Process)
    assert MEMORY.uses(Process) == "prlimit (RLIMIT_DATA)" and not MEMORY.obstacles(Process)
    for fault, other in ((CPU, "signals"), (MEMORY, "limit")):
        [(key, message)] = by(fault, "cgroup").obstacles(Process)
        assert key == "by" and "no cgroup" in message and f"by: {other}" in message
        assert not by(fault, other).obstacles(Process)
    assert not Cpu(on="payments", hog=2, by="cgroup").obstacles(Process), "neighbours need none"


@pytest.mark.usefixtures("ungrouped")
def test_of_containers_nobody_knows_before_they_are_up() -> None:
    for deployer in (Docker, External):
        for fault in (CPU, MEMORY, by(CPU, "cgroup")):
            assert "beside that of each container" in fault.uses(deployer)
            assert not fault.obstacles(deployer)
        assert CPU.uses(deployer).endswith("else SIGSTOP and SIGCONT by turns")
        assert "SIGSTOP" not in by(CPU, "cgroup").uses(deployer)


def test_elsewhere_than_on_linux_nothing_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    for fault in (CPU, MEMORY, Descriptors(on="payments")):
        [(key, message)] = fault.obstacles(Process)
        assert key == "kind" and "needs Linux" in message


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no process can be kept on a core here")
def test_busy_neighbours_share_one_core_and_are_ended_by_anybody_who_reads_the_journal(busy: int) -> None:
    mark, cores = f"chaoskit-test-{busy}", os.sched_getaffinity(busy)
    undo = hog_undo(mark, "payments", [busy])
    assert not marked(HOG_MARK, mark, table()), "naming them starts none"
    start_hogs(mark, [busy], 2)
    try:
        until = time.monotonic() + 10.0  # a process bears its mark a moment after its exec
        while len(marked(HOG_MARK, mark, table())) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(marked(HOG_MARK, mark, table())) == 2 and len(os.sched_getaffinity(busy)) == 1
    finally:
        HogUndo.apply_undo(undo, None)
    assert not marked(HOG_MARK, mark, table()) and os.sched_getaffinity(busy) == cores
    HogUndo.apply_undo(undo, None)


@pytest.mark.skipif(not find_group("cpu", os.getpid(), "x"), reason="no cgroup that we may write")
def test_neighbours_of_what_is_in_another_cgroup_get_one_that_weighs_as_many_as_they_are(busy: int) -> None:
    """The kernel shares by groups first: all neighbours in one would be one."""
    mark = f"chaoskit-test-{busy}"
    theirs = find_group("cpu", busy, f"{mark}-container")
    assert theirs is not None
    theirs.enter({}, [busy])
    try:
        group = find_group("cpu", busy, f"{mark}-hogs")
        assert group is not None and group.home == theirs.folder
        undos = [hog_undo(mark, "payments", [busy]), group_undo(group)]
        assert not group.folder.exists() and str(group.folder) in undos[1].says
        start_hogs(mark, [busy], 3, group)
        try:
            inside = {int(pid) for pid in (group.folder / "cgroup.procs").read_text().split()}
            weight = int((group.folder / ("cpu.shares" if group.version == 1 else "cpu.weight")).read_text())
        finally:
            for owner, undo in zip((HogUndo, GroupUndo), undos, strict=True):
                owner.apply_undo(undo, None)
        assert len(inside) == 3 and not inside & set(marked(HOG_MARK, mark, table()))
        assert weight == (3 * 1024 if group.version == 1 else 3 * 100)
        assert not group.folder.exists()
        for owner, undo in zip((HogUndo, GroupUndo), undos, strict=True):
            owner.apply_undo(undo, None)
    finally:
        theirs.leave()


@pytest.mark.parametrize(("own", "weight"), [("100\n", "400"), ("50\n", "200"), ("5000\n", "10000"), (None, "400")])
def test_under_v2_neighbours_weigh_as_many_of_the_services_group(tmp_path: Path, own: str | None, weight: str) -> None:
    group = Group(2, tmp_path / "slice/ours", tmp_path / "slice/theirs.scope")
    group.home.mkdir(parents=True)
    if own is not None:
        (group.home / "cpu.weight").write_text(own)
    group.weigh(4, [])
    assert (group.folder / "cpu.weight").read_text() == weight


def test_a_share_or_neighbours_but_not_both() -> None:
    assert Cpu(on="payments", hog=1).says() == "1 busy neighbour on its core"
    assert Cpu(on="payments", to="10%").says() == "cpu held to 10% of a core"
    for both in ({}, {"to": "10%", "hog": 2}):
        with pytest.raises(ValidationError, match="busy neighbours"):
            Cpu.model_validate({"on": "payments", **both})


def test_neighbours_that_a_service_does_not_notice_did_not_bite() -> None:
    history = HistoryBuilder().calls(EDGE, rate=20, took=0.05).fault("cpu", on="payments.1").build()
    trace = Cpu(id="cpu", on="payments.1", hog=4).trace(history)
    assert not trace.bit and "nothing came of it" in trace.because
    slower = HistoryBuilder().calls("orders->payments.1", rate=20, took=0.02).fault("cpu", on="payments.1")
    slower.calls("orders->payments.1", "fault", rate=20, took=0.2)
    assert Cpu(id="cpu", on="payments.1", hog=4).trace(slower.build()).bit
