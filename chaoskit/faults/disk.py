"""Faults on the disks that services write to: slow, or full."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from chaoskit.errors import CouldNotRun, UndoError
from chaoskit.faults.edge import toxic_name
from chaoskit.faults.evidence import Bite, size_text
from chaoskit.faults.limits import Group, group_undo
from chaoskit.faults.network import ByteRate
from chaoskit.faults.resource import ResourceFault
from chaoskit.faults.service import ServiceFault, Watched, strain_bite
from chaoskit.interfaces import Deployer, ReplicaControl, System, UndoOwner
from chaoskit.journal import state_folder
from chaoskit.model.undo import Undo
from chaoskit.model.units import Size

__all__ = ["BalloonUndo", "DiskFull", "IoSlow", "disk_of"]

_PIECE = 2**20


def disk_of(path: Path, *, root: Path = Path("/")) -> str:
    """`major:minor` of the whole disk that `path` lies on: limits are of disks, not of their partitions.

    Raises CouldNotRun where it lies on none (memory, a network, an overlay), or is not there. `root` is for tests.
    """
    try:
        device = path.stat().st_dev
    except OSError as error:
        raise CouldNotRun(f"{path}: {error.strerror}") from error
    number = f"{os.major(device)}:{os.minor(device)}"
    entry = root / "sys/dev/block" / number
    if not entry.exists():
        raise CouldNotRun(f"{path} lies on no disk of its own whose speed could be limited")
    if (entry / "partition").exists():
        return (entry.resolve().parent / "dev").read_text().strip()
    return number


class IoSlow(ResourceFault):
    """Slow down what a service reads from and writes to its disk.

    What it does
        Holds the reads and the writes of each replica to `rate`, by a cgroup. Under cgroup v1 writes that the kernel
        still holds back are not counted: it is those that a service waits for (a database's commit) that get slow.

    What it reveals
        Commits that hold locks meanwhile, logging that blocks, queries that were quick only because of the cache.

    Example
        {kind: io_slow, on: postgres, rate: 100KB/s}

    Undone by
        Moving its processes back to their own cgroup.
    """

    kind: ClassVar[str] = "io_slow"
    controllers: ClassVar[tuple[str, ...]] = ("blkio", "io")

    rate: ByteRate = Field(ge=1000)
    """Bytes per second, of reads and of writes."""
    path: str = ""
    """A path on the disk that is meant (default: the one with the run's folder, where real servers keep their data)."""

    def says(self) -> str:
        return f"disk held to {size_text(self.rate)}/s"

    def obstacles(self, deployer: type[Deployer]) -> Sequence[tuple[str, str]]:
        found = [*super().obstacles(deployer)]
        if not found and self.no_group(deployer):
            found.append(("kind", "there is no cgroup for block devices that we may use here"))
        if self.path:
            try:
                disk_of(Path(self.path))
            except CouldNotRun as error:
                found.append(("path", error.message))
        return found

    def uses(self, deployer: type[Deployer]) -> str:
        return self.by_group(deployer, "block devices")

    def _disk(self, system: System) -> str:
        return disk_of(Path(self.path) if self.path else system.folder)

    def _group(self, system: System, replica: ReplicaControl) -> Group:
        group = self.group(system, replica)
        if group is None:
            raise CouldNotRun(f"io_slow on {replica.name}: there is no cgroup for block devices that we may use here")
        return group

    def undo(self, system: System) -> Sequence[Undo]:
        self._disk(system)  # told now where there is none, not when it is to be slowed down
        return [group_undo(self._group(system, replica)) for replica in self.controls(system)]

    def inject(self, system: System) -> None:
        disk = self._disk(system)
        v1 = {f"blkio.throttle.{way}_bps_device": f"{disk} {int(self.rate)}" for way in ("read", "write")}
        for replica in self.controls(system):
            group = self._group(system, replica)
            v2 = {"io.max": f"{disk} rbps={int(self.rate)} wbps={int(self.rate)}"}
            group.enter(v1 if group.version == 1 else v2, self.pids(replica))

    def bite(self, watched: Watched) -> Bite:
        return strain_bite(watched, f"the disk of {watched.replica} was held to {size_text(self.rate)}/s")


class DiskFull(ServiceFault):
    """Fill the disk that a service writes to.

    What it does
        Fills the filesystem of `path` with a file of ours, but for `leave` bytes. Only a filesystem of its own is ever
        filled: never the one of the system, of temporary files, of the run's folder or of the journal. Only of services
        that run as processes: what containers write to is not where `path` leads on this machine.

    What it reveals
        Logs that stop a service, databases that do not come up again, half-written files that are taken for whole.

    Example
        {kind: disk_full, on: orders, path: /mnt/orders}

    Undone by
        Removing the file.
    """

    kind: ClassVar[str] = "disk_full"
    needs: ClassVar[frozenset[str]] = frozenset({"limit"})

    path: str
    """A folder on the filesystem that is filled."""
    leave: Size = Field(default=0, ge=0)
    """Bytes that stay free."""

    def says(self) -> str:
        return f"disk of {self.path} full" + (f" but for {size_text(self.leave)}" if self.leave else "")

    def obstacles(self, deployer: type[Deployer]) -> Sequence[tuple[str, str]]:
        if not deployer.as_processes:
            what = f"disk_full fills a filesystem of this machine, and not one of a container ({deployer.kind})"
            return [("kind", f"{what}; deployer: process can")]
        unfit = self._unfit()
        return [("path", "; ".join(unfit))] if unfit else ()

    def uses(self, deployer: type[Deployer]) -> str:  # noqa: ARG002 - it only ever goes for processes
        left = os.statvfs(self.path)
        return f"a file there ({size_text(left.f_bavail * left.f_frsize)} are free now)"

    def _balloon(self, system: System) -> Path:
        return Path(self.path).absolute() / f"{toxic_name(system, self.id)}.balloon"

    def _unfit(self, *others: Path) -> tuple[str, str] | None:
        """Why its folder must not be filled, and what to do; `others` must not be either."""
        folder = Path(self.path)
        if not (os.access(folder, os.W_OK | os.X_OK) and folder.is_dir()):
            return f"{folder} is no folder that we may write to", "its filesystem must be there before the run"
        ours = (Path("/"), Path(tempfile.gettempdir()), state_folder().parent, Path.home(), *others)
        taken = {place.stat().st_dev: place for place in ours if place.exists()}
        if (place := taken.get(folder.stat().st_dev)) is None:
            return None
        return (
            f"{folder} is on the same filesystem as {place}, which must not be filled",
            "give the service a small filesystem of its own, such as a tmpfs",
        )

    def _check_place(self, system: System) -> None:
        if unfit := self._unfit(system.folder):
            raise CouldNotRun(f"disk_full: {unfit[0]}", hint=unfit[1])

    def undo(self, system: System) -> Sequence[Undo]:
        self._check_place(system)
        balloon = self._balloon(system)
        return [
            Undo(
                id=f"{BalloonUndo.kind}:{balloon}",
                owner=BalloonUndo.kind,
                args={"file": str(balloon)},
                says=f"rm {balloon}",
            )
        ]

    def inject(self, system: System) -> None:
        self._check_place(system)
        with self._balloon(system).open("wb") as file:
            _fill(file.fileno(), Path(self.path), self.leave)

    def bite(self, watched: Watched) -> Bite:
        return strain_bite(watched, f"the disk of {watched.replica} was full", slow=False)


def _fill(handle: int, folder: Path, leave: int) -> None:
    """Take pieces of the disk, ever smaller ones, until only `leave` bytes (in whole blocks) are free."""
    taken, piece = 0, _PIECE
    while piece >= (left := os.statvfs(folder)).f_frsize:
        # A service that is not root finds the disk full sooner than root does.
        if left.f_bavail * left.f_frsize - piece < leave:
            piece //= 2
            continue
        try:
            os.posix_fallocate(handle, taken, piece)
            taken += piece
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise CouldNotRun(f"{folder} could not be filled: {error.strerror}") from error
            piece //= 2


class BalloonUndo(UndoOwner):
    """Removes the file that fills a disk."""

    kind: ClassVar[str] = "fault.balloon"

    @classmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:  # noqa: ARG003 - the file is all there is
        file = Path(str(undo.args["file"]))
        if file.suffix != ".balloon":
            raise UndoError(f"{file} is no file of ours")
        try:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        except OSError as error:
            raise UndoError(f"{file} could not be removed: {error.strerror}", hint=undo.says) from error
