"""How often the pairs in experiments/ come out as expected: `python benchmarks/pairs.py [TIMES] [FILE ...]`.

Runs every variant TIMES times (default 10), one after the other, with another seed each time, and prints a tally. Each
miss is printed when it happens, with the gate that shut or what the findings say. `--first N` begins with turn N (whose
number is its seed), `--deployer` and `--toxiproxy` say on what. At the end: how long after its planned instant a kill
was in force (the replica was seen to exit), beside what it may take at most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import chaoskit

ROOT = Path(__file__).resolve().parents[1]
KILL_BOUNDS = {"process": 0.05, "docker": 0.3}
"""Seconds from the planned instant of a kill until it is in force."""


def main(arguments: list[str]) -> int:
    """0 where every run came out as expected."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("times", nargs="?", type=int, default=10)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--deployer", default="process")
    parser.add_argument("--toxiproxy", default="embedded")
    asked = parser.parse_args(arguments)
    files = asked.files or sorted((ROOT / "experiments").glob("*.yaml"))
    os.environ["CHAOSKIT_TOXIPROXY"] = asked.toxiproxy
    last = asked.first + asked.times - 1
    right: Counter[tuple[str, str]] = Counter()
    runs: Counter[tuple[str, str]] = Counter()
    kills: list[float] = []
    started = time.monotonic()
    for turn in range(asked.first, last + 1):
        for file in files:
            for variant in chaoskit.load(file).variants:
                key = (file.stem, variant)
                runs[key] += 1
                run, failure = _carried_out(file, variant, asked.deployer, seed=turn)
                missed = failure if run is None else _missed(run)
                kills += [] if run is None else _kills(run)
                right[key] += not missed
                if missed:
                    print(f"turn {turn}: {file.stem} {variant}: {missed}", flush=True)
        print(f"turn {turn} of {last} after {time.monotonic() - started:.0f} s", flush=True)
    width = max(len(name) for name, _ in runs)
    for key in sorted(runs):
        print(f"{key[0]:{width}}  {key[1]:12} {right[key]:3} of {runs[key]} as expected")
    print(f"{'together':{width}}  {'':12} {right.total():3} of {runs.total()} as expected")
    in_time = _told_kills(kills, KILL_BOUNDS.get(asked.deployer))
    return 0 if right.total() == runs.total() and in_time else 1


def _told_kills(kills: list[float], most: float | None) -> bool:
    """Print how late kills were; whether none was later than it may be."""
    if not kills or most is None:
        return True
    median, worst = statistics.median(kills) * 1000, max(kills) * 1000
    print(f"{len(kills)} kills were in force {median:.0f} ms after their instant, {worst:.0f} ms at worst", end=" ")
    print(f"(at most {most * 1000:.0f} ms)")
    return max(kills) <= most


def _kills(run: dict[str, Any]) -> list[float]:
    """Seconds from the instant of each kill (the fault phase begins with it) until it was in force."""
    began = run["windows"]["fault"][0][0] if run["windows"].get("fault") else 0.0
    faults = [fault for fault in run["faults"] if fault["kind"] == "kill" and fault["in_force"] is not None]
    return [fault["in_force"] - began for fault in faults]


def _carried_out(file: Path, variant: str, deployer: str, *, seed: int) -> tuple[dict[str, Any] | None, str]:
    """One variant's run; none, and why, where it could not be carried out."""
    command = [sys.executable, "-m", "chaoskit", "run", str(file), "--variant", variant, "--seed", str(seed), "--json"]
    command += ["--deployer", deployer]
    done = subprocess.run([*command, "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    runs: list[dict[str, Any]] = json.loads(done.stdout)["runs"] if done.stdout else []
    return (runs[0], "") if runs else (None, f"could not be carried out ({done.returncode}): {done.stderr}")


def _missed(run: dict[str, Any]) -> str:
    """What was not as expected about a run, empty where all was."""
    if run["as_expected"]:
        return ""
    shut = [f"gate {gate['gate']}: {gate['because']}" for gate in run["gates"] if not gate["open"]]
    told = [f"{found['hypothesis']} {found['verdict']}: {found['because']}" for found in run["findings"]]
    return "\n  ".join([f"{run['verdict']}, not {run['expected']} ({run['folder']})", *(shut or told)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
