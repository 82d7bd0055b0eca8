from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.deployers.docker import Docker
from chaoskit.deployers.external import External
from chaoskit.deployers.process import Process
from chaoskit.errors import CouldNotRun, UndoError
from chaoskit.faults import limits
from chaoskit.faults.disk import BalloonUndo, DiskFull, IoSlow, disk_of
from chaoskit.faults.limits import Group
from chaoskit.model.undo import Undo
from chaoskit.testing import FakeSystem, HistoryBuilder
from tests.faults.disks import free, small_filesystem


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 4 MB of its own."""
    with small_filesystem(tmp_path / "small") as folder:
        yield folder


def test_the_disk_is_full_until_the_file_is_removed(small: Path, tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    fault = DiskFull(id="disk_full", on="orders", path=str(small))
    before = free(small)
    [undo] = fault.undo(system)
    assert free(small) == before, "naming it creates nothing"
    fault.inject(system)
    assert free(small) == 0
    with pytest.raises(OSError, match="No space left"):
        (small / "more").write_bytes(b"x" * 100_000)
    BalloonUndo.apply_undo(undo, None)
    BalloonUndo.apply_undo(undo, None)
    assert free(small) >= before - 4096


def test_what_is_to_stay_free_stays_free(small: Path, tmp_path: Path) -> None:
    fault = DiskFull(id="disk_full", on="orders", path=str(small), leave="1MB")
    fault.inject(FakeSystem(folder=tmp_path))
    assert 1_000_000 <= free(small) < 1_100_000


def test_no_disk_that_others_need_is_ever_filled(tmp_path: Path) -> None:
    system = FakeSystem(folder=tmp_path)
    for path in (str(tmp_path), "/"):
        fault = DiskFull(id="disk_full", on="orders", path=path)
        with pytest.raises(CouldNotRun, match="must not be filled"):
            fault.undo(system)
        with pytest.raises(CouldNotRun, match="must not be filled"):
            fault.inject(system)
    with pytest.raises(CouldNotRun, match="is no folder"):
        DiskFull(id="disk_full", on="orders", path="/nowhere").undo(system)


def test_what_cannot_be_filled_is_known_before_the_run(small: Path, tmp_path: Path) -> None:
    def full(path: Path | str) -> DiskFull:
        return DiskFull(id="disk_full", on="orders", path=str(path))

    assert not full(small).obstacles(Process)
    assert full(small).uses(Process).startswith("a file there (4.")
    (tmp_path / "file").touch()
    for path, because in (("/there/is/none", "is no folder"), (tmp_path / "file", "is no folder"), ("/", "filled")):
        [(key, message)] = full(path).obstacles(Process)
        assert key == "path" and because in message
    for deployer in (Docker, External):
        [(key, message)] = full(small).obstacles(deployer)
        assert key == "kind" and f"({deployer.kind})" in message


def test_what_cannot_be_slowed_down_is_known_before_the_run(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "find_group", lambda *_: Group(1, tmp_path / "ours", tmp_path))
    assert IoSlow(on="postgres", rate="100KB/s").uses(Process) == "cgroup v1 (block devices)"
    assert not IoSlow(on="postgres", rate="100KB/s").obstacles(Process)
    for path in (small, Path("/there/is/none")):
        [(key, message)] = IoSlow(on="postgres", rate="100KB/s", path=str(path)).obstacles(Process)
        assert key == "path" and str(path) in message
    monkeypatch.setattr(limits, "find_group", lambda *_: None)
    [(key, message)] = IoSlow(on="postgres", rate="100KB/s").obstacles(Process)
    assert key == "kind" and "no cgroup" in message
    assert not IoSlow(on="postgres", rate="100KB/s").obstacles(Docker), "nobody knows before they are up"


def test_a_disk_that_cannot_be_slowed_down_is_told_with_the_undo_not_later(small: Path) -> None:
    with pytest.raises(CouldNotRun, match="lies on no disk"):
        IoSlow(id="it", on="postgres", rate="100KB/s").undo(FakeSystem(folder=small))


def test_an_undo_removes_nothing_but_files_of_ours(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    with pytest.raises(UndoError, match="no file of ours"):
        BalloonUndo.apply_undo(Undo(id="x", owner="fault.balloon", args={"file": str(precious)}), None)
    assert precious.exists()


def test_the_disk_of_a_partition_is_the_whole_one(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    disk = tmp_path / "sys/devices/vda"
    (disk / "vda1").mkdir(parents=True)
    (disk / "dev").write_text("254:0\n")
    (disk / "vda1/partition").write_text("1\n")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block" / number).symlink_to(disk / "vda1")
    assert disk_of(tmp_path, root=tmp_path) == "254:0"
    (disk / "vda1/partition").unlink()
    assert disk_of(tmp_path, root=tmp_path) == number


def test_what_lies_on_no_disk_cannot_be_slowed_down(small: Path) -> None:
    with pytest.raises(CouldNotRun, match="lies on no disk"):
        disk_of(small)


def test_a_slow_disk_bit_where_calls_took_longer_and_a_full_one_where_they_failed() -> None:
    def usual() -> HistoryBuilder:
        return HistoryBuilder().calls("orders->postgres", rate=20, took=0.02).fault("it", on="postgres")

    slow = IoSlow(id="it", on="postgres", rate="100KB/s")
    assert not slow.trace(usual().build()).bit
    assert slow.trace(usual().calls("orders->postgres", "fault", rate=20, took=0.3).build()).bit
    full = DiskFull(id="it", on="postgres", path="/mnt/x")
    assert not full.trace(usual().calls("orders->postgres", "fault", rate=20, took=0.3).build()).bit
    assert full.trace(usual().calls("orders->postgres", "fault", rate=20, took=0.02, failures={"cut": 0.3}).build()).bit
