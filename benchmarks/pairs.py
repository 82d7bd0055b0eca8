"""How often the pairs in experiments/ come out as expected: `python benchmarks/pairs.py [TIMES] [FILE ...]`.

Runs every variant TIMES times (default 10), one after the other, with another seed each time, and prints a tally. Each
miss is printed when it happens, with the gate that shut or what the findings say. `--first N` begins with turn N (whose
number is its seed), `--deployer` and `--toxiproxy` say on what.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import chaoskit

ROOT = Path(__file__).resolve().parents[1]


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
    started = time.monotonic()
    for turn in range(asked.first, last + 1):
        for file in files:
            for variant in chaoskit.load(file).variants:
                key = (file.stem, variant)
                runs[key] += 1
                missed = _missed(file, variant, asked.deployer, seed=turn)
                right[key] += not missed
                if missed:
                    print(f"turn {turn}: {file.stem} {variant}: {missed}", flush=True)
        print(f"turn {turn} of {last} after {time.monotonic() - started:.0f} s", flush=True)
    width = max(len(name) for name, _ in runs)
    for key in sorted(runs):
        print(f"{key[0]:{width}}  {key[1]:12} {right[key]:3} of {runs[key]} as expected")
    print(f"{'together':{width}}  {'':12} {right.total():3} of {runs.total()} as expected")
    return 0 if right.total() == runs.total() else 1


def _missed(file: Path, variant: str, deployer: str, *, seed: int) -> str:
    """Carry one variant out; what was not as expected about it, empty where all was."""
    command = [sys.executable, "-m", "chaoskit", "run", str(file), "--variant", variant, "--seed", str(seed), "--json"]
    command += ["--deployer", deployer]
    done = subprocess.run([*command, "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    runs: list[dict[str, Any]] = json.loads(done.stdout)["runs"] if done.stdout else []
    if not runs:
        return f"could not be carried out ({done.returncode}): {done.stderr}"
    run = runs[0]
    if run["as_expected"]:
        return ""
    shut = [f"gate {gate['gate']}: {gate['because']}" for gate in run["gates"] if not gate["open"]]
    told = [f"{found['hypothesis']} {found['verdict']}: {found['because']}" for found in run["findings"]]
    return "\n  ".join([f"{run['verdict']}, not {run['expected']} ({run['folder']})", *(shut or told)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
