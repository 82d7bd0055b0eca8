"""How long one waits for chaoskit itself: its help, and what a run of the shop takes beyond its declared phases.

    python benchmarks/startup.py [--help-only] [--runs N] [--deployer docker]

Prints both beside what they must not exceed: six times an empty interpreter, and three seconds (in containers six,
with images that an earlier run has built).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXPERIMENT = ROOT / "experiments" / "payments-50-percent-slower.yaml"
HELP_BOUND = 6.0
OVERHEAD_BOUNDS = {"process": 3.0, "docker": 6.0}


def wall(*command: str, repeats: int = 15) -> float:
    """Median seconds of a command."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def help_ratio() -> bool:
    chaoskit = str(Path(sys.executable).parent / "chaoskit")
    wall(chaoskit, "--help", repeats=3)  # bytecode is written once
    nothing, shown = wall(sys.executable, "-c", "pass"), wall(chaoskit, "--help")
    ratio = shown / nothing
    print(f"python -c pass   {nothing * 1000:6.1f} ms")
    print(f"chaoskit --help  {shown * 1000:6.1f} ms = {ratio:.1f} times (at most {HELP_BOUND:g})")
    return ratio <= HELP_BOUND


def overhead(runs: int, deployer: str) -> bool:
    from chaoskit import load

    phases = load(str(EXPERIMENT)).phases.total
    beyond = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CHAOSKIT_STATE": f"{folder}/state"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # from the second run on, as on any machine
        for number in range(runs + (deployer == "docker")):
            command = [sys.executable, "-m", "chaoskit", "run", str(EXPERIMENT), "--variant", "protected"]
            command += ["--deployer", deployer]
            began = time.perf_counter()
            done = subprocess.run(
                [*command, "--json", "--quiet", "--store", f"{folder}/reports"],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            took = time.perf_counter() - began
            verdict = json.loads(done.stdout)["verdict"] if done.stdout else f"exit {done.returncode}"
            if verdict != "supported":
                sys.exit(f"a run that did not come to its end says nothing: {verdict}")
            if number == 0 and deployer == "docker":
                continue  # it may have built images
            beyond.append(took - phases)
            print(f"run              {took:6.2f} s for {phases:g} s of phases: {beyond[-1]:.2f} s beyond ({verdict})")
    bound = OVERHEAD_BOUNDS[deployer]
    print(f"beyond phases    {statistics.median(beyond):6.2f} s (at most {bound:g}, deployer {deployer})")
    return statistics.median(beyond) <= bound


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--help-only", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--deployer", choices=tuple(OVERHEAD_BOUNDS), default="process")
    asked = parser.parse_args()
    held = help_ratio()
    if not asked.help_only:
        held = overhead(asked.runs, asked.deployer) and held
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
