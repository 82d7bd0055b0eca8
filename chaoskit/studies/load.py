"""A load without faults, on a URL or a target: carried out, judged by its thresholds, kept and reported like a run.

stage (guardian, recorder) ─► target with its proxies, or nothing for a URL ─► one window of load ─► judge ─► Run
"""

from __future__ import annotations

import ipaddress
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from chaoskit.errors import UsageError
from chaoskit.experiment import Experiment, Step
from chaoskit.interfaces import Address, Deployer, Hypothesis, System
from chaoskit.interrupt import Interrupt, Interrupted
from chaoskit.lever import refuse_if_pulled
from chaoskit.load.driver import LoadDriver
from chaoskit.model.credentials import without_secrets, words_without_secrets
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT, Event, Observation, slot_start
from chaoskit.model.run import Run
from chaoskit.model.topology import Topology
from chaoskit.model.verdict import Finding, Gate, Verdict, merge
from chaoskit.reading import load_target
from chaoskit.recorder import Listener
from chaoskit.registry import find
from chaoskit.runner import Finished, judge
from chaoskit.stage import Stage, usual_probes
from chaoskit.steps import carry_out_steps
from chaoskit.store import Store, keep, new_run_id, slug
from chaoskit.target import Target
from chaoskit.traffic import LoadSpec

__all__ = ["LoadAsked", "LoadStage", "check_host", "here", "is_url", "judged", "load_without_faults"]

_LEAD = 0.25
"""Seconds between the order to start and the first planned send."""
_DRAIN = 2.0
"""Seconds that requests in flight at the end may take to finish, at most."""


@dataclass(frozen=True)
class LoadAsked:
    """What one load run is. `where` is a URL (up to its port, or with a base path) or the name of a target."""

    where: str
    spec: LoadSpec
    lasts: float
    """Seconds of the window that is judged."""
    warmup: float = 0.0
    """Seconds of load before it."""
    thresholds: tuple[Hypothesis, ...] = ()
    title: str = ""
    seed: int = 1
    store: Path = Path("reports")
    deployer: str = "process"
    toxiproxy: str = "embedded"
    allow_hosts: tuple[str, ...] = ()
    setup: tuple[Step, ...] = ()
    """Requests to the target before any load; what they capture is data of the load."""
    near: Path | None = None
    """The file that names the target: it is looked up beside it, too."""
    root: Path | None = None
    """Folder from which files of the load are looked up."""
    listeners: Sequence[Listener] = ()
    interrupt: Interrupt | None = None
    command: Sequence[str] = ()
    listen: Address | None = None
    away: int = 0
    token: str = ""


def is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def load_without_faults(asked: LoadAsked) -> Finished:
    """Carry it out; everything is down again afterwards. Raises ChaoskitError where it could not be carried out."""
    with LoadStage(asked) as stage:
        stage.warm_up()
        try:
            span = stage.load(asked.spec, asked.warmup, asked.lasts, "load")
        except Interrupted:
            span = stage.cut(asked.warmup)
        history = stage.history({Phase.LOAD: [span]} if span[1] > span[0] else {})
    return stage.finish(history, *judged(asked, history))


def judged(asked: LoadAsked, history: History) -> tuple[list[Finding], list[Gate]]:
    """Findings and gates of a plain load: it has no baseline, so no steady state either."""
    question = Experiment(title="load", target=asked.where, load=asked.spec, hypotheses=asked.thresholds)
    no_baseline = Gate(gate="steady state", open=True, because="a plain load has no baseline")
    findings, gates = judge(question, (), history, [no_baseline])
    return findings, [gate for gate in gates if gate is not no_baseline]


@dataclass
class LoadStage:
    """What is up for loads: the target, if there is one, and a driver at a time. Use as a context manager."""

    asked: LoadAsked
    notes: list[str] = field(default_factory=list)
    t0: float = 0.0

    def __post_init__(self) -> None:
        asked = self.asked
        self.target: Target | None = None if is_url(asked.where) else load_target(asked.where, near=asked.near)
        self.title = asked.title or f"Load on {asked.where}"
        self.interrupt = asked.interrupt or Interrupt()
        refuse_if_pulled()
        self.started = time.time()
        stem = slug(self.target.name if self.target else urlsplit(asked.where).netloc)
        self.folder = Store(asked.store).create(f"load-{stem}", None, self.started)
        self.run_id = new_run_id(f"load-{stem[:30]}", self.started)
        self._stage = Stage(
            self.run_id,
            self.folder,
            label=self.title,
            toxiproxy=asked.toxiproxy,
            seed=asked.seed,
            say=self.say,
            sent=[one.model_dump(mode="json") for one in (asked.spec, *asked.setup)],
        )
        self._where: Address | str = asked.where
        self._captured: dict[str, str] = {}
        self._driver: LoadDriver | None = None

    def __enter__(self) -> LoadStage:
        self.interrupt.__enter__()
        try:
            self._stage.__enter__()
            for listener in self.asked.listeners:
                self._stage.recorder.listen(listener)
        except BaseException:
            self.interrupt.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._driver is not None:
                self._driver.stop()
            if not self.t0:
                self._stage.recorder.begin(slot_start(time.monotonic()))
            self._stage.close()
        finally:
            self.interrupt.__exit__(None, None, None)

    def warm_up(self) -> None:
        """Put the target up and carry out the setup, where there is one. Raises CouldNotRun."""
        if self.target is None:
            return
        deployer: Deployer = find("deployers", self.asked.deployer)()

        def on_entry(entry: Address) -> None:
            self._where = entry

        with self.interrupt.breakable():
            system: System = self._stage.deploy(self.target, deployer, env={}, on_entry=on_entry, blast_radius=())
        self._where = system.entry()
        with self.interrupt.breakable():
            self._captured = carry_out_steps(self.asked.setup, self._where)
        self._stage.watch(usual_probes(without={"resources"}))

    def load(
        self, spec: LoadSpec, warmup: float, lasts: float, name: str, *, while_: Callable[[], bool] | None = None
    ) -> Span:
        """One load to its end (or until `while_` says no); the span of its window, in seconds of the run.

        Raises Interrupted where the user ends it, LoadError where the worker cannot start or dies.
        """
        asked = self.asked
        driver = self._driver = LoadDriver(
            spec,
            self._where,
            self._stage.guardian,
            self._stage.recorder.emit,
            asked.seed,
            self.folder,
            allowed_hosts=asked.allow_hosts,
            root=asked.root,
            listen=asked.listen,
            away=asked.away,
            token=asked.token,
        )
        with self.interrupt.breakable():
            driver.prepare()
        begin = slot_start(time.monotonic() + _LEAD + SLOT)
        if not self.t0:
            self.t0 = begin
            self.started = time.time() + (begin - time.monotonic())
            self._stage.recorder.begin(begin)
        start = round(begin - self.t0 + warmup, 1)
        self._phase(name, start, start + lasts)
        driver.start(begin, warmup + lasts, self._captured)
        end = begin + warmup + lasts
        while (left := end - time.monotonic()) > 0:
            if self.interrupt.wait(min(left, 0.05)):
                self.cut(start)
                raise Interrupted
            if not driver.alive():
                self._stage.lost("the load worker", driver.failure or "its process ended")
            if self._stage.part_lost() or (while_ is not None and not while_()):
                break
        span = (start, min(start + lasts, max(slot_start(time.monotonic() - self.t0), start)))
        driver.drain(_DRAIN if span[1] == start + lasts else 0.0)
        driver.stop()
        return span

    def rest(self, seconds: float) -> None:
        """Send nothing for a while. Raises Interrupted where the user ends it."""
        if self.interrupt.wait(seconds):
            raise Interrupted

    def cut(self, start: float) -> Span:
        """Stop sending now; the window that began at `start` up to here."""
        if self._driver is not None:
            self._driver.stop()
        now = slot_start(time.monotonic() - self.t0) if self.t0 else 0.0
        return (start, max(start, now))

    def _phase(self, name: str, start: float, end: float) -> None:
        about = {"start": f"{start:g}", "end": f"{end:g}"}
        self.emit(Event(at=self.t0 + start, source="runner", kind="phase", text=name, about=about))

    def emit(self, seen: Observation) -> None:
        self._stage.recorder.emit(seen)

    def say(self, text: str) -> None:
        self.emit(Event(at=time.monotonic(), source="runner", kind="say", text=text))

    def history(self, windows: dict[Phase, list[Span]]) -> History:
        """What was seen so far, through these windows."""
        self._stage.recorder.flush()
        topology = self.target.topology() if self.target else Topology(self.asked.where, "", (), ())
        return History(self._stage.recorder.seen(), topology, windows, [], [])

    def finish(self, history: History, findings: list[Finding], gates: list[Gate]) -> Finished:
        """The run, kept and reported. Without thresholds it is supported where it could tell."""
        asked = self.asked
        if self.interrupt.requested:
            gates.append(Gate(gate="interrupted", open=False, because=self.interrupt.because))
        verdict = merge(findings, gates)
        written = asked.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        if not findings and all(gate.open for gate in gates):
            verdict = Verdict.SUPPORTED
        run = Run(
            id=self.run_id,
            title=self.title,
            experiment="",
            source=json.dumps(without_secrets(written), indent=2),
            target=self.target.name if self.target else asked.where,
            deployer=asked.deployer if self.target else "none",
            topology=history.topology,
            seed=asked.seed,
            started=self.started,
            finished=time.time(),
            proxy=(self._stage.served_by or "embedded") if self.target else "none",
            windows={phase.value: spans for phase, spans in history.windows.items()},
            gates=gates,
            findings=findings,
            verdict=verdict,
            as_expected=verdict is Verdict.SUPPORTED,
            undo_left=list(self._stage.undo_left),
            interrupted=self.interrupt.requested,
            environment={"command": " ".join(words_without_secrets(asked.command))},
            folder=str(self.folder),
            notes=self.notes,
        )
        keep(run, history)
        return Finished(run, history)


def check_host(where: str, allow_hosts: Sequence[str]) -> None:
    """Raises UsageError for a URL that is neither this machine nor allowed: before anything starts."""
    host = urlsplit(where).hostname if is_url(where) else None
    # A name that does not resolve is a failure that is counted.
    if host and host not in allow_hosts and not here(host, unresolved=True):
        raise UsageError(
            f"{host} is not this machine, and you have not allowed load to go there", hint=f"--allow-host {host}"
        )


def here(host: str, *, unresolved: bool = False) -> bool:
    """Whether a name or an address is this machine's loopback; `unresolved` for a name that stands for nothing."""
    try:
        found = {str(item[4][0]) for item in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return unresolved
    return all(ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)
