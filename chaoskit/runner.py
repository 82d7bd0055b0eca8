"""run(experiment) → Run: deploy → setup → warmup → baseline → fault → recovery → verify → judge.

Listeners are `recorder.Listener`s: they hear every observation on the run's clock, phases as Events of kind `phase`
(text = the phase, about = {start, end}), faults as `injected` and `undone`, and lines for people as `say`.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from chaoskit.abort import AbortWatch
from chaoskit.errors import CouldNotRun, CouldNotTell, UsageError
from chaoskit.experiment import GATE_MARGIN, Experiment
from chaoskit.gates import (
    clock_gate,
    generator_gate,
    host_gate,
    parts_gate,
    samples_gate,
    steady_gate,
    trace_gates,
)
from chaoskit.injection import Injection, apply_undo
from chaoskit.interfaces import Address, Deployer, Fault, Probe, System
from chaoskit.interrupt import Interrupt, Interrupted
from chaoskit.lever import refuse_if_pulled
from chaoskit.load.driver import LoadDriver
from chaoskit.model.drift import baseline_drift
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT, Event, slot_start
from chaoskit.model.run import Run
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Finding, Gate, Verdict, merge
from chaoskit.proxy.choice import chosen_toxiproxy
from chaoskit.reading import load_target
from chaoskit.recorder import Listener
from chaoskit.registry import find, kinds, undo_owners
from chaoskit.so_far import SoFar
from chaoskit.stage import Stage, usual_probes
from chaoskit.steps import carry_out_steps
from chaoskit.store import Store, keep, new_run_id, slug
from chaoskit.target import Target

__all__ = ["Asked", "Finished", "carry_out", "judge", "run"]

_LEAD = 0.15
"""Seconds between the order to start the load and the first planned send."""
_DRAIN = 2.0
"""Seconds that requests in flight at the end may take to finish, at most."""


@dataclass(frozen=True)
class Asked:
    """What the caller may say about one run, beside the experiment."""

    variant: str | None = None
    seed: int | None = None
    deployer: str | None = None
    toxiproxy: str | None = None
    """`embedded`, `real` or a URL; None reads CHAOSKIT_TOXIPROXY."""
    store: Path = Path("reports")
    allow_hosts: tuple[str, ...] = ()
    listeners: Sequence[Listener] = ()
    so_far: Callable[[Finding], None] | None = None
    """Hears the findings of phases that are over while the run goes on, in a thread of its own; None judges none."""
    interrupt: Interrupt | None = None
    reporters: Sequence[str] | None = None
    """Kinds of reports to write; None for all of ours."""
    command: Sequence[str] = ()
    """How it was asked for, for `how to run it again`."""


class Finished(NamedTuple):
    run: Run
    history: History


class _Ended(Exception):
    """The phases end here, before their time."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.gate = gate


def run(experiment: Experiment, asked: Asked | None = None) -> Run:
    """Carry out one experiment and return its run; reports are in `run.folder`. Raises ChaoskitError where it could not
    be carried out (everything is down again then)."""
    return carry_out(experiment, asked or Asked()).run


def carry_out(experiment: Experiment, asked: Asked) -> Finished:
    """The same, with the history."""
    return _Runner(experiment, asked).go()


@dataclass
class _Seen:
    """What a run has come to so far."""

    windows: dict[Phase, list[Span]] = field(default_factory=dict)
    injections: list[Injection] = field(default_factory=list)
    faults: tuple[Fault, ...] = ()
    gates: list[Gate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Runner:
    def __init__(self, experiment: Experiment, asked: Asked) -> None:
        self.experiment = experiment
        self.asked = asked
        if asked.variant is not None and asked.variant not in experiment.variants:
            known = ", ".join(experiment.variants) or "none"
            raise UsageError(f"no variant {asked.variant!r} in {experiment.title!r}; there are: {known}")
        self.variant = experiment.variants.get(asked.variant) if asked.variant else None
        self.target: Target = load_target(experiment.target, near=experiment.file)
        self.deployer: Deployer = find("deployers", asked.deployer or experiment.deployer)()
        self.toxiproxy = chosen_toxiproxy(asked.toxiproxy)
        self.seed = experiment.seed if asked.seed is None else asked.seed
        self.interrupt = asked.interrupt or Interrupt()
        self.aborts = AbortWatch(experiment.abort_when)
        self.so_far = SoFar(experiment.hypotheses, asked.so_far)
        self.seen = _Seen(faults=experiment.faults)
        self.t0 = 0.0
        self._arranged: list[Undo] = []
        self.captured: dict[str, str] = {}
        """What the setup's answers held, for the load."""
        self._check()

    def _check(self) -> None:
        """What can be known to fail before anything starts."""
        for fault in self.experiment.faults:
            if missing := fault.needs - self.deployer.can:
                raise UsageError(
                    f"fault {fault.id or fault.kind!r} needs a deployer that can {', '.join(sorted(missing))};"
                    f" {self.deployer.kind!r} cannot"
                )
            for _, obstacle in fault.obstacles(type(self.deployer)):
                what, _, hint = obstacle.partition("; ")
                raise CouldNotRun(f"fault {fault.id or fault.kind!r}: {what}", hint=hint)
        refused = set(self.experiment.allow_hosts) - set(self.asked.allow_hosts)
        if refused:
            raise UsageError(
                f"the experiment wants to send load to {', '.join(sorted(refused))}, which you have not allowed",
                hint=" ".join(f"--allow-host {host}" for host in sorted(refused)),
            )

    # ------------------------------------------------------------------------------------------------------ the run

    def go(self) -> Finished:
        refuse_if_pulled()
        started = time.time()
        stem = self.experiment.file.stem if self.experiment.file else slug(self.experiment.title)
        folder = Store(self.asked.store).create(stem, self.asked.variant, started)
        run_id = new_run_id(slug(stem)[:40], started)
        stage = Stage(
            run_id,
            folder,
            label=self.experiment.title,
            toxiproxy=self.toxiproxy,
            seed=self.seed,
            say=self._say,
            sent=self.experiment.model_dump(mode="json", include={"load", "setup", "verify"}),
        )
        self._stage = stage
        with self.interrupt, stage:
            for listener in self.asked.listeners:
                stage.recorder.listen(listener)
            stage.recorder.listen(self.aborts)
            try:
                self._phases(stage)
            except _Ended as ended:
                if ended.gate is not None:
                    self.seen.gates.append(ended.gate)
            except Interrupted:
                pass
            finally:
                self._stop(stage)
            history = self._history(stage)
            served_by = stage.served_by
            self.seen.notes += stage.notes
        if self.t0 == 0.0:  # interrupted before there was anything to judge
            self.t0 = time.monotonic()
        finished = self._judged(history, folder, run_id, started, served_by, stage.undo_left)
        keep(finished.run, history, self.asked.reporters)
        return finished

    def _phases(self, stage: Stage) -> None:
        """The experiment itself, in the order in which it is told."""
        spans = self.experiment.phases.spans()
        system = self._deploy(stage)
        with self.interrupt.breakable():
            self.captured = carry_out_steps(self.experiment.setup, system.entry())
            self._arrange(stage, system)
        stage.watch(self._probes())
        self._begin(stage)
        self._phase(Phase.WARMUP, spans)
        self._phase(Phase.BASELINE, spans, until=spans[Phase.BASELINE][1] - GATE_MARGIN)
        self._before_injection(stage, system, spans)
        self._phase(Phase.BASELINE, spans)
        self._phase(Phase.FAULT, spans)
        for injection in self.seen.injections:
            injection.join(10.0)
        over = dict(self.seen.windows)
        self.so_far.judge(over, lambda: self._seen_by(stage, over))
        self._phase(Phase.RECOVERY, spans)
        self._drain()
        self._verify(stage, system)

    def _deploy(self, stage: Stage) -> System:
        """Target and load worker go up side by side: the worker needs nothing but the front edge's address."""
        failure: list[BaseException] = []

        def prepare(driver: LoadDriver) -> None:
            try:
                driver.prepare()
            except BaseException as error:  # noqa: BLE001 - raised below, in the run's own thread
                failure.append(error)

        def on_entry(entry: Address) -> None:
            self.driver = LoadDriver(
                self.experiment.load,
                entry,
                stage.guardian,
                stage.recorder.emit,
                self.seed,
                stage.folder,
                allowed_hosts=self.asked.allow_hosts,
                root=self.experiment.file.parent if self.experiment.file else None,
            )
            self._preparing = threading.Thread(target=prepare, args=(self.driver,), name="load-prepare", daemon=True)
            self._preparing.start()

        with self.interrupt.breakable():
            env = self.variant.env if self.variant else {}
            system = stage.deploy(
                self.target,
                self.deployer,
                env=env,
                on_entry=on_entry,
                allowed_hosts=self.asked.allow_hosts,
                blast_radius=self.experiment.blast_radius,
            )
            while self._preparing.is_alive():
                self._preparing.join(0.1)
        if failure:
            raise failure[0]
        return system

    def _arrange(self, stage: Stage, system: System) -> None:
        """What faults need to be so before the load begins; set right when they are out."""
        for fault in self.experiment.faults:
            for undo in fault.undo_arranged(system):
                arranged = replace(undo, id=f"{fault.id} before: {undo.id}")
                stage.will_undo(arranged)
                self._arranged.append(arranged)
            fault.arrange(system)
            fault.undo(system)  # creates nothing: what cannot be done to these processes is told before the load

    _preparing: threading.Thread
    driver: LoadDriver | None = None

    def _probes(self) -> list[Probe]:
        """What is always watched (taps, processes, health, metrics), what hypotheses need, and what the experiment
        adds."""
        own = {probe.kind for probe in self.experiment.probes}
        known = kinds("probes")
        always = usual_probes(without=own)
        needed = [
            known[kind].model_validate(dict(settings))
            for claim in self.experiment.hypotheses
            for kind, settings in claim.probes()
        ]
        once = [probe for place, probe in enumerate(needed) if probe not in needed[:place]]  # two claims, one question
        return [*always, *once, *self.experiment.probes]

    def _begin(self, stage: Stage) -> None:
        assert self.driver is not None, "the load worker was prepared with the deploy"
        threading.Thread(target=self._get_ready, name="get-ready", daemon=True).start()
        total = self.experiment.phases.total
        self.t0 = slot_start(time.monotonic() + _LEAD + SLOT)
        self.started_wall = time.time() + (self.t0 - time.monotonic())
        stage.recorder.begin(self.t0)
        self.driver.start(self.t0, total, self.captured)

    def _get_ready(self) -> None:
        """Import now, in the warmup, what else would be imported when a fault is due to come out or somebody waits for
        the verdict. What fails here fails again where it is used, and is told there."""
        with suppress(Exception):
            undo_owners()
        for kind, reporter in kinds("reporters").items():
            if self.asked.reporters is None or kind in self.asked.reporters:
                with suppress(Exception):
                    reporter.prepare()

    def _phase(self, phase: Phase, spans: Mapping[Phase, Span], until: float | None = None) -> None:
        """Be in a phase until its end (or `until`); its window is what was truly spent in it."""
        start, end = spans[phase]
        if phase not in self.seen.windows:
            self.seen.windows[phase] = [(start, end)]
            about = {"start": f"{start:g}", "end": f"{end:g}"}
            at = self.t0 + start
            self._stage.recorder.emit(Event(at=at, source="runner", kind="phase", text=phase.value, about=about))
        self._wait(end if until is None else until)

    def _wait(self, until: float) -> None:
        """Until an instant of the run. Leaves the phases where the run must end before."""
        while (left := self.t0 + until - time.monotonic()) > 0:
            if self.interrupt.wait(min(left, 0.05)):
                raise _Ended
            self.aborts.tick(time.monotonic() - self.t0)
            if self.aborts.fired is not None:
                raise _Ended
            if self.driver is not None and not self.driver.alive():
                self._stage.lost("the load worker", "its process ended")
            if self._stage.part_lost():
                raise _Ended

    def _before_injection(self, stage: Stage, system: System, spans: Mapping[Phase, Span]) -> None:
        """Judge the steady state, make relative faults absolute, write their undos down. No fault goes in after a
        shut gate."""
        history = self._history(stage)
        baseline = spans[Phase.BASELINE]
        gate = steady_gate(self.experiment.bounds(), history, until=self.experiment.phases.judged_baseline[1])
        if not gate.open:
            raise _Ended(gate)
        cut = history.between([(baseline[0], baseline[1] - GATE_MARGIN)])
        try:
            self.seen.faults = tuple(fault.seeded(self.seed).resolve(cut) for fault in self.experiment.faults)
        except CouldNotTell as error:
            raise _Ended(Gate(gate="trace", open=False, because=error.message, evidence=(baseline,))) from error
        for fault in self.seen.faults:
            injection = Injection(
                fault,
                system,
                t0=self.t0,
                window=spans[Phase.FAULT],
                emit=stage.recorder.emit,
                will_undo=stage.will_undo,
                undone=stage.undone,
            )
            self.seen.injections.append(injection)
            injection.prepare()

    def _drain(self) -> None:
        """Let what is in flight at the end finish, for a while."""
        if self.driver is not None:
            self.driver.drain(_DRAIN)

    def _verify(self, stage: Stage, system: System) -> None:
        if not self.experiment.verify:
            return
        start = slot_start(time.monotonic() - self.t0)
        with self.interrupt.breakable():
            carry_out_steps(self.experiment.verify, system.entry(), emit=stage.recorder.emit)
        self.seen.windows[Phase.VERIFY] = [(start, slot_start(time.monotonic() - self.t0 + SLOT))]

    def _stop(self, stage: Stage) -> None:
        """Faults out, load down. The stage itself comes down after it."""
        self.so_far.end()
        for injection in self.seen.injections:
            injection.withdraw(ending=True)
        while self._arranged:  # a replica of ours that was stopped needs nothing: all of them stop now
            undo = self._arranged.pop()
            with suppress(Exception):  # what fails stays in the journal: the guardian tries again, and tells
                apply_undo(undo, None)
                stage.undone(undo.id)
        if self.driver is not None:
            self._preparing.join(5.0)
            self.driver.stop()
        if self.t0:
            now = slot_start(time.monotonic() - self.t0)
            for phase, spans in self.seen.windows.items():
                cut = [(start, min(end, now)) for start, end in spans if start < now]
                self.seen.windows[phase] = cut
            self.seen.windows = {phase: spans for phase, spans in self.seen.windows.items() if spans}
        else:
            stage.recorder.begin(slot_start(time.monotonic()))

    # ---------------------------------------------------------------------------------------------------- the judging

    def _history(self, stage: Stage) -> History:
        stage.recorder.flush()
        return self._seen_by(stage, dict(self.seen.windows))

    def _seen_by(self, stage: Stage, windows: dict[Phase, list[Span]]) -> History:
        """What is recorded by now."""
        return History(
            stage.recorder.seen(),
            self.target.topology(),
            windows,
            [injection.span() for injection in self.seen.injections],
            self.experiment.bounds(),
        )

    def _judged(
        self, history: History, folder: Path, run_id: str, started: float, served_by: str, undo_left: Sequence[Undo]
    ) -> Finished:
        findings, gates = judge(self.experiment, self.seen.faults, history, self.seen.gates)
        if aborted := self.aborts.finding():
            findings.insert(0, aborted)
        if self.interrupt.requested:
            gates.append(Gate(gate="interrupted", open=False, because=self.interrupt.because))
        left = [*undo_left]
        for injection in self.seen.injections:
            left += [undo for undo in injection.undo_left if undo not in left]
            if injection.error:
                gates.append(Gate(gate="trace", open=False, because=injection.error))
        verdict = merge(findings, gates)
        expected = self.variant.expect if self.variant else Verdict.SUPPORTED
        breaks = list(self.variant.breaks) if self.variant else []
        refuted = {finding.hypothesis for finding in findings if finding.verdict is Verdict.REFUTED}
        as_expected = verdict is expected and (expected is not Verdict.REFUTED or set(breaks) <= refuted)
        finished = Run(
            id=run_id,
            title=self.experiment.title,
            experiment=str(self.experiment.file or ""),
            variant=self.asked.variant,
            source=self.experiment.source,
            target=self.target.name,
            deployer=self.deployer.kind,
            topology=history.topology,
            seed=self.seed,
            started=getattr(self, "started_wall", started),
            finished=time.time(),
            proxy=served_by or "embedded",
            windows={phase.value: spans for phase, spans in history.windows.items()},
            faults=list(history.faults),
            steady_state=list(history.steady_state),
            gates=gates,
            findings=findings,
            verdict=verdict,
            expected=expected,
            breaks=breaks,
            as_expected=as_expected,
            undo_left=left,
            interrupted=self.interrupt.requested,
            environment=_environment(self.asked.command),
            folder=str(folder),
            notes=[*self.seen.notes, *filter(None, [baseline_drift(history)])],
        )
        return Finished(finished, history)

    def _say(self, text: str) -> None:
        self._stage.recorder.emit(Event(at=time.monotonic(), source="runner", kind="say", text=text))


def judge(
    experiment: Experiment, faults: Sequence[Fault], history: History, gates: Sequence[Gate] = ()
) -> tuple[list[Finding], list[Gate]]:
    """Findings and gates of a history: pure, so that any run can be judged again from disk. `gates` are those that
    were shut while it ran. A judge that crashes shuts the gate `judge`."""
    shut = list(gates)
    findings: list[Finding] = []
    if not any(gate.gate == "steady state" for gate in shut):
        shut.append(steady_gate(experiment.bounds(), history))
    shut += [generator_gate(history), host_gate(history), samples_gate(history), clock_gate(history)]
    shut.append(parts_gate(history, faults))
    injected = {span.id for span in history.faults}
    try:
        shut += trace_gates(history, [fault for fault in faults if fault.id in injected])
    except Exception as error:  # noqa: BLE001 - a crashing judge is inconclusive, never green
        shut.append(Gate(gate="judge", open=False, because=f"judging a trace crashed: {type(error).__name__}: {error}"))
    if not injected and faults and not any(not gate.open for gate in shut):
        shut.append(Gate(gate="trace", open=False, because="the run ended before any fault was injected"))
    crashed = False
    for hypothesis in experiment.hypotheses:
        try:
            findings.append(hypothesis.judge(history))
        except Exception as error:  # noqa: BLE001 - a crashing judge is inconclusive, never green
            crashed = True
            because = f"judging {hypothesis.title} crashed: {type(error).__name__}: {error}"
            shut.append(Gate(gate="judge", open=False, because=because))
    if not crashed:
        shut.append(Gate(gate="judge", open=True, because=f"{len(findings)} hypotheses were judged"))
    return findings, shut


def _environment(command: Sequence[str]) -> dict[str, str]:
    """What it takes to run it again."""
    found = {
        "command": " ".join(command),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": str(os.cpu_count() or 0),
        "user": "root" if hasattr(os, "geteuid") and os.geteuid() == 0 else "user",
        "interpreter": sys.executable,
    }
    for package in ("chaoskit", "locust", "gevent", "httptools", "uvloop", "toxiproxy-python"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
