"""Whether the oracles are right: `python benchmarks/oracles.py [TIMES] [EXPERIMENT ...]`.

A panel of small services (benchmarks/panel), each with one defect, and a healthy one for every question: each is run
TIMES times (default 1, about a quarter of an hour), another seed each time. Printed are every miss when it happens, a
confusion matrix at the end, and how long judging an hour at 1,000 requests a second takes.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import chaoskit
from chaoskit.hypotheses.availability import Availability
from chaoskit.hypotheses.breaker import Breaker
from chaoskit.hypotheses.error_rate import ErrorRate
from chaoskit.hypotheses.health import Health
from chaoskit.hypotheses.latency import Latency
from chaoskit.hypotheses.recovery import Recovery
from chaoskit.hypotheses.retries import Retries
from chaoskit.hypotheses.throughput import Throughput
from chaoskit.model.histogram import encode
from chaoskit.model.history import FaultSpan, History, Phase, SteadyBound
from chaoskit.model.observation import LoadSlot, Observation, ProbeResult, TapCall, TapSlot
from chaoskit.testing import SHOP_EDGES, topology_of

PANEL = Path(__file__).resolve().parent / "panel" / "experiments"
HEALTHY = "healthy"
COLUMNS = ("supported", "refuted by the right claim", "refuted by another", "could not tell")


def main(arguments: list[str]) -> int:
    """0 where every verdict was right."""
    times = int(arguments[0]) if arguments else 1
    files = [PANEL / f"{name}.yaml" for name in arguments[1:]] or sorted(PANEL.glob("*.yaml"))
    if not shutil.which("prometheus"):
        print("without alert.yaml: there is no Prometheus on this machine")
        files = [file for file in files if file.stem != "alert"]
    matrix: Counter[tuple[str, str]] = Counter()
    misses: Counter[str] = Counter()
    started = time.monotonic()
    for turn in range(1, times + 1):
        for file in files:
            for variant in chaoskit.load(file).variants:
                row, column, told = judged(file, variant, seed=turn)
                matrix[row, column] += 1
                if column != (COLUMNS[0] if row == HEALTHY else COLUMNS[1]):
                    misses[f"{file.stem}: {variant}"] += 1
                    print(f"turn {turn}: {file.stem}: {variant}: {told}", flush=True)
        print(f"turn {turn} of {times} after {time.monotonic() - started:.0f} s", flush=True)
    show(matrix)
    for name, count in misses.most_common():
        print(f"missed {count} of {times}: {name}")
    print(f"judging an hour at 1,000 requests/s by ten hypotheses: {speed():.2f} s of CPU (bound: 2 s)")
    return 1 if misses else 0


def judged(file: Path, variant: str, *, seed: int) -> tuple[str, str, str]:
    """(row, column) of the matrix for one run, and what was said."""
    row = HEALTHY if variant == HEALTHY else "with a defect"
    command = [sys.executable, "-m", "chaoskit", "run", str(file), "--variant", variant, "--seed", str(seed)]
    done = subprocess.run([*command, "--json", "--quiet"], capture_output=True, text=True, check=False)
    runs: list[dict[str, Any]] = json.loads(done.stdout)["runs"] if done.stdout else []
    if not runs:
        return row, COLUMNS[3], f"could not be carried out ({done.returncode}): {done.stderr[-500:]}"
    run = runs[0]
    shut = [f"gate {gate['gate']}: {gate['because']}" for gate in run["gates"] if not gate["open"]]
    told = [f"{found['hypothesis']} {found['verdict']}: {found['because']}" for found in run["findings"]]
    said = "\n  ".join([f"{run['verdict']} ({run['folder']})", *(shut or told)])
    if run["verdict"] == "inconclusive":
        return row, COLUMNS[3], said
    if run["verdict"] == "supported":
        return row, COLUMNS[0], said
    return row, COLUMNS[1 if run["as_expected"] else 2], said


def show(matrix: Counter[tuple[str, str]]) -> None:
    width = max(len(column) for column in COLUMNS)
    print(f"{'':15}" + "".join(f"{column:>{width + 2}}" for column in COLUMNS))
    for row in (HEALTHY, "with a defect"):
        print(f"{row:15}" + "".join(f"{matrix[row, column]:>{width + 2}}" for column in COLUMNS))


def speed() -> float:
    """Seconds of CPU that ten hypotheses take over an hour at 1,000 requests/s."""
    history = an_hour()
    claims = [
        Latency(p95=0.4, p99=1.0),
        Latency(of="checkout", p95="+50%"),
        ErrorRate(max=0.01),
        ErrorRate(of="checkout", max=0.01),
        Throughput(min="90%"),
        Availability(min=0.99),
        Recovery(within=3.0),
        Breaker(edge="orders->payments", stays="closed"),
        Retries(edge="orders->payments", most=1.5, worst_second=3.0),
        Health(service="orders", ready="stays"),
    ]
    began = time.process_time()
    for claim in claims:
        claim.judge(history)
    return time.process_time() - began


def an_hour() -> History:
    """Two kinds of requests, three edges with 200 kept calls a second each, and two health checks."""
    dice = random.Random(1)
    times = [
        encode({900 + dice.randrange(200) + 7 * step: dice.randrange(1, 4) for step in range(20)}) for _ in range(200)
    ]
    seen: list[Observation] = []
    for number in range(36_000):
        at, took = number / 10, times[number % 200]
        for name, requests in (("checkout", 60), ("catalogue", 40)):
            for later in range(2):
                slot = LoadSlot(
                    at=at, name=name, ended=round(at + later / 10, 1), ok=requests // 2, response=took, service=took,
                    send_lag=times[0], statuses={"200": requests // 2},
                )  # fmt: skip
                seen.append(slot)
        calls = tuple(
            TapCall(start=at + k * 0.005, end=at + k * 0.005 + 0.08, method="POST", path="/charges", status=200)
            for k in range(20)
        )
        for edge in ("gateway->orders", "orders->payments.1", "orders->payments.2"):
            tap = TapSlot(
                at=at, edge=edge, started=60, ended=60, took=took, outcomes={"answered": 60}, calls=calls, left_out=40
            )  # fmt: skip
            seen.append(tap)
    for number in range(14_400):
        seen += [ProbeResult(at=number / 4, name=name, ok=True) for name in ("orders/ready", "orders/live")]
    windows = {
        Phase.WARMUP: [(0.0, 10.0)],
        Phase.BASELINE: [(10.0, 610.0)],
        Phase.FAULT: [(610.0, 3000.0)],
        Phase.RECOVERY: [(3000.0, 3600.0)],
    }
    fault = FaultSpan(
        id="latency", kind="latency", on=("orders->payments",), planned=(610.0, 3000.0), injected=610.0,
        in_force=610.0, undone=3000.0, edges=("orders->payments.1", "orders->payments.2"),
    )  # fmt: skip
    steady = [SteadyBound(measure="error_rate", most=0.01), SteadyBound(measure="p95", most=2.0)]
    return History(seen, topology_of(*SHOP_EDGES), windows, [fault], steady)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
