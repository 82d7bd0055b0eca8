"""A game day: a target that stands until somebody takes it down, with faults that people put in by hand.

    up ──fork──► host: stage (guardian, recorder, proxies, target, load) ─ control socket: inject, down ─► Run

The host is the harness of the run: it lives in a session of its own and outlives the command that started it. Where it
is killed its guardian takes everything down. Nothing was claimed, so the verdict is inconclusive, and what is judged is
whether each fault bit.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chaoskit.control import ControlServer, Message, control_folder
from chaoskit.deployers.process import DataFolder
from chaoskit.errors import ChaoskitError, CouldNotRun, ProxyError, UsageError
from chaoskit.experiment import Step
from chaoskit.interfaces import Address, Deployer, System
from chaoskit.interrupt import Interrupt
from chaoskit.lever import refuse_if_pulled
from chaoskit.load.driver import LoadDriver
from chaoskit.model.history import History
from chaoskit.model.observation import SLOT, Event, slot_start
from chaoskit.model.run import Run
from chaoskit.model.topology import Edge
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Gate, Verdict
from chaoskit.recorder import Listener
from chaoskit.registry import find, undo_owners
from chaoskit.runner import Finished
from chaoskit.stage import Stage, usual_probes
from chaoskit.steps import carry_out_steps
from chaoskit.store import Store, keep, new_run_id, slug
from chaoskit.studies.afterwards import as_asked, gates_of
from chaoskit.studies.by_hand import FaultsByHand
from chaoskit.studies.live import Picture, Status
from chaoskit.target import Target
from chaoskit.traffic import LoadSpec

__all__ = ["GameDay", "UpAsked"]

_LEAD = 0.25
"""Seconds between the order to start the load and the first planned send."""
_DRAIN = 1.0
"""Seconds that requests in flight at the end may take to finish, at most."""
_ANSWERED = 3.0
"""Seconds that who asked for the end may take to hear that it is over."""


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
        self.run_id = new_run_id(f"gameday-{stem[:30]}", self.started)
        self.picture = Picture()
        self.interrupt = Interrupt()
        self._stage = Stage(
            self.run_id,
            self.folder,
            label=self.title,
            toxiproxy=asked.toxiproxy,
            seed=asked.seed,
            say=self._say,
            sent=asked.spec.model_dump(mode="json") if asked.spec else None,
        )
        self._control = ControlServer(self.run_id, self._answer)
        self._driver: LoadDriver | None = None
        self._entry: Address | None = None
        self._t0 = 0.0
        self._down = threading.Event()
        self._over = threading.Event()
        """Set when the run is kept, or cannot be."""
        self._trouble = ""
        self._faults: FaultsByHand | None = None
        self._notes: list[str] = []

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
        stage.watch(usual_probes())
        undo_owners()  # imports a good deal: now, not when a fault is due to come out
        t0 = slot_start(time.monotonic() + _LEAD + SLOT)
        self.started = time.time() + (t0 - time.monotonic())
        stage.recorder.begin(t0)
        self._t0 = t0
        if self._driver is not None:
            self._driver.start(t0, asked.lasts, captured)
        self._faults = FaultsByHand(
            stage, system, deployer=asked.deployer, blast_radius=asked.blast_radius, seed=asked.seed, t0=t0
        )
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
        if self._faults is not None:
            self._faults.close()
        if self._driver is not None:
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
                return {"fault": msgspec.to_builtins(self._by_hand().inject(fault, float(lasts)))}
            case {"op": "withdraw", "id": str(which)}:
                return {"faults": msgspec.to_builtins(self._by_hand().withdraw(which))}
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

    def status(self) -> Status:
        """Right now. Raises CouldNotRun before it stands."""
        faults, now = self._by_hand(), time.monotonic() - self._t0
        system = self._stage.system
        assert system is not None, "it stands"
        topology = system.topology
        listens = {edge: where for edge in topology.edges if (where := _listens(system, edge))}
        open_ways = {edge.caller for edge in topology.edges if edge not in listens}
        env = {
            name: self.asked.target.environment(name, lambda edge: listens[edge])
            for name in topology.replica_names()
            if name not in open_ways
        }
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
            faults=faults.now(),
            events=self.picture.events(),
        )

    def _history(self, end: float) -> History:
        self._stage.recorder.flush()
        faults = self._by_hand()
        return History(
            self._stage.recorder.seen(), self.asked.target.topology(), faults.windows(end), faults.spans(), []
        )

    def _by_hand(self) -> FaultsByHand:
        if self._faults is None:
            raise CouldNotRun("the game day does not stand yet")
        return self._faults

    def _kept(self, history: History) -> Finished:
        asked, faults = self.asked, self._by_hand()
        gates = gates_of(asked.target.name, asked.spec, faults.faults, history)
        gates += [Gate(gate="trace", open=False, because=error) for error in faults.errors]
        if self.interrupt.requested:
            gates.append(Gate(gate="interrupted", open=False, because=self.interrupt.because))
        left = [*faults.undo_left, *(undo for undo in self._stage.undo_left if undo not in faults.undo_left)]
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


def _listens(system: System, edge: Edge) -> str:
    """Where the proxy of an edge listens; empty where none stands on it (adopted, and outside the blast radius)."""
    try:
        return str(system.proxy(edge).listen)
    except ProxyError:
        return ""
