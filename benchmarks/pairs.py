"""How often the pairs in experiments/ come out as expected: `python benchmarks/pairs.py [TIMES] [FILE ...]`.

Runs every variant TIMES times (default 10), one after the other, with another seed each time, and prints a tally. Each
miss is printed when it happens, with the gate that shut or what the findings say.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    """0 where every run came out as expected."""
    times = int(arguments[0]) if arguments else 10
    files = [Path(name) for name in arguments[1:]] or sorted((ROOT / "experiments").glob("*.yaml"))
    right: Counter[tuple[str, str]] = Counter()
    runs: Counter[tuple[str, str]] = Counter()
    started = time.monotonic()
    for turn in range(1, times + 1):
        for file in files:
            for run in _runs(file, seed=turn):
                key = (file.stem, run["variant"] or "")
                runs[key] += 1
                right[key] += run["as_expected"]
                if not run["as_expected"]:
                    print(f"turn {turn}: {file.stem} {key[1]}: {_why(run)}", flush=True)
        print(f"turn {turn} of {times} after {time.monotonic() - started:.0f} s", flush=True)
    width = max(len(name) for name, _ in runs)
    for key in sorted(runs):
        print(f"{key[0]:{width}}  {key[1]:12} {right[key]:3} of {runs[key]} as expected")
    print(f"{'together':{width}}  {'':12} {right.total():3} of {runs.total()} as expected")
    return 0 if right.total() == runs.total() else 1


def _runs(file: Path, *, seed: int) -> Iterator[dict[str, Any]]:
    """What `run --json` says of each variant of one file."""
    command = [sys.executable, "-m", "chaoskit", "run", str(file), "--seed", str(seed), "--json", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    try:
        yield from json.loads(done.stdout)["runs"]
    except (json.JSONDecodeError, KeyError) as error:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}") from error


def _why(run: dict[str, Any]) -> str:
    shut = [f"gate {gate['gate']}: {gate['because']}" for gate in run["gates"] if not gate["open"]]
    told = [f"{found['hypothesis']} {found['verdict']}: {found['because']}" for found in run["findings"]]
    return "\n  ".join([f"{run['verdict']}, not {run['expected']} ({run['folder']})", *(shut or told)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
