"""What threads got of the processor: read from the kernel, added up, and told apart from what others used."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.model.observation import MetricPoint
from chaoskit.probes.resources import Resources
from chaoskit.probes.scheduling import Scheduled, Turns, family, scheduled, stolen_and_used
from chaoskit.testing import FakeReplica, FakeSystem

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists() or not Path(f"/proc/self/task/{os.getpid()}/children").exists(),
    reason="a kernel that does not count how long threads wait",
)


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    """A process with a child; both do nothing but work."""
    child = "print(flush=True)\nwhile True: pass"
    program = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {child!r}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    below = family(process.pid)
    yield process
    for pid in reversed(below):
        os.kill(pid, 9)
    process.communicate()


def test_what_is_new_counts_from_its_beginning_and_what_is_gone_counts_no_more() -> None:
    before = Scheduled(1.0, {(1, "1"): Turns(5.0, 1.0, 10), (2, "2"): Turns(9.0, 9.0, 9)})
    after = Scheduled(2.0, {(1, "1"): Turns(5.5, 1.25, 30), (3, "3"): Turns(0.25, 0.5, 4)})
    assert after.since(before) == Turns(0.75, 0.75, 24)
    reused = Scheduled(2.0, {(1, "1"): Turns(0.1, 0.0, 1)})  # another thread under an old number
    assert reused.since(before) == Turns(0.0, 0.0, 0)


def test_the_family_of_a_process_are_all_that_descend_from_it(busy: subprocess.Popen[bytes]) -> None:
    assert len(family(busy.pid)) == 2
    assert set(family(busy.pid)) < set(family(os.getpid()))
    assert family(2**22 + 1) == [2**22 + 1]
    assert not scheduled([2**22 + 1]).threads


def test_threads_that_work_have_run_or_waited_all_the_time(busy: subprocess.Popen[bytes]) -> None:
    before, used_before = scheduled(family(busy.pid)), stolen_and_used()
    time.sleep(0.5)
    after, used = scheduled(family(busy.pid)), stolen_and_used()
    got = after.since(before)
    seconds = after.at - before.at
    assert 1.2 * seconds < got.ran + got.waited < 2.8 * seconds
    assert got.turns >= 1
    assert used is not None and used_before is not None
    assert used[1] >= used_before[1]


class WithProcess(FakeReplica):
    pid = 0

    def pids(self) -> list[int]:
        return [self.pid]


def points(system: FakeSystem, seconds: float) -> list[MetricPoint]:
    seen: list[MetricPoint] = []
    stop = threading.Event()
    thread = threading.Thread(target=Resources(every=0.2).run, args=(system, seen.append, stop))
    thread.start()
    time.sleep(seconds)
    stop.set()
    thread.join(5)
    return seen


def test_what_others_use_is_what_the_run_did_not(busy: subprocess.Popen[bytes]) -> None:
    replica = WithProcess("orders")
    replica.pid = busy.pid
    system = FakeSystem()
    system.fake_replicas["orders"] = replica
    worker = "import time\nwhile True: time.sleep(0.01)"
    guardian = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {worker!r}])"
    with subprocess.Popen([sys.executable, "-c", guardian]) as process:
        seen = points(system, 2.6)
        for pid in reversed(family(process.pid)):
            os.kill(pid, 9)
    by_name = {name: [p.value for p in seen if p.name == name] for name in {p.name for p in seen}}
    assert {"service_wait", "service_turns", "host_wait", "host_turns", "host_others", "host_stolen"} <= set(by_name)
    assert by_name["host_cores"][0] == os.cpu_count()
    cores = os.cpu_count() or 1
    # Two busy loops of the run's own leave so much less for others, whoever else is at work here.
    assert max(by_name["host_others"]) < cores - 0.5
    assert all(p.source == "host" for p in seen if p.name.startswith("host_"))
    assert {p.source for p in seen if p.name == "service_wait"} == {"orders"}
