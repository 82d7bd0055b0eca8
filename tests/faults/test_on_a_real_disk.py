"""A disk that is full under a real process that writes to it: it bites, says so, and there is room again when it is
undone; and its twin, which was said to be in and was not, is found out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from chaoskit.faults.disk import DiskFull
from tests.faults.disks import free, small_filesystem
from tests.faults.process_bench import Tried, found_out, tried_in, twin

pytestmark = pytest.mark.live


class OnDisk(NamedTuple):
    tried: Tried
    fault: DiskFull
    twin: DiskFull
    free: int
    """Bytes, once the fault was out."""
    left: list[str]
    """Names of files that are still there then."""


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnDisk]:
    folder = tmp_path_factory.mktemp("disks")
    with small_filesystem(folder / "filled") as filled, small_filesystem(folder / "spared") as spared:
        fault = DiskFull(id="full", on="full", path=str(filled))
        other = twin(fault).model_copy(update={"path": str(spared)})
        tried = tried_in([fault, other], tmp_path_factory.mktemp("services"))
        yield OnDisk(tried, fault, other, free(filled), [one.name for one in filled.iterdir()])


def test_it_bites_and_there_is_room_again_when_it_is_undone(on_disk: OnDisk) -> None:
    tried, fault = on_disk.tried, on_disk.fault
    assert not tried.errors
    trace = fault.trace(tried.history)
    print(trace.because)
    assert trace.bit, trace.because
    assert "calls to it failed (0% in baseline)" in trace.because
    assert tried.recovered["full"] and set(tried.recovered["full"]) == {200}
    assert on_disk.free > 3_500_000
    assert not on_disk.left


def test_a_twin_that_was_never_put_in_is_found_out(on_disk: OnDisk) -> None:
    found_out(on_disk.tried, on_disk.twin)
