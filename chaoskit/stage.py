"""Everything that is up for one run, in the order it goes up; `close` takes it down in the reverse one.

    journal → guardian → recorder → proxy → deployer (target) → probes

The runner asks one question on it; a game day or a plain load run stands on it too.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from chaoskit.errors import ChaoskitError, CouldNotRun, ProxyError
from chaoskit.guardian_client import Guardian
from chaoskit.injection import apply_undo
from chaoskit.interfaces import Address, Deployer, Emit, Probe, ProxyControl, Scene, System
from chaoskit.lever import refuse_if_pulled
from chaoskit.model.credentials import hidden_in
from chaoskit.model.observation import Event
from chaoskit.model.topology import LOAD, Edge
from chaoskit.model.undo import JSON, Undo
from chaoskit.proxy.mesh import Mesh
from chaoskit.recorder import Recorder
from chaoskit.recover import recover_all
from chaoskit.registry import find, kinds
from chaoskit.store import HISTORY
from chaoskit.target import Target

__all__ = ["Stage", "usual_probes"]

_USUAL = ("taps", "replicas", "health", "scrape", "resources")


def usual_probes(without: Collection[str] = ()) -> list[Probe]:
    """What is watched wherever a target stands, but for these kinds."""
    known = kinds("probes")
    return [known[kind]() for kind in _USUAL if kind in known and kind not in without]


class Stage:
    """Stands a target up with a proxy on every edge. Use as a context manager."""

    def __init__(
        self,
        run_id: str,
        folder: Path,
        *,
        label: str,
        toxiproxy: str,
        seed: int,
        say: Callable[[str], None],
        sent: JSON = None,
    ) -> None:
        """`sent` is the load, as data: the credentials in it are told to nobody."""
        self.run_id = run_id
        self.folder = folder
        self.undo_left: list[Undo] = []
        self._label = label
        self._toxiproxy = toxiproxy
        self._seed = seed
        self._say = say
        self._hidden = hidden_in(sent, os.environ)
        self._open: dict[str, Undo] = {}
        """Undos that are in the journal and not done, by id."""
        self._lock = threading.Lock()
        self._stop_probes = threading.Event()
        self._probes: list[threading.Thread] = []
        self._lost = ""
        self._deployer: Deployer | None = None
        self._mesh: Mesh | None = None
        self._closed = False
        self.system: System | None = None

    def __enter__(self) -> Stage:
        refuse_if_pulled()
        self.recorder = Recorder(self.folder / HISTORY, self._hidden)
        self.recorder.__enter__()
        for earlier in recover_all():  # what a run has left whose guardian was killed too
            if earlier.left:
                self._say(f"run {earlier.run} left something in place: chaoskit recover {earlier.run}")
        self.guardian = Guardian(self.run_id, label=self._label)
        self.guardian.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------------- journal

    def will_undo(self, undo: Undo) -> None:
        """Into the journal, and to the guardian where it is due before the end. Only after this may it be made."""
        with self._lock:
            self._open[undo.id] = undo
        self.guardian.will_undo(undo)

    def undone(self, undo_id: str) -> None:
        """It is gone again."""
        self.guardian.undone(undo_id)
        with self._lock:
            self._open.pop(undo_id, None)

    # --------------------------------------------------------------------------------------------------- going up

    def deploy(
        self,
        target: Target,
        deployer: Deployer,
        *,
        env: Mapping[str, Mapping[str, str]],
        on_entry: Callable[[Address], None],
        allowed_hosts: Sequence[str] = (),
        blast_radius: Sequence[str] | None = None,
    ) -> System:
        """Proxy first, then the target. `on_entry` hears the front edge's address as soon as it is known, in the
        thread that opened it. Raises DeployError, ProxyError or MissingPart; `close` takes down what stands."""

        def open_edge(edge: Edge, upstream: Address) -> Address:
            listen = mesh.open(edge, upstream)
            if edge.caller == LOAD:
                on_entry(listen)
            return listen

        scene = Scene(
            run_id=self.run_id,
            folder=self.folder,
            launcher=self.guardian,
            open_edge=open_edge,
            proxy_of=self._proxy_of,
            taps=lambda emit, stop: mesh.taps(emit, stop),
            backing=lambda kind: find("backing", kind),
            will_undo=self.will_undo,
            undone=self.undone,
            emit=self.recorder.emit,
            env=env,
            say=self._say,
            allowed_hosts=tuple(allowed_hosts),
            blast_radius=None if blast_radius is None else tuple(blast_radius),
        )
        self._deployer = deployer
        place = deployer.prepare(target, scene)
        self._mesh = mesh = Mesh(
            self.guardian, self._toxiproxy, self._seed, self.will_undo, self.undone, place, target.ports()
        )
        mesh.start()
        self.system = deployer.deploy(target, scene)
        return self.system

    def _proxy_of(self, edge: Edge) -> ProxyControl:
        assert self._mesh is not None, "there is no edge before the proxy is up"
        return self._mesh.control(edge)

    @property
    def served_by(self) -> str:
        """Which Toxiproxy stands on the edges."""
        return self._mesh.served_by if self._mesh is not None else ""

    @property
    def notes(self) -> list[str]:
        """What a reader of the run should know of how its faults were served; before it is closed."""
        return self._mesh.notes if self._mesh is not None else []

    def watch(self, probes: Sequence[Probe]) -> None:
        """Start every probe in a thread of its own."""
        assert self.system is not None, "probes watch what is up"
        for probe in probes:
            thread = threading.Thread(
                target=self._run_probe, args=(probe, self.system, self.recorder.emit), name=f"probe-{probe.kind}"
            )
            thread.daemon = True
            thread.start()
            self._probes.append(thread)

    def _run_probe(self, probe: Probe, system: System, emit: Emit) -> None:
        try:
            probe.run(system, emit, self._stop_probes)
        except Exception as error:  # noqa: BLE001 - a dead probe shuts the gate `parts alive`, with its reason
            if not self._stop_probes.is_set():
                what = error.message if isinstance(error, ChaoskitError) else f"{type(error).__name__}: {error}"
                part = "the proxy" if isinstance(error, ProxyError) else f"probe {probe.kind}"
                self.lost(part, what)

    def lost(self, part: str, because: str) -> None:
        """A part of ours is dead: the run cannot tell any more."""
        with self._lock:
            if self._lost or self._closed:
                return
            self._lost = f"{part} died: {because}"
        self.recorder.emit(Event(at=time.monotonic(), source="runner", kind="died", text=because, about={"part": part}))
        if part == "the proxy" and self._mesh is not None:
            self._mesh.end_hung()

    def part_lost(self) -> str:
        """What died, in words; empty while everything of ours is alive."""
        if not self._lost and self.guardian.lost:
            self.lost("the guardian", self.guardian.lost)
        try:
            if not self._lost and self._mesh is not None and (because := self._mesh.lost()):
                self.lost("the proxy", because)
        except CouldNotRun as error:  # what the proxy stands in (an engine) is gone
            self.lost("the proxy's place", error.message)
        return self._lost

    # -------------------------------------------------------------------------------------------------- going down

    def close(self) -> None:
        """Take everything down; idempotent. What could not be undone is in `undo_left`."""
        if self._closed:
            return
        self._stop_probes.set()
        with self._lock:
            self._closed = True
            faults = [undo for undo in self._open.values() if undo.due is not None]
        for thread in self._probes:
            thread.join(2.0)
        steps: list[Callable[[], None]] = [lambda: self._undo(faults)]
        if self._deployer is not None:
            steps.append(self._deployer.stop)
        if self._mesh is not None:
            steps.append(self._mesh.close)
        steps += [self._close_guardian, self.recorder.close, self._hide_in_logs]
        errors: list[BaseException] = []
        for step in steps:
            try:
                step()
            except BaseException as error:  # noqa: BLE001 - the rest must come down too; raised at the end
                errors.append(error)
        if errors:
            raise errors[0]

    def _hide_in_logs(self) -> None:
        """Services write what they like; line by line, as logs may be long."""
        for log in (self.folder / "logs").glob("*.log") if self._hidden else ():
            with log.open("rb") as lines:
                if all(self._hidden.cut(line) is line for line in lines):
                    continue
                lines.seek(0)
                with (cut := log.with_suffix(".cut")).open("wb") as kept:
                    kept.writelines(map(self._hidden.cut, lines))
            cut.replace(log)

    def _undo(self, undos: Sequence[Undo]) -> None:
        """Apply undos that nobody applied, the last one first."""
        for undo in reversed(undos):
            try:
                apply_undo(undo, None)
                self.undone(undo.id)
            except Exception as error:  # noqa: BLE001 - the others must come out too; the guardian tries again
                self._say(f"could not undo {undo.id}: {error}")

    def _close_guardian(self) -> None:
        """End every process that is left; the guardian undoes what nobody did, and says what it could not."""
        self.guardian.close()
        self.undo_left = [self._open[undo_id] for undo_id in self.guardian.left if undo_id in self._open]
