"""Whether the oracles are right: `python benchmarks/oracles.py [TIMES] [EXPERIMENT ...]`.

A panel of small services (benchmarks/panel), each with one defect, and a healthy one for every question: each is run
TIMES times (default 1, some thirteen minutes), another seed each time. Every miss is printed when it happens; at the
end, in Markdown, a confusion matrix, what was missed, and how long judging an hour at 1,000 requests a second takes.

    --healthy TIMES      runs of the healthy service against itself instead (benchmarks/panel/healthy.yaml): any claim
                         that is refuted is a false alarm
    --keep FILE          also append every verdict to FILE, a line of JSON each: a panel may be run in slices
    --seed NUMBER        seed of the first turn (default 1)
    --jobs NUMBER        runs at a time (default 1): they are each other's noise
    --table FILE ...     run nothing: print the tables of what was kept
    --speed              run nothing: how long judging takes
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import chaoskit
from chaoskit.gates import clock_gate, generator_gate, host_gate, parts_gate, samples_gate, steady_gate
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
from chaoskit.model.observation import LoadSlot, MetricPoint, Observation, ProbeResult, TapCall, TapSlot
from chaoskit.testing import SHOP_EDGES, topology_of

PANEL = Path(__file__).resolve().parent / "panel" / "experiments"
ITSELF = PANEL.parent / "healthy.yaml"
HEALTHY = "healthy"
COLUMNS = ("supported", "refuted by the right claim", "refuted by another", "could not tell")
BOUND = 2.0
"""Seconds that judging an hour may take."""


class Judged(NamedTuple):
    """One run, and what was said."""

    experiment: str
    variant: str
    seed: int
    column: str
    told: str
    took: float

    @property
    def row(self) -> str:
        return HEALTHY if self.variant == HEALTHY else "with a defect"

    @property
    def right(self) -> bool:
        return self.column == (COLUMNS[0] if self.variant == HEALTHY else COLUMNS[1])


def main(arguments: list[str]) -> int:
    """0 where every verdict was right and judging was quick enough."""
    asked = options().parse_args(arguments)
    if asked.speed:
        return 0 if told_speed() <= BOUND else 1
    if asked.table:
        lines = [line for file in asked.table for line in file.read_text(encoding="utf-8").splitlines()]
        return show([Judged(**json.loads(line)) for line in lines])
    turns = range(asked.seed, asked.seed + (asked.healthy or asked.times))
    cases = [(ITSELF, HEALTHY)] if asked.healthy else panel(asked.experiments)
    found: list[Judged] = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for one in pool.map(lambda each: judged(*each), [(*case, turn) for turn in turns for case in cases]):
            found.append(one)
            if asked.keep:
                with asked.keep.open("a", encoding="utf-8") as kept:
                    kept.write(json.dumps(one._asdict()) + "\n")
            if not one.right:
                print(f"turn {one.seed}: {one.experiment}: {one.variant}: {one.told}", flush=True)
            if len(found) % len(cases) == 0:
                print(f"turn {one.seed}: {sum(one.right for one in found)} of {len(found)} right", flush=True)
    wrong = show(found)
    return 1 if wrong or (not asked.healthy and told_speed() > BOUND) else 0


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", nargs="?", type=int, default=1)
    parser.add_argument("experiments", nargs="*")
    parser.add_argument("--healthy", type=int, default=0, metavar="TIMES")
    parser.add_argument("--keep", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--speed", action="store_true")
    return parser


def panel(names: Sequence[str]) -> list[tuple[Path, str]]:
    """Every variant of the experiments (all that this machine can run, where none is named)."""
    files = [PANEL / f"{name}.yaml" for name in names] or sorted(PANEL.glob("*.yaml"))
    if not names and not shutil.which("prometheus"):
        print("without alert.yaml: there is no Prometheus on this machine")
        files = [file for file in files if file.stem != "alert"]
    return [(file, variant) for file in files for variant in chaoskit.load(file).variants]


def judged(file: Path, variant: str, seed: int) -> Judged:
    """Run one variant (the whole file where it has none)."""
    began = time.monotonic()
    command = [sys.executable, "-m", "chaoskit", "run", str(file), "--seed", str(seed), "--json", "--quiet"]
    command += [] if file == ITSELF else ["--variant", variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    runs: list[dict[str, Any]] = json.loads(done.stdout)["runs"] if done.stdout else []
    if runs:
        column, told = column_of(runs[0])
    else:
        column, told = COLUMNS[3], f"could not be carried out ({done.returncode}): {done.stderr[-500:]}"
    return Judged(file.stem, variant, seed, column, told, time.monotonic() - began)


def column_of(run: dict[str, Any]) -> tuple[str, str]:
    """Where a run belongs in the matrix, and its findings (or the gates that were shut)."""
    shut = [f"gate {gate['gate']}: {gate['because']}" for gate in run["gates"] if not gate["open"]]
    told = [f"{found['hypothesis']} {found['verdict']}: {found['because']}" for found in run["findings"]]
    said = "\n  ".join([f"{run['verdict']} ({run['folder']})", *(shut or told)])
    if run["verdict"] == "inconclusive":
        return COLUMNS[3], said
    if run["verdict"] == "supported":
        return COLUMNS[0], said
    return COLUMNS[1 if run["as_expected"] and run["expected"] == "refuted" else 2], said


def show(found: Sequence[Judged]) -> int:
    """Print the tables; returns how many verdicts were wrong."""
    matrix = Counter((one.row, one.column) for one in found)
    print(f"\n| service | runs | {' | '.join(COLUMNS)} |\n|---|--:|{'--:|' * len(COLUMNS)}")
    for row in dict.fromkeys(one.row for one in sorted(found, key=lambda one: one.variant != HEALTHY)):
        counts = [matrix[row, column] for column in COLUMNS]
        print(f"| {row} | {sum(counts)} | {' | '.join(map(str, counts))} |")
    cases = Counter((one.experiment, one.variant) for one in found)
    missed = Counter((one.experiment, one.variant) for one in found if not one.right)
    print(f"\n{len(cases)} services and questions, {sum(one.took for one in found) / 60:.0f} minutes of runs.")
    for (experiment, variant), count in missed.most_common():
        print(f"- missed {count} of {cases[experiment, variant]}: {experiment}: {variant}")
    return sum(missed.values())


def told_speed() -> float:
    took = speed()
    print(f"judging an hour at 1,000 requests/s by ten hypotheses and all gates: {took:.2f} s of CPU")
    print(f"(bound: {BOUND:g} s)")
    return took


def speed() -> float:
    """Seconds of CPU that ten hypotheses and the gates take over an hour at 1,000 requests/s."""
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
    for gate in (generator_gate, host_gate, samples_gate, clock_gate):
        gate(history)
    parts_gate(history, ())
    steady_gate(history.steady_state, history)
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
    own = {"host_others": 0.1, "host_stolen": 0.0, "host_cores": 2.0, "host_wait": 0.04, "host_turns": 900.0}
    own |= {"generator_cpu": 0.2, "generator_loop_lag": 0.005}
    for second in range(3600):
        seen += [MetricPoint(at=float(second), source="host", name=name, value=value) for name, value in own.items()]
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
