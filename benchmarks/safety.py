"""What is left behind when a run is killed: `python benchmarks/safety.py [--trials 24] [--jobs 1] [--seed 1]
[--mode NAME ...] [--deployer docker]`.

Each trial starts `chaoskit run` on a small target (a service that daemonises a helper, PostgreSQL, Redis) with a fault
on an edge, a paused service, and services held to a share of a core, beside busy neighbours and with few descriptors;
does harm at a random instant, and then counts what is left of it: processes (busy neighbours too), listening ports,
cgroups, shared memory, data folders, journals, and toxics of a Toxiproxy that is not ours (`--toxiproxy URL`). With
`--deployer docker` its services are containers: then containers, networks, volumes and images without a name too.

Seconds count from the harm. Where the harness lives on (a child was killed) they count from its end; after a freeze
from the due time of the fault; where `recover` does it, from its return. Exits with 1 where anything was left, or where
it took more than 5 s (by processes) or 15 s (in containers).

    harness    SIGKILL of the harness           group     SIGKILL of its process group
    child      SIGKILL of a process it started  guardian  SIGKILL of the guardian (the harness ends the run)
    both       SIGKILL of both, then `recover`  freeze    SIGSTOP of the harness past the due time of a fault
    interrupt  SIGINT, as Ctrl-C                terminate SIGTERM
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from chaoskit.faults.hogs import HOG_MARK  # noqa: E402 - the path
from chaoskit.processes import RUN_MARK, ProcessId, Row, boot_id, descendants, marked, running, table  # noqa: E402 - the path

CGROUPS = Path("/sys/fs/cgroup")
MODES = ("harness", "group", "child", "guardian", "both", "freeze", "interrupt", "terminate")
PATIENCE = 30.0
BOUNDS = {"process": 5.0, "docker": 15.0}
"""Seconds after which nothing may be left."""
SERVICE = """
import http.server, subprocess, sys
subprocess.Popen(["sh", "-c", "(setsid sleep 600 >/dev/null 2>&1 &)"]).wait()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
TARGET = """
name: victim
entry: web
services:
  web:
    run: python targets/victim/service.py {host} {port}
    needs: {BACK: "http://{back}", DB: "postgresql://{db}/shop", CACHE: "redis://{cache}"}
    health: /
  back: {run: "python targets/victim/service.py {host} {port}", health: /}
  db: {provides: postgres}
  cache: {provides: redis}
"""
EXPERIMENT = """
title: Nothing is left behind
target: victim
load:
  rate: 20/s
  requests: [{name: page, path: /, timeout: 1s}]
phases: {warmup: 500ms, baseline: 1500ms, fault: 2s, recovery: 500ms}
blast_radius: [load->web, web, back, db, cache]
faults:
  - {kind: latency, on: load->web, add: 50ms}
  - {kind: pause, on: back}
  - {kind: cpu, on: db, to: 50%}
  - {kind: cpu, on: cache, hog: 1}
  - {kind: fds, on: web, left: 20}
"""


@dataclass
class Trial:
    """One run that comes to harm, and what is left of it."""

    mode: str
    folder: Path
    chance: random.Random
    toxiproxy: str
    deployer: str = "process"
    runs: list[str] = field(default_factory=list)
    seen: set[ProcessId] = field(default_factory=set)
    guardian: int = 0
    harmed: bool = False
    """Whether the run was still going on when harm came."""
    ports: set[int] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    """Images without a name that were there before."""

    def run(self) -> tuple[float, Counter[str]]:
        """Seconds from the harm (a freeze: from the due time) until nothing was left, and what was left after all."""
        env = {**os.environ, "CHAOSKIT_STATE": str(self.folder / "state"), "CHAOSKIT_TRIAL": self.folder.name}
        env["TMPDIR"] = str(self.folder / "tmp")
        if self.toxiproxy:
            env["CHAOSKIT_TOXIPROXY"] = self.toxiproxy
        command = [sys.executable, "-m", "chaoskit", "run", "experiment.yaml", "--quiet", "--deployer", self.deployer]
        if self.deployer == "docker":
            self.images = unnamed_images()
        with (self.folder / "output").open("wb") as output:
            harness = subprocess.Popen(
                command, cwd=self.folder, env={**env, "PYTHONPATH": str(ROOT)}, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        try:
            self._wait_for_harm(harness)
            since = time.monotonic()
            self._harm(harness)
            if self.mode == "freeze" and self.harmed:
                if due := self._due():
                    since = max(since, due)  # until then a frozen harness has every right to its faults
                else:  # they were out already: then it keeps its run, and this trial shows nothing
                    self.harmed = False
                    harness.send_signal(signal.SIGCONT)
            if self.mode == "child" and self.harmed:
                harness.wait(60.0)
                since = time.monotonic()
            if self.mode == "both":
                self._recover(env)
                since = time.monotonic()
            while (left := self._left(harness)) and time.monotonic() < since + PATIENCE:
                time.sleep(0.02 if self.deployer == "process" else 0.2)
            return time.monotonic() - since, left
        finally:
            harness.send_signal(signal.SIGCONT)
            harness.kill()
            harness.wait()
            self._recover(env)

    def _wait_for_harm(self, harness: subprocess.Popen[bytes]) -> None:
        """A random instant; for a freeze, one while the faults are in."""
        began = time.monotonic()
        while self.mode in ("child", "guardian") and not self.guardian and harness.poll() is None:
            self._look()
        longest = 6.0 if self.deployer == "process" else 10.0
        most = began + 60.0 if self.mode == "freeze" else time.monotonic() + self.chance.uniform(0.0, longest)
        while time.monotonic() < most and harness.poll() is None:
            self._look()
            if self.mode == "freeze" and self._faults_are_in():
                time.sleep(self.chance.uniform(0.1, 1.0))
                break
            time.sleep(0.02)
        self._look()

    def _faults_are_in(self) -> bool:
        return any('"injected"' in path.read_text() for path in self.folder.glob("reports/*/*/history.jsonl"))

    def _look(self) -> None:
        """Who belongs to the run now: by descent from its guardian, whatever it does to its environment."""
        for path in (self.folder / "state" / "runs").glob("*.journal"):
            if path.stem not in self.runs:
                self.runs.append(path.stem)
            for line in path.read_text().splitlines():
                if '"guardian","guardian"' in line:
                    self.guardian = int(json.loads(line)["guardian"][0])
        rows = table()
        if self.guardian in rows:
            family = {self.guardian} | descendants(rows, self.guardian)
            self.seen |= {ProcessId(pid, rows[pid].started, boot_id()) for pid in family}
            self.ports |= listening(family)

    def _harm(self, harness: subprocess.Popen[bytes]) -> None:
        if harness.poll() is not None:
            return
        self.harmed = True
        if self.mode in ("harness", "both"):
            harness.kill()
        elif self.mode == "group":
            os.killpg(harness.pid, signal.SIGKILL)
        elif self.mode == "freeze":
            harness.send_signal(signal.SIGSTOP)
        elif self.mode in ("interrupt", "terminate"):
            harness.send_signal(signal.SIGINT if self.mode == "interrupt" else signal.SIGTERM)
        if self.mode in ("guardian", "both") and self.guardian:
            _kill(self.guardian)
        if self.mode == "child":
            children = [process.pid for process in self.seen if process.pid != self.guardian and running(process)]
            if children:
                _kill(self.chance.choice(sorted(children)))

    def _due(self) -> float:
        """The first instant (CLOCK_MONOTONIC) at which a fault that is in must be out; 0 where none is in."""
        dues: dict[str, float] = {}
        for run in self.runs:
            journal = self.folder / "state" / "runs" / f"{run}.journal"
            for line in journal.read_text().splitlines() if journal.exists() else ():
                record = json.loads(line or "{}")
                if record.get("type") == "undo" and record["undo"]["due"] is not None:
                    dues[record["undo"]["id"]] = record["undo"]["due"]
                elif record.get("type") == "done":
                    dues.pop(record["id"], None)
        return min(dues.values(), default=0.0)

    def _recover(self, env: dict[str, str]) -> None:
        command = [sys.executable, "-m", "chaoskit", "recover"]
        subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True)

    def _marks(self) -> set[str]:
        """How the names of what its faults make begin."""
        found = {path.resolve() for path in self.folder.glob("reports/*/*") if path.is_dir()}
        return {f"chaoskit-{hashlib.blake2s(str(path).encode(), digest_size=4).hexdigest()}" for path in found}

    def _neighbours(self, rows: Mapping[int, Row]) -> set[int]:
        """Busy neighbours that a fault started."""
        marks = [f"{HOG_MARK}={mark}-".encode() for mark in self._marks()]
        found = set()
        for pid in rows:
            try:
                environ = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:  # it is gone
                continue
            if any(mark in environ for mark in marks) and rows[pid].state not in "ZX":
                found.add(pid)
        return found

    def _left(self, harness: subprocess.Popen[bytes]) -> Counter[str]:
        """What is left now, by kind. A frozen harness is not counted: it is the victim."""
        left: Counter[str] = Counter()
        rows = table()
        pids = {process.pid for process in self.seen if running(process)}
        pids |= marked("CHAOSKIT_TRIAL", self.folder.name, rows)
        for run in self.runs:
            pids |= marked(RUN_MARK, run, rows)
            left["folders"] += Path(f"/var/tmp/chaoskit-{run}").exists()
        left["temporary files"] = len(list((self.folder / "tmp").iterdir()))
        pids = {pid for pid in pids if pid in rows and rows[pid].state not in "ZX"}
        if self.mode == "freeze":
            pids.discard(harness.pid)
        left["processes"] = len(pids)
        left["ports"] = len(self.ports & listening(None)) if pids else 0
        left["memory"] = segments({process.pid for process in self.seen})
        left["journals"] = len(list((self.folder / "state").glob("runs/*.journal")))
        if self.deployer == "docker":
            for run in self.runs:
                left += in_the_engine(run)
            left["images"] = len(unnamed_images() - self.images)
        if self.toxiproxy:
            with urllib.request.urlopen(f"{self.toxiproxy}/proxies", timeout=5) as answer:
                left["toxics"] = len(json.load(answer))
        if not +left:  # it takes long to ask
            left["neighbours"] = len(self._neighbours(rows))
            left["cgroups"] = sum(len(list(CGROUPS.glob(f"**/{mark}-*"))) for mark in self._marks())
        return +left


def in_the_engine(run: str) -> Counter[str]:
    """What bears the label of a run there."""
    label = f"label=chaoskit.run={run}"
    return Counter(
        containers=len(_docker("ps", "-aq", "--filter", label)),
        networks=len(_docker("network", "ls", "-q", "--filter", label)),
        volumes=len(_docker("volume", "ls", "-q", "--filter", label)),
    )


def unnamed_images() -> set[str]:
    """What a build leaves that does not come to its end."""
    return set(_docker("images", "-q", "--filter", "dangling=true"))


def _docker(*words: str) -> list[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.split()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def listening(pids: set[int] | None) -> set[int]:
    """Ports on which these processes (or any) listen."""
    inodes = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            inodes[fields[9]] = int(fields[1].split(":")[1], 16)
    if pids is None:
        return set(inodes.values())
    found = set()
    for pid in pids:
        try:
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                end = str(handle.readlink())
                if end.startswith("socket:["):
                    found.add(end[8:-1])
        except OSError:
            continue
    return {inodes[inode] for inode in found & inodes.keys()}


def segments(creators: set[int]) -> int:
    """System V shared memory that these processes made."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return sum(int(row[4]) in creators for row in rows)


def victim() -> Path:
    """A folder with the target and its experiment."""
    folder = Path(tempfile.mkdtemp(prefix="chaoskit-safety-"))
    (folder / "targets" / "victim").mkdir(parents=True)
    (folder / "tmp").mkdir()
    (folder / "targets" / "victim" / "service.py").write_text(SERVICE)
    (folder / "targets" / "victim" / "target.yaml").write_text(TARGET)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    return folder


def build_images() -> None:
    """Let one run come to its end: a build that is cut short leaves layers in the engine's cache, as any does."""
    folder = victim()
    try:
        command = [sys.executable, "-m", "chaoskit", "run", "experiment.yaml", "--quiet", "--deployer", "docker"]
        env = {**os.environ, "CHAOSKIT_STATE": str(folder / "state"), "PYTHONPATH": str(ROOT)}
        subprocess.run(command, cwd=folder, env=env, check=False, capture_output=True)
    finally:
        shutil.rmtree(folder)


def carried_out(number: int, mode: str, asked: argparse.Namespace) -> tuple[bool, float, Counter[str]]:
    """One trial: whether its run was still going on when harm came, seconds until nothing was left, and what was."""
    folder = victim()
    try:
        trial = Trial(mode, folder, random.Random(f"{asked.seed}/{number}"), asked.toxiproxy, asked.deployer)
        seconds, remains = trial.run()
        if remains:
            print(f"trial {number} ({mode}): left after {seconds:.1f} s: {dict(remains)}", flush=True)
            print((folder / "output").read_text()[-2000:], flush=True)
        return trial.harmed, seconds, remains
    finally:
        shutil.rmtree(folder)


def main() -> int:
    """0 where nothing was left in any trial, and soon enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24, help="runs that come to harm, the same number in each mode")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mode", action="append", choices=MODES)
    parser.add_argument("--deployer", choices=("process", "docker"), default="process")
    parser.add_argument("--toxiproxy", default="", help="URL of a Toxiproxy that is not ours, without proxies")
    asked = parser.parse_args()
    modes = asked.mode or list(MODES)
    share = -(-asked.trials // len(modes))
    took: dict[str, list[float]] = {mode: [] for mode in modes}
    early: Counter[str] = Counter()
    """Runs that were over before harm came."""
    left: dict[str, Counter[str]] = {mode: Counter() for mode in modes}
    numbers = itertools.count()
    if asked.deployer == "docker":
        build_images()
    with ThreadPoolExecutor(asked.jobs) as pool:
        going: dict[Future[tuple[bool, float, Counter[str]]], str] = {}
        while True:
            while len(going) < asked.jobs:
                coming = Counter(going.values()) + Counter({each: len(found) for each, found in took.items()})
                mode = min(modes, key=lambda each: coming[each])
                if coming[mode] >= share:
                    break
                going[pool.submit(carried_out, next(numbers), mode, asked)] = mode
            if not going:
                break
            for done in wait(going, return_when=FIRST_COMPLETED).done:
                mode = going.pop(done)
                was_harmed, seconds, remains = done.result()
                left[mode] += remains
                if was_harmed:
                    took[mode].append(seconds)
                else:
                    early[mode] += 1
    print(f"{'mode':10} {'harmed':>6} {'over before':>11} {'median':>8} {'worst':>8}   left behind")
    for mode in modes:
        if took[mode]:
            leaks = ", ".join(f"{count} {kind}" for kind, count in left[mode].items()) or "nothing"
            times = f"{statistics.median(took[mode]):6.2f} s {max(took[mode]):6.2f} s"
            print(f"{mode:10} {len(took[mode]):6} {early[mode]:11} {times}   {leaks}")
    worst = max((seconds for found in took.values() for seconds in found), default=0.0)
    print(f"worst {worst:.2f} s (at most {BOUNDS[asked.deployer]:g} s)")
    return 1 if any(left.values()) or worst > BOUNDS[asked.deployer] else 0


if __name__ == "__main__":
    sys.exit(main())
