"""What the report of an hour at 1,000 requests/s weighs, and how long it takes to make and to open.

    python benchmarks/report.py

The hour is made up: five kinds of requests, eight edges with taps, health checks, a fault in its middle third. Beside
it stands the report of a run of 24 s at 80/s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from chaoskit.model.histogram import bucket_of, encode  # noqa: E402
from chaoskit.model.history import FaultSpan, History, Phase  # noqa: E402
from chaoskit.model.observation import LoadSlot, Observation, ProbeResult, TapSlot  # noqa: E402
from chaoskit.model.run import Run  # noqa: E402
from chaoskit.reporters.html import HtmlReporter  # noqa: E402
from tests.browser import Browser  # noqa: E402
from tests.reporters.runs import SHOP, shop_history, shop_run  # noqa: E402

HOUR = 3600
REQUESTS = {"checkout": 0.11, "catalogue": 0.012, "cart": 0.03, "login": 0.05, "search": 0.08}
"""Typical response times in seconds; 200 of each a second."""


def main() -> int:
    """0 where the promises of the docs hold: 2 MB, 3 s to make, 2 s to open."""
    fine = True
    with tempfile.TemporaryDirectory(prefix="chaoskit-report-") as scratch:
        for name, (run, history) in {"24 s at 80/s": _short(), "1 h at 1,000/s": _hour()}.items():
            folder = Path(scratch) / name.partition(" ")[0]
            folder.mkdir()
            took = min(_timed(run, history, folder) for _ in range(3))
            size = (folder / "report.html").stat().st_size
            opened = _opened(folder / "report.html")
            fine = fine and took <= 3 and size <= 2e6 and opened <= 2
            print(f"{name:16} {size / 1e6:5.2f} MB   made in {took:4.2f} s   opened in {opened:4.2f} s")
    return 0 if fine else 1


def _timed(run: Run, history: History, folder: Path) -> float:
    began = time.perf_counter()
    HtmlReporter().write(run, history, folder)
    return time.perf_counter() - began


def _opened(file: Path) -> float:
    """The faster of two loads in a fresh browser."""
    with Browser() as browser:
        return min(browser.page().open(file) for _ in range(2))


def _short() -> tuple[Run, History]:
    history = shop_history()
    return shop_run(history), history


def _hour() -> tuple[Run, History]:
    roll = np.random.default_rng(1)
    seen: list[Observation] = []
    fault = (HOUR / 3, HOUR * 2 / 3)
    for slot in range(HOUR * 10):
        at = slot / 10
        broken = fault[0] <= at < fault[1]
        for name, typical in REQUESTS.items():
            took = typical * (1.5 if broken and name == "checkout" else 1.0) * np.exp(roll.normal(0, 0.2, 20))
            ends = np.floor((at + roll.random(20) * 0.1 + took) * 10) / 10
            bad = broken and roll.random() < 0.2
            seen += [_slot(name, at, float(end), took[ends == end], failed=bad) for end in np.unique(ends)]
        for edge in SHOP.edges:
            spread = encode({1180 + int(roll.integers(9)): 30, 1170: 20})
            seen.append(TapSlot(at=at, edge=edge.name, started=50, ended=50, took=spread, statuses={"200": 50},
                                outcomes={"answered": 50}))  # fmt: skip
        if slot % 3 == 0:
            seen += [ProbeResult(at=at, name=f"{one}/ready", ok=True, status=200) for one in ("gateway", "orders")]
    windows = {Phase.BASELINE: [(0.0, fault[0])], Phase.FAULT: [fault], Phase.RECOVERY: [(fault[1], float(HOUR))]}
    span = FaultSpan(
        id="latency", kind="latency", on=("orders->payments",), edges=("orders->payments.1", "orders->payments.2"),
        says="latency +50 ms", planned=fault, injected=fault[0], in_force=fault[0], undone=fault[1],
    )  # fmt: skip
    history = History(seen, SHOP, windows, [span])
    return shop_run(history, windows={phase.value: spans for phase, spans in windows.items()}), history


def _slot(name: str, at: float, end: float, took: np.ndarray, *, failed: bool) -> LoadSlot:
    counts: dict[int, int] = {}
    for seconds in took:
        bucket = bucket_of(float(seconds))
        counts[bucket] = counts.get(bucket, 0) + 1
    lag, bad = encode({560: len(took)}), int(failed and len(took) > 1)
    return LoadSlot(at=at, name=name, ended=end, ok=len(took) - bad, failed=bad, response=encode(counts), send_lag=lag,
                    causes={"timeout": 1} if bad else {})  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
