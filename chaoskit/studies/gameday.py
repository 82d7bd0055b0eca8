"""A game day: a target that stands until somebody takes it down, with faults that people put in by hand.

    up ──fork──► host: stage (guardian, recorder, proxies, target, load) ─ control socket: inject, down ─► Run

The host is the harness of the run: it lives in a session of its own and outlives the command that started it. Where it
is killed its guardian takes everything down. Nothing was claimed, so the verdict is inconclusive, and what is judged is
whether each fault bit.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chaoskit.control import ControlServer, Message, control_folder
from chaoskit.deployers.process import DataFolder
from chaoskit.errors import ChaoskitError, CouldNotRun, UsageError
from chaoskit.experiment import Step
from chaoskit.injection import Injection
from chaoskit.interfaces import Address, Deployer, Fault, System
from chaoskit.interrupt import Interrupt
from chaoskit.lever import refuse_if_pulled
from chaoskit.load.driver import LoadDriver
from chaoskit.model.history import History, Phase, Span
from chaoskit.model.observation import SLOT, Event, slot_start
from chaoskit.model.run import Run
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Gate, Verdict
from chaoskit.reading import read_fault
from chaoskit.recorder import Listener
from chaoskit.registry import find, kinds, undo_owners
from chaoskit.runner import Finished
from chaoskit.stage import Stage
from chaoskit.steps import carry_out_steps
from chaoskit.store import Store, slug
from chaoskit.studies.afterwards import as_asked, gates_of, keep, windows_of
from chaoskit.studies.live import FaultNow, Picture, Status
from chaoskit.target import Target
from chaoskit.traffic import LoadSpec

__all__ = ["GameDay", "UpAsked"]

_LEAD = 0.25
"""Seconds between the order to start the load and the first planned send."""
_SOON = 0.05
"""Seconds from the order to inject to the injection: for its undo to be written down."""
_IN_FORCE = 20.0
"""Seconds that a fault may take to be in force before whoever asked is told that it is still going in."""
_DRAIN = 1.0
_ANSWERED = 3.0
"""Seconds that who asked for the end may take to hear that it is over."""
_LOOK_BACK = 60.0
"""Seconds over which a relative fault looks for what an edge usually takes."""
_WATCHED = ("taps", "replicas", "health", "scrape", "resources")


@dataclass(frozen=True)
class UpAsked:
    """What is put up, and for how long at most."""

    target: Target
    lasts: float
    """Seconds after which it goes down by itself."""
    deployer: str = "process"
    toxiproxy: str = "embedded"
    env: Mapping[str, Mapping[str, str]] | None = None
    """By service, over that of the target."""
    spec: LoadSpec | None = None
    setup: tuple[Step, ...] = ()
    """Requests before the load begins."""
    root: Path | None = None
    """Folder from which files of the load are looked up."""
    blast_radius: tuple[str, ...] = ()
    """What faults may touch; empty for all of the target."""
    allow_hosts: tuple[str, ...] = ()
    seed: int = 1
    store: Path = Path("reports")
    command: Sequence[str] = ()


class GameDay:
    """One game day, from its host's point of view. `carry_out` is for the main thread; requests come in others."""

    def __init__(self, asked: UpAsked) -> None:
        refuse_if_pulled()
        self.asked = asked
        self.title = f"Game day on {asked.target.name}"
        self.started = time.time()
        stem = slug(asked.target.name)
        self.deployer: Deployer = find("deployers", asked.deployer)()
        self.folder = Store(asked.store).create(f"gameday-{stem}", None, self.started).resolve()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(self.started))
        self.run_id = f"gameday-{stem[:30]}-{stamp}-{secrets.token_hex(4)}"
        self.picture = Picture()
        self.interrupt = Interrupt()
        self._stage = Stage(
            self.run_id, self.folder, label=self.title, toxiproxy=asked.toxiproxy, seed=asked.seed, say=self._say
        )
        self._control = ControlServer(self.run_id, self._answer)
        self._driver: LoadDriver | None = None
        self._entry: Address | None = None
        self._t0 = 0.0
        self._down = threading.Event()
        self._over = threading.Event()
        """Set when the run is kept, or cannot be."""
        self._trouble = ""
        self._injecting = threading.Lock()
        self._injections: list[Injection] = []
        self._notes: list[str] = []
        self._undo_left: list[Undo] = []

    # ----------------------------------------------------------------------------------------------------- its life

    def carry_out(self, told: Callable[[Status], None], *, listeners: Sequence[Listener] = ()) -> Finished:
        """Put it up, tell, stand until somebody takes it down, and keep what was seen. Raises ChaoskitError where it
        cannot be put up, Interrupted where its user thinks better of it; then everything is down again."""
        try:
            with self.interrupt, self._stage as stage:
                hearing: list[Listener] = [self.picture, *listeners]
                for listener in hearing:
                    stage.recorder.listen(listener)
                try:
                    self._put_up(stage)
                    told(self.status())
                    self._stand(stage)
                finally:
                    self._stop(stage)
                end = time.monotonic() - self._t0
                history = self._history(end)
            return self._kept(history)
        except BaseException as error:
            self._trouble = error.message if isinstance(error, ChaoskitError) else f"{type(error).__name__}: {error}"
            raise
        finally:
            self._over.set()
            self._control.finish(_ANSWERED)

    def _put_up(self, stage: Stage) -> None:
        asked = self.asked

        def on_entry(entry: Address) -> None:
            self._entry = entry

        with self.interrupt.breakable():
            system = stage.deploy(
                asked.target,
                self.deployer,
                env=asked.env or {},
                on_entry=on_entry,
                allowed_hosts=asked.allow_hosts,
                blast_radius=asked.blast_radius or None,
            )
            self._entry = system.entry()
            captured = carry_out_steps(asked.setup, self._entry)
            if asked.spec is not None:
                self._driver = LoadDriver(
                    asked.spec,
                    self._entry,
                    stage.guardian,
                    stage.recorder.emit,
                    asked.seed,
                    stage.folder,
                    allowed_hosts=asked.allow_hosts,
                    root=asked.root,
                )
                self._driver.prepare()
        known = kinds("probes")
        stage.watch([known[kind]() for kind in _WATCHED if kind in known])
        undo_owners()  # imports a good deal: now, not when a fault is due to come out
        t0 = slot_start(time.monotonic() + _LEAD + SLOT)
        self.started = time.time() + (t0 - time.monotonic())
        stage.recorder.begin(t0)
        self._t0 = t0
        if self._driver is not None:
            self._driver.start(t0, asked.lasts, captured)
        folder = str(control_folder(self.run_id))
        stage.will_undo(Undo(id="control", owner=DataFolder.kind, args={"folder": folder}, says=f"rm -r {folder}"))
        self._control.start()

    def _stand(self, stage: Stage) -> None:
        while not self.interrupt.wait(0.05) and not self._down.is_set():
            if time.monotonic() >= self._t0 + self.asked.lasts:
                self._notes.append("nobody took it down in time: it went down by itself")
                return
            if self._driver is not None and not self._driver.alive():
                stage.lost("the load worker", self._driver.failure or "its process ended")
            if stage.part_lost():
                return

    def _stop(self, stage: Stage) -> None:
        """Faults out, load down, no more requests. The stage itself comes down after it."""
        self._down.set()
        with self._injecting:  # nothing goes in from here on
            injections = list(self._injections)
        for injection in injections:
            injection.withdraw()
            self._undo_left += [undo for undo in injection.undo_left if undo not in self._undo_left]
        if self._driver is not None:
            if self._t0 and not self.interrupt.requested:
                self._driver.drain(0.0)
            self._driver.stop(_DRAIN if self._t0 else 0.0)
        if self._t0:
            self._control.close()
            stage.undone("control")
        else:
            stage.recorder.begin(slot_start(time.monotonic()))

    # ----------------------------------------------------------------------------------------------------- requests

    def _answer(self, asked: Message) -> Message:
        match asked:
            case {"op": "status"}:
                return {"status": msgspec.to_builtins(self.status())}
            case {"op": "inject", "fault": dict(fault), "lasts": int() | float() as lasts}:
                return {"fault": msgspec.to_builtins(self.inject(fault, float(lasts)))}
            case {"op": "withdraw", "id": str(which)}:
                return {"faults": msgspec.to_builtins(self.withdraw(which))}
            case {"op": "down"}:
                return self._take_down()
        raise UsageError("not a request that this game day knows", hint="chaoskit of another version?")

    def _take_down(self) -> Message:
        """Returns when the run is kept."""
        self._down.set()
        self._over.wait()
        if self._trouble:
            raise CouldNotRun(f"{self.run_id} is down, but not all went well: {self._trouble}")
        return {"folder": str(self.folder)}

    def inject(self, written: Mapping[str, object], lasts: float) -> FaultNow:
        """Put a fault in for so long; returns when it is in force. `written` is as in an experiment's file.

        Raises UsageError for what does not fit, CouldNotTell for a relative fault that nobody could tell from chance,
        CouldNotRun where it could not be put in (then it is out again).
        """
        with self._injecting:
            if self._down.is_set():
                raise CouldNotRun("the game day is going down")
            system = self._system()
            asked = self.asked
            stem = str(written.get("name") or written.get("kind"))
            number = sum(stem in (one.fault.name, one.fault.kind) for one in self._injections) + 1
            fault = read_fault(
                written, asked.target, deployer=asked.deployer, blast_radius=asked.blast_radius, lasts=lasts
            )
            fault = fault.model_copy(update={"id": stem if number == 1 else f"{stem}-{number}", "lasts": None})
            fault = fault.seeded(asked.seed)
            if type(fault).resolve is not Fault.resolve:
                fault = fault.resolve(self._before_now())
            start = time.monotonic() - self._t0 + _SOON
            injection = Injection(
                fault,
                system,
                t0=self._t0,
                window=(start, start + lasts),
                emit=self._stage.recorder.emit,
                will_undo=self._stage.will_undo,
                undone=self._stage.undone,
            )
            injection.prepare()
            self._injections.append(injection)
        until = time.monotonic() + _IN_FORCE
        while injection.span().in_force is None and not injection.error and time.monotonic() < until:
            time.sleep(0.01)
        if injection.error:
            injection.withdraw()
            raise CouldNotRun(injection.error)
        return self._fault_now(injection)

    def withdraw(self, which: str) -> list[FaultNow]:
        """Take a fault out now (`all`: every one); returns when it is out. Raises UsageError for no such one."""
        there = [one for one in list(self._injections) if one.span().undone is None]
        chosen = [one for one in there if which in ("all", one.fault.id)]
        if not chosen and which != "all":
            names = ", ".join(one.fault.id for one in there) or "none"
            raise UsageError(f"no fault {which!r} is in", hint=f"there are: {names}")
        for injection in chosen:
            injection.withdraw()
        return [self._fault_now(one) for one in chosen]

    def status(self) -> Status:
        """Right now. Raises CouldNotRun before it stands."""
        system, now = self._system(), time.monotonic() - self._t0
        topology = system.topology
        listens = {edge: str(system.proxy(edge).listen) for edge in topology.edges}
        replicas = topology.replica_names()
        env = {name: self.asked.target.environment(name, lambda edge: listens[edge]) for name in replicas}
        return Status(
            run=self.run_id,
            title=self.title,
            target=self.asked.target.name,
            deployer=self.asked.deployer,
            proxy=self._stage.served_by or "embedded",
            folder=str(self.folder),
            pid=os.getpid(),
            at=max(now, 0.0),
            left=max(self.asked.lasts - now, 0.0),
            entry=str(self._entry),
            env={name: needs for name, needs in env.items() if needs},
            load=None if self._driver is None else self.picture.load(now),
            edges=self.picture.edges(now, ((edge.name, listen) for edge, listen in listens.items())),
            checks=self.picture.checks(),
            breakers=self.picture.breakers(),
            faults=[self._fault_now(one) for one in list(self._injections)],
            events=self.picture.events(),
        )

    def _system(self) -> System:
        if self._stage.system is None:
            raise CouldNotRun("the game day does not stand yet")
        return self._stage.system

    def _fault_now(self, injection: Injection) -> FaultNow:
        span = injection.span()
        failed = bool(injection.error or injection.undo_left)
        return FaultNow(
            id=span.id,
            kind=span.kind,
            on=span.on,
            says=span.says,
            state="failed" if failed else "in" if span.undone is None else "out",
            since=span.injected,
            until=span.planned[1] if span.undone is None else span.undone,
            error=injection.error,
        )

    # -------------------------------------------------------------------------------------------------- what was seen

    def _windows(self, end: float) -> dict[Phase, list[Span]]:
        spans = [one.span() for one in self._injections]
        return windows_of([(span.injected, span.undone or end) for span in spans if span.injected is not None], end)

    def _before_now(self) -> History:
        """The last minute, as far as no fault was in: what a relative fault is measured by."""
        now = time.monotonic() - self._t0 - 3 * SLOT
        self._stage.recorder.flush()
        since = now - _LOOK_BACK
        recent = [seen for seen in self._stage.recorder.seen() if seen.at >= since]
        quiet = [
            (max(start, since), min(end, now))
            for phase, spans in self._windows(now).items()
            for start, end in spans
            if phase is not Phase.FAULT and end > since
        ]
        return History(recent, self._system().topology, {Phase.BASELINE: quiet}).between(quiet)

    def _history(self, end: float) -> History:
        self._stage.recorder.flush()
        spans = [one.span() for one in self._injections]
        return History(self._stage.recorder.seen(), self.asked.target.topology(), self._windows(end), spans, [])

    def _kept(self, history: History) -> Finished:
        asked = self.asked
        gates = gates_of(asked.target.name, asked.spec, [one.fault for one in self._injections], history)
        for injection in self._injections:
            if injection.error:
                gates.append(Gate(gate="trace", open=False, because=injection.error))
        if self.interrupt.requested:
            gates.append(Gate(gate="interrupted", open=False, because=self.interrupt.because))
        left = [*self._undo_left, *(undo for undo in self._stage.undo_left if undo not in self._undo_left)]
        run = Run(
            id=self.run_id,
            title=self.title,
            experiment="",
            source=as_asked(asked.target.name, asked.spec),
            target=asked.target.name,
            deployer=asked.deployer,
            topology=history.topology,
            seed=asked.seed,
            started=self.started,
            finished=time.time(),
            proxy=self._stage.served_by or "embedded",
            windows={phase.value: spans for phase, spans in history.windows.items()},
            faults=list(history.faults),
            gates=gates,
            verdict=Verdict.INCONCLUSIVE,
            expected=Verdict.INCONCLUSIVE,
            as_expected=True,
            undo_left=left,
            interrupted=self.interrupt.requested,
            environment={"command": " ".join(asked.command)},
            folder=str(self.folder),
            notes=["a game day: faults were put in by hand, and nothing was claimed", *self._notes],
        )
        keep(run, history)
        return Finished(run, history)

    def _say(self, text: str) -> None:
        self._stage.recorder.emit(Event(at=time.monotonic(), source="runner", kind="say", text=text))
