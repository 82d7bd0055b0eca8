"""The load worker beside its peers, in one run: wrk, hey, k6, Locust's FastHttpUser and HttpUser, on one nginx.

    python benchmarks/load.py [--seconds 4] [--rounds 3] [--memory 1000000] [--only throughput,lag,memory,workers]
                              [--realtime] [--write docs/load.md]
    python benchmarks/load.py --only history            an hour at 1,000/s, read back; needs no nginx

Each generator has core 1 to itself, nginx (one worker) core 0. Rounds are interleaved, so that what else this machine
does meets all of them alike; the best round of each counts, and the CPU a request costs is that of the generator's own
process. On a machine that does other things too, the second table measures who else was there: with `--realtime` (root)
it has a row more, in which the generator has its core for good. Needs nginx and taskset; peers that are not here are
left out and said so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from chaoskit.interfaces import Child, LaunchSpec
from chaoskit.load.driver import LoadDriver
from chaoskit.load.recording import Recorder
from chaoskit.model.load_view import LoadView
from chaoskit.model.observation import LoadSlot, MetricPoint, Observation, slot_start
from chaoskit.model.run import Run
from chaoskit.model.topology import Topology
from chaoskit.model.verdict import Verdict
from chaoskit.store import HISTORY, load_run, save_run
from chaoskit.traffic import LoadSpec

ROOT = Path(__file__).resolve().parents[1]
USERS = 32
HOUR = 3600.0
RATE = 5000
EACH = 5000
"""Requests a second of each worker where workers are counted."""
BEGIN, END = "<!-- benchmark: load -->", "<!-- /benchmark -->"


class Figure(NamedTuple):
    """What one generator reached in one round."""

    rate: float
    cpu: float
    """Seconds of CPU a request."""
    note: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=int, default=1_000_000, metavar="REQUESTS")
    parser.add_argument("--only", default="throughput,lag,memory,workers,history")
    parser.add_argument("--realtime", action="store_true", help="measure the send lag with real-time priority too")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the marks in this page")
    options = parser.parse_args()
    wanted = options.only.split(",")
    text = served(options, wanted) if wanted != ["history"] else ""
    if "history" in wanted:
        text += history(options.rounds)
    text += f"\nPython {platform.python_version()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}.\n"
    print(text)
    if options.write:
        page = options.write.read_text()
        before, rest = page.split(BEGIN)
        options.write.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END, 1)[1]}")


def served(options: argparse.Namespace, wanted: Sequence[str]) -> str:
    """What is measured on an nginx."""
    if missing := [name for name in ("nginx", "taskset") if shutil.which(name) is None]:
        sys.exit(f"missing: {', '.join(missing)}")
    text = ""
    with nginx() as url:
        if "throughput" in wanted:
            text += throughput(url, options.seconds, options.rounds)
        if "lag" in wanted:
            text += lag(url, options.seconds, options.rounds, realtime=options.realtime)
        if "workers" in wanted:
            text += workers(url, options.seconds, options.rounds)
        if "memory" in wanted:
            text += memory(url, options.memory)
    return text


# ---------------------------------------------------------------------------------------------------------- the tables


def throughput(url: str, seconds: float, rounds: int) -> str:
    """Requests per second of one core."""
    runners: dict[str, Callable[[], Figure | None]] = {
        "wrk (C)": lambda: wrk(url, seconds),
        "hey (Go)": lambda: hey(url, seconds),
        "k6 (Go)": lambda: k6(url, seconds),
        "chaoskit": lambda: closed(url, seconds),
        "Locust FastHttpUser": lambda: locust(url, seconds, "FastHttpUser"),
        "Locust HttpUser": lambda: locust(url, seconds, "HttpUser"),
    }
    found: dict[str, list[Figure]] = {name: [] for name in runners}
    for number in range(rounds):
        for name, run in runners.items():
            figure = run()
            if figure is not None:
                found[name].append(figure)
                print(
                    f"round {number + 1}  {name:22} {figure.rate:10,.0f}/s  {figure.cpu * 1e6:7.1f} µs", file=sys.stderr
                )
    best = {name: min(figures, key=lambda figure: figure.cpu) for name, figures in found.items() if figures}
    peer = best["Locust FastHttpUser"].cpu
    rows = [
        [
            name,
            f"{figure.cpu * 1e6:.1f}",
            f"{1 / figure.cpu:,.0f}",
            f"{peer / figure.cpu:.1f}×",
        ]
        for name, figure in best.items()
    ]
    left_out = [name for name in runners if name not in best]
    title = f"\n{USERS} connections, closed, `GET /` on nginx, all recording on; a core's requests are 1 s ÷ CPU.\n\n"
    head = ["generator", "CPU µs/request", "requests/s a core", "of FastHttpUser"]
    return title + table(head, rows) + (f"\nNot here: {', '.join(left_out)}.\n" if left_out else "")


def lag(url: str, seconds: float, rounds: int, *, realtime: bool) -> str:
    """How late an open load sends, at a rate that one core carries easily."""
    rows = []
    for first in (False, True) if realtime else (False,):
        views = [open_load(url, seconds, RATE, realtime=first)[0] for _ in range(rounds)]
        best = min(views, key=lambda view: view.percentile(0.99, of="send_lag"))
        times = [best.percentile(q, of="send_lag") * 1e3 for q in (0.5, 0.9, 0.99, 0.999)]
        how = ", real-time priority" if first else ""
        rows.append([f"chaoskit{how}", f"{best.requests:,}", f"{best.dropped}", *(f"{each:.2f}" for each in times)])
    if (peer := k6_open(url, seconds, realtime=realtime)) is not None:
        how = ", real-time priority" if realtime else ""
        rows.append([f"k6 constant-arrival-rate{how}", f"{peer[0]:,}", f"{peer[1]:,}", *["not told"] * 4])
    head = ["generator", "sent", "dropped", "send lag p50 ms", "p90", "p99", "p99.9"]
    return f"\nOpen load at {RATE:,}/s:\n\n" + table(head, rows)


def workers(url: str, seconds: float, rounds: int) -> str:
    """What a request costs two workers at twice the rate of one, each far from its core's end.

    Two that are full beside an nginx want three cores. On two, quotas that hold each process to a share of a core do
    not help: one worker so held pays twice as much a request as one that is not, and two look three times as fast.
    """
    cost = {number: min(open_cost(url, seconds, number) for _ in range(rounds)) for number in (1, 2)}
    one, times = cost[1] * 1e6, cost[2] / cost[1]
    return (
        f"\nA request costs {one:.0f} µs of CPU in one worker at {EACH:,}/s, and {times:.2f} times that in two at"
        f" {2 * EACH:,}/s together. (Two that are full want a core each beside nginx's: not measured on"
        f" {os.cpu_count()} cores.)\n"
    )


def open_cost(url: str, seconds: float, number: int) -> float:
    """Seconds of CPU a request, of so many workers at `EACH` requests a second each."""
    view, seen = driven(url, {"rate": f"{EACH * number}/s", "workers": number}, seconds, core=None)
    if view.dropped:
        sys.exit(f"{view.dropped} requests were dropped at {EACH * number:,}/s: this says nothing")
    return cost_of(view, seen, number)


def memory(url: str, requests: int) -> str:
    """What so many requests leave behind in the worker."""
    before, after, count = grown(url, requests)
    return (
        f"\nMemory of the worker: {before / 1e6:.1f} MB after its first second, {after / 1e6:.1f} MB after {count:,}"
        f" requests: {(after - before) / 1e6:+.1f} MB.\n"
    )


def history(rounds: int) -> str:
    """How long an hour at 1,000/s of one kind of request takes to be read back, as it lies on disk."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        an_hour(folder)
        took = []
        for _ in range(rounds):
            began = time.process_time()
            _, read = load_run(folder)
            took.append(time.process_time() - began)
        view = LoadView([(slot.at, slot) for slot in read.observations if isinstance(slot, LoadSlot)], [(0.0, HOUR)])
        assert view.requests == view.ok == HOUR * 1000
        size = (folder / HISTORY).stat().st_size
    return f"\nA history of one hour at 1,000/s: {size / 1e6:.0f} MB, read in {min(took):.2f} s of CPU.\n"


def an_hour(folder: Path) -> None:
    """A run of an hour, counted by the worker's own recorder: response times of 5 to 60 ms, log-normal."""
    roll = random.Random(1)
    recorder, encoder = Recorder("worker.1"), msgspec.json.Encoder()
    with (folder / HISTORY).open("wb") as file:
        for slot in range(int(HOUR * 10)):
            for number in range(100):
                at = slot / 10 + number / 1000
                sent = at + roll.random() * 1e-4
                recorder.ended("GET /", at, sent, sent + 0.02 * math.exp(roll.gauss(0, 0.4)), 200, "", 230, 150)
            for seen in recorder.flush():
                file.write(encoder.encode(seen) + b"\n")
    nowhere = Topology("hour", "", (), ())
    run = Run(
        id="hour", title="An hour", experiment="", source="", target="", deployer="none", topology=nowhere, seed=1,
        started=0.0, finished=HOUR, proxy="none", windows={"load": [(0.0, HOUR)]}, gates=[], findings=[],
        verdict=Verdict.SUPPORTED, as_expected=True,
    )  # fmt: skip
    save_run(folder, run)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# ------------------------------------------------------------------------------------------------------------ chaoskit


class _Process:
    """A launched worker, held to one core where asked."""

    def __init__(self, spec: LaunchSpec, core: int | None, *, realtime: bool = False) -> None:
        self.spec = spec
        argv = [*_held(core, realtime), *spec.argv]
        Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        with Path(spec.log).open("ab") as log:
            self.process = subprocess.Popen(argv, env=spec.env, cwd=spec.cwd, stdout=log, stderr=log)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        return self.process.poll()

    def wait(self, timeout: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout)
        return None

    def signal(self, number: int, *, tree: bool = True) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _held(core: int | None, realtime: bool) -> list[str]:
    """What a command begins with to be held to a core."""
    return (["chrt", "-f", "10"] if realtime else []) + (["taskset", "-c", str(core)] if core is not None else [])


class _Launcher:
    def __init__(self, core: int | None, *, realtime: bool = False) -> None:
        self._core = core
        self._realtime = realtime
        self.children: list[_Process] = []

    def launch(self, spec: LaunchSpec) -> Child:
        self.children.append(_Process(spec, self._core, realtime=self._realtime))
        return self.children[-1]


def driven(
    url: str,
    load: Mapping[str, object],
    seconds: float,
    *,
    core: int | None,
    realtime: bool = False,
    watch: Callable[[_Launcher], None] = lambda _: None,
) -> tuple[LoadView, list[Observation]]:
    """One load by the driver, as experiments have it; the view leaves out its first half second."""
    spec = LoadSpec.model_validate({"requests": [{"name": "GET /", "path": "/"}], **load})
    seen: list[Observation] = []
    launcher = _Launcher(core, realtime=realtime)
    with tempfile.TemporaryDirectory() as folder:
        driver = LoadDriver(spec, url, launcher, seen.append, 1, Path(folder))
        driver.prepare()
        t0 = slot_start(time.monotonic() + 0.3)
        driver.start(t0, seconds + 0.5)
        time.sleep(t0 + 0.5 - time.monotonic())
        watch(launcher)
        time.sleep(max(t0 + seconds + 0.5 - time.monotonic(), 0))
        driver.drain(3)
        driver.stop()
    slots = [slot for slot in seen if isinstance(slot, LoadSlot) and slot.at >= t0 + 0.45]
    return LoadView([(slot.at - t0, slot) for slot in slots], [(0.5, seconds + 0.5)]), seen


def closed(url: str, seconds: float) -> Figure:
    view, seen = driven(url, {"users": USERS}, seconds, core=1)
    return Figure(view.rate, cost_of(view, seen, 1))


def cost_of(view: LoadView, seen: Sequence[Observation], number: int) -> float:
    used = [point.value for point in seen if isinstance(point, MetricPoint) and point.name == "generator_cpu"][1:-1]
    return sum(used) / len(used) * number / view.rate


def open_load(url: str, seconds: float, rate: int, *, realtime: bool) -> tuple[LoadView, list[Observation]]:
    return driven(url, {"rate": f"{rate}/s"}, seconds, core=1, realtime=realtime)


def grown(url: str, requests: int) -> tuple[int, int, int]:
    """Resident bytes after the first second and at the end, and how many requests lay between."""
    sizes: list[int] = []

    def watch(launcher: _Launcher) -> None:
        process = psutil.Process(launcher.children[0].pid)
        time.sleep(0.5)
        sizes.append(process.memory_info().rss)
        until = time.monotonic() + seconds - 1.0
        while time.monotonic() < until:
            time.sleep(0.2)
        sizes.append(process.memory_info().rss)

    seconds = max(requests / closed(url, 2.0).rate, 3.0)
    view, _ = driven(url, {"users": USERS}, seconds, core=1, watch=watch)
    return sizes[0], sizes[1], view.ok


# --------------------------------------------------------------------------------------------------------------- peers


def measured(argv: Sequence[str], env: Mapping[str, str] | None = None, *, realtime: bool = False) -> tuple[str, float]:
    """What a command on core 1 printed, and the CPU seconds it took."""
    before = os.times()
    done = subprocess.run(
        [*_held(1, realtime), *argv], capture_output=True, text=True, check=True, env={**os.environ, **(env or {})}
    )
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return done.stdout, used


def wrk(url: str, seconds: float) -> Figure | None:
    if shutil.which("wrk") is None:
        return None
    text, cpu = measured(["wrk", "-t1", f"-c{USERS}", f"-d{seconds:g}s", url + "/"])
    count = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    return Figure(float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), cpu / count)  # type: ignore[index]


def hey(url: str, seconds: float) -> Figure | None:
    if shutil.which("hey") is None:
        return None
    argv = ["hey", "-cpus", "1", "-c", str(USERS), "-z", f"{seconds:g}s", url + "/"]
    text, cpu = measured(argv, {"GOMAXPROCS": "1"})
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    return Figure(rate, cpu / (rate * seconds))


def k6_path() -> str | None:
    beside = Path(sys.executable).with_name("k6")
    return str(beside) if beside.exists() else shutil.which("k6")


def run_k6(script: str, *, realtime: bool = False) -> tuple[dict[str, dict[str, float]], float] | None:
    """k6's summary by metric, and its CPU seconds."""
    path = k6_path()
    if path is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "script.js").write_text(script)
        argv = [
            path,
            "run",
            "--quiet",
            "--no-usage-report",
            "--summary-export",
            f"{folder}/out.json",
            f"{folder}/script.js",
        ]
        _, cpu = measured(argv, {"GOMAXPROCS": "1"}, realtime=realtime)
        return json.loads((Path(folder) / "out.json").read_text())["metrics"], cpu


def k6(url: str, seconds: float) -> Figure | None:
    found = run_k6(
        f"import http from 'k6/http'; export const options = {{vus: {USERS}, duration: '{seconds:g}s'}};"
        f" export default function () {{ http.get('{url}/'); }}"
    )
    if found is None:
        return None
    metrics, cpu = found
    return Figure(metrics["http_reqs"]["rate"], cpu / metrics["http_reqs"]["count"])


def k6_open(url: str, seconds: float, *, realtime: bool) -> tuple[int, int] | None:
    found = run_k6(
        "import http from 'k6/http'; export const options = {scenarios: {open: {executor: 'constant-arrival-rate',"
        f" rate: {RATE}, timeUnit: '1s', duration: '{seconds:g}s', preAllocatedVUs: 200, maxVUs: 1000}}}}}};"
        f" export default function () {{ http.get('{url}/'); }}",
        realtime=realtime,
    )
    if found is None:
        return None
    metrics, _ = found
    return int(metrics["http_reqs"]["count"]), int(metrics.get("dropped_iterations", {}).get("count", 0))


LOCUST = """
import json, os, sys, time
import gevent, locust
from locust import constant, task
from locust.env import Environment

class User(locust.{kind}):
    wait_time = constant(0)
    @task
    def get(self):
        self.client.get("/")

environment = Environment(user_classes=[User], host={url!r})
runner = environment.create_local_runner()
runner.start({users}, {users})
gevent.sleep(1)
begin, cpu, before = time.monotonic(), time.process_time(), runner.stats.total.num_requests
gevent.sleep({seconds})
count = runner.stats.total.num_requests - before
print(json.dumps([count / (time.monotonic() - begin), (time.process_time() - cpu) / count]), flush=True)
os._exit(0)
"""


def locust(url: str, seconds: float, kind: str) -> Figure | None:
    script = LOCUST.format(kind=kind, url=url, users=USERS, seconds=seconds)
    text, _ = measured([sys.executable, "-c", script])
    return Figure(*json.loads(text.splitlines()[-1]))


# -------------------------------------------------------------------------------------------------------------- server


@contextlib.contextmanager
def nginx() -> Iterator[str]:
    """One nginx worker on core 0, answering every path with `ok`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "nginx.conf").write_text(
            f"worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n"
            "events { worker_connections 4096; }\n"
            "http { access_log off; keepalive_requests 1000000000; keepalive_timeout 600;\n"
            f" client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};"
            f" uwsgi_temp_path {folder}; scgi_temp_path {folder};\n"
            f" server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 'ok'; }} }} }}\n"
        )
        argv = ["taskset", "-c", "0", "nginx", "-c", f"{folder}/nginx.conf", "-p", folder, "-e", f"{folder}/error.log"]
        server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 10
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                    break
                if time.monotonic() > until or server.poll() is not None:
                    sys.exit("nginx did not come up: " + Path(folder, "error.log").read_text())
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
