from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit.model.observation import MetricPoint
from chaoskit.probes.resources import Resources, used_by
from chaoskit.testing import FakeReplica, FakeSystem

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this system")


class WithProcess(FakeReplica):
    def __init__(self, name: str, pid: int) -> None:
        super().__init__(name)
        self.pid = pid

    def pids(self) -> list[int]:
        return [self.pid]


@pytest.fixture
def busy() -> Iterator[int]:
    program = "print(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # before it is an interpreter, it is a fork with next to no memory
    yield process.pid
    process.kill()
    process.communicate()


def test_a_process_that_works_uses_processor_memory_and_descriptors(busy: int) -> None:
    system = FakeSystem()
    system.fake_replicas["orders"] = WithProcess("orders", busy)
    seen: list[MetricPoint] = []
    stop = threading.Event()
    thread = threading.Thread(target=Resources(every=0.2).run, args=(system, seen.append, stop))
    thread.start()
    time.sleep(1.1)
    stop.set()
    thread.join(5)
    values = defaultdict(list)
    for point in seen:
        if point.source == "orders":
            values[point.name].append(point.value)
    assert {"service_cpu", "service_memory", "service_fds"} <= set(values)
    assert 0.02 < sum(values["service_cpu"]) / len(values["service_cpu"]) < 1.3
    assert min(values["service_memory"]) > 1e6
    assert min(values["service_fds"]) >= 3


def test_what_is_gone_counts_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert used_by([gone.pid]) == (0.0, 0.0, 0.0)
    assert used_by([]) == (0.0, 0.0, 0.0)
