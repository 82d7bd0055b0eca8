"""For tests, ours and yours: histories written by hand, a fake clock, and a no-op of every interface.

    history = (
        HistoryBuilder()
        .phases(warmup=2, baseline=6, fault=10, recovery=6)
        .load("checkout", rate=80, response=0.1)                                  # in every phase …
        .load("checkout", "fault", rate=80, response=0.3, failures={"status 503": 0.3})   # … but another one here
        .calls("orders->payments", rate=80, took=0.1)
        .probe("orders/ready")
        .fault("latency", on="orders->payments")
        .build()
    )
    finding = Latency(p95=0.4).judge(history)

Nothing in here waits or asks the time: the same calls make the same history.
"""

from chaoskit.testing.fakes import FakeChild, FakeClock, FakeLauncher, FakeProxy, FakeReplica, FakeSystem
from chaoskit.testing.histories import HistoryBuilder
from chaoskit.testing.noops import NoBacking, NoDeployer, NoFault, NoHypothesis, NoProbe, NoReporter
from chaoskit.testing.topologies import SHOP_EDGES, topology_of

__all__ = [
    "SHOP_EDGES",
    "FakeChild",
    "FakeClock",
    "FakeLauncher",
    "FakeProxy",
    "FakeReplica",
    "FakeSystem",
    "HistoryBuilder",
    "NoBacking",
    "NoDeployer",
    "NoFault",
    "NoHypothesis",
    "NoProbe",
    "NoReporter",
    "topology_of",
]
