"""The six things you can add, on one page, and what they are handed.

    Deployer     puts the target up            → System
    Backing      a real server a target asks for
    Fault        breaks one thing              names its undo first, proves afterwards that it bit
    Probe        watches, never touches        emits Observations
    Hypothesis   judges                        History → Finding, pure
    Reporter     tells                         Run + History → a file

Each is one class in one file of the folder of that name (or an entry point of the group `chaoskit.<folder>`), found by
its `kind`. Its pydantic fields are what users write in YAML; its docstring is its page in the docs.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import msgspec
from pydantic import ConfigDict, Field

from chaoskit.described import Described
from chaoskit.model.history import History, Phase, SteadyBound
from chaoskit.model.observation import Observation
from chaoskit.model.run import Run
from chaoskit.model.topology import Edge, Topology
from chaoskit.model.undo import JSON, Undo
from chaoskit.model.units import Duration
from chaoskit.model.verdict import Finding, Trace
from chaoskit.target import ServiceSpec, Target
from chaoskit.traffic import Match

__all__ = [
    "Address",
    "Backing",
    "Child",
    "Deployer",
    "Disconnectable",
    "EdgeOpener",
    "Emit",
    "Fault",
    "Hypothesis",
    "LaunchSpec",
    "Launcher",
    "Probe",
    "ProxyControl",
    "ProxyPlace",
    "ReplicaControl",
    "Reporter",
    "Scene",
    "ServerPlan",
    "Setting",
    "System",
    "UndoOwner",
]

Emit = Callable[[Observation], None]
"""Hands one observation to the recorder; thread-safe, never blocks for long. `at` is absolute CLOCK_MONOTONIC here."""


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# ---------------------------------------------------------------------------------------------------- processes


class LaunchSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One process to start. `name` is unique in the run (`orders`, `payments.1`, `worker.1`, `proxy`)."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    """Whole environment of the child (nothing is inherited beside it)."""
    cwd: str = ""
    log: str = ""
    """File that standard output and error are appended to; empty for none."""
    user: str = ""
    """Run as this user (needs root); empty for ours."""
    stop_signal: str = "SIGTERM"
    stop_grace: float = 2.0
    """Seconds between the stop signal and SIGKILL."""
    stop_order: int = 0
    """Lower numbers are stopped first: load 0, proxy 10, services 20, backing servers 30."""


class Child(Protocol):
    """A process that the guardian launched for us. Thread-safe."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None:
        """Exit status (negative for a signal), None while it runs."""

    def wait(self, timeout: float) -> int | None: ...
    def signal(self, number: int, *, tree: bool = True) -> None:
        """Signal it (and all it started). A process that is gone is no error."""

    def stop(self) -> None:
        """Stop signal, grace, SIGKILL, whole tree; returns when it is gone."""


class Launcher(Protocol):
    """What starts processes: the guardian's client. Every process of a run goes through it."""

    def launch(self, spec: LaunchSpec) -> Child:
        """Returns once the process is journaled and released. Raises DeployError where it cannot be started."""


# ---------------------------------------------------------------------------------------------------- what is up


class ProxyControl(Protocol):
    """The proxy that stands on one edge, in Toxiproxy's words and units. Raises ProxyError."""

    @property
    def edge(self) -> Edge: ...
    @property
    def listen(self) -> Address: ...
    @property
    def served_by(self) -> str: ...
    def undo_toxics(self, names: Sequence[str]) -> Undo:
        """The undo of toxics of these names, whether or not they exist yet. Creates nothing."""

    def undo_enabled(self, by: str = "") -> Undo:
        """The undo of `set_enabled(False, by)`."""

    def add_toxic(
        self,
        name: str,
        type_: str,
        *,
        stream: str = "downstream",
        toxicity: float = 1.0,
        attributes: Mapping[str, JSON] | None = None,
    ) -> None:
        """In force when it returns. Toxics that a real Toxiproxy lacks are put on the tap in front of it."""

    def remove_toxic(self, name: str) -> None: ...
    def set_callers(self, callers: Sequence[str]) -> None:
        """IP addresses of the edge's caller from now on, where its place told some before."""

    def set_enabled(self, enabled: bool, by: str = "") -> None:
        """Close or open the listener; closing cuts what is open. It stays closed until everybody (`by`) who closed it
        has opened it again."""


class ReplicaControl(Protocol):
    """One running replica of a service. Methods that a deployer cannot do raise CouldNotRun; `Deployer.can` says so
    before the run."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> Address | None: ...
    def alive(self) -> bool: ...
    def signal(self, number: int) -> None:
        """To the whole tree."""

    def start(self) -> None:
        """Start it again on its port after it died; returns at once. No-op while it is alive."""

    def ready(self) -> bool:
        """Ask its readiness once, directly (not through a proxy)."""

    def undo_kill(self) -> Undo:
        """Starts the replica again in a live run; nothing to do in teardown."""

    def undo_pause(self) -> Undo:
        """Continues the replica."""

    def pids(self) -> list[int]: ...


@runtime_checkable
class Disconnectable(Protocol):
    """A replica that can be taken out of its network: where `Deployer.can` says `disconnect`."""

    @property
    def name(self) -> str: ...
    def disconnect(self) -> None:
        """Nothing reaches it, and it reaches nothing. Its process goes on."""

    def undo_disconnect(self) -> Undo:
        """Puts it back into its network, under its name there."""


class System(Protocol):
    """What is up: the only thing a fault or a probe is handed."""

    @property
    def topology(self) -> Topology: ...
    @property
    def target(self) -> Target: ...
    @property
    def folder(self) -> Path:
        """The run's folder."""

    def proxy(self, edge: Edge) -> ProxyControl: ...
    def replica(self, name: str) -> ReplicaControl: ...
    def replicas(self) -> Sequence[ReplicaControl]: ...
    def entry(self) -> Address:
        """Where the load goes: the proxy of the front edge."""

    def taps(self, emit: Emit, stop: threading.Event) -> None:
        """Stream TapSlots until `stop`; blocks its thread. Raises ProxyError when the proxy died."""


class EdgeOpener(Protocol):
    def __call__(self, edge: Edge, upstream: Address) -> Address:
        """Stand a proxy on an edge; returns where the caller must connect."""


class ProxyPlace(Protocol):
    """Where the proxies stand: `serving` is `embedded` (ours, the tap) or `real` (another Toxiproxy). A place may have
    several of ours, where edges need addresses of their own: `embedded/payments`."""

    def serving(self, edge: Edge) -> str:
        """The one of ours on which the tap of an edge stands."""

    def serve(self, serving: str, seed: int | None) -> tuple[str, Child]:
        """Start a server; returns the URL of its API as the harness reaches it. Raises ProxyError or MissingPart."""

    def listen(self, serving: str, edge: Edge) -> str:
        """`host:port` that the proxy of an edge is told to listen on there."""

    def callers(self, edge: Edge) -> tuple[str, ...]:
        """IP addresses of the edge's caller, where proxies of several edges listen on one port; else none."""

    def reached(self, serving: str, edge: Edge, made: Address) -> Address:
        """Where what connects to that proxy finds it: the edge's caller, or the tap in front of a real one."""


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployer is given to work with. The runner introduces the others here."""

    run_id: str
    folder: Path
    """The run's folder; logs go to `<folder>/logs/<replica>.log`."""
    launcher: Launcher
    open_edge: EdgeOpener
    proxy_of: Callable[[Edge], ProxyControl]
    taps: Callable[[Emit, threading.Event], None]
    backing: Callable[[str], type[Backing]]
    """Backing class by kind."""
    will_undo: Callable[[Undo], None]
    """Write an undo into the journal (returns when it is on disk)."""
    undone: Callable[[str], None]
    """Mark an undo id as done."""
    emit: Emit
    env: Mapping[str, Mapping[str, str]]
    """Environment overrides by service (a variant's `env`)."""
    say: Callable[[str], None]
    """One line of progress for people."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts other than loopback that a service's `url` may name."""
    blast_radius: tuple[str, ...] | None = None
    """What may be touched of what runs already; None for everything that the target names."""


# ---------------------------------------------------------------------------------------------------- the six


class Setting(Described):
    """Base of everything that is written in YAML: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class UndoOwner(ABC):
    """Knows how to apply one kind of undo, in the live run or in a fresh process."""

    kind: ClassVar[str]
    after_processes: ClassVar[bool] = False
    """Whether `recover` ends the run's processes first (a data folder), or applies it before (a fault)."""
    for_live_only: ClassVar[bool] = False
    """Whether it only puts back what the end of the run takes down (a replica starts again): in teardown it gets no
    system."""

    @classmethod
    @abstractmethod
    def apply_undo(cls, undo: Undo, system: System | None) -> None:
        """Idempotent. `system` is None in a fresh process (`recover`). Raises UndoError where it may still be in."""


class ServerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to start one real server as a process."""

    prepare: tuple[LaunchSpec, ...] = ()
    """Run to the end first, in order (a data folder is made)."""
    server: LaunchSpec
    undo: tuple[Undo, ...] = ()
    """Journaled before `prepare` (data folder, shared memory)."""


class Backing(ABC):
    """A real server that a target can ask for with `provides: <kind>`."""

    kind: ClassVar[str]
    protocol: ClassVar[str] = "tcp"
    """What a call is on its edges."""
    image: ClassVar[str] = ""
    """Image reference for Docker."""

    @classmethod
    @abstractmethod
    def plan(cls, name: str, address: Address, folder: Path, *, databases: Sequence[str] = ()) -> ServerPlan:
        """How to start it, listening on `address`, with its data below `folder`. Raises MissingPart."""

    @classmethod
    @abstractmethod
    def ready(cls, address: Address) -> bool:
        """Whether it answers its own protocol."""

    @classmethod
    def introduce(
        cls, folder: Path, metrics: Mapping[str, str], settings: Mapping[str, str], *, root: Path = Path()
    ) -> None:
        """Before it starts: URLs of the others' metrics by replica, and what the service's `env` says to it. Files that
        it names are looked up from `root`, where services start."""

    @classmethod
    def after_start(cls, address: Address, databases: Sequence[str]) -> None:
        """Once it is ready: make the databases that edges name."""

    @classmethod
    @abstractmethod
    def found(cls) -> str:
        """Where it comes from on this machine, for `doctor`; empty where it is not here."""


class Deployer(Setting, ABC):
    """Puts a target up and takes it down."""

    kind: ClassVar[str]
    can: ClassVar[frozenset[str]] = frozenset()
    """What faults may need: `kill`, `pause`, …; checked before anything starts."""
    takes: ClassVar[frozenset[str]] = frozenset({"provides", "run", "url"})
    """Ways of a service that it can put up, each a key of `ServiceSpec`; checked before anything starts."""
    as_processes: ClassVar[bool] = False
    """Whether services are processes of ours, beside us in our cgroup and on our disks."""
    on_loopback: ClassVar[bool] = True
    """Whether its proxies listen on this machine, where what runs already can be pointed at them."""

    @classmethod
    def able(cls, service: ServiceSpec) -> frozenset[str]:
        """What of `can` goes for this service: nothing where it runs elsewhere."""
        return frozenset() if service.url else cls.can

    @classmethod
    def announces(cls, target: Target, blast_radius: Sequence[str]) -> Sequence[str]:
        """What it will change of what runs already, line by line, for `plan`."""
        return ()

    @classmethod
    def refuses(cls, target: Target) -> Sequence[str]:
        """Why it cannot put this target up, though it takes each of its services."""
        return ()

    def prepare(self, target: Target, scene: Scene) -> ProxyPlace | None:
        """Before the proxies go up: make what they stand in. None where they are processes on loopback."""
        return None

    @abstractmethod
    def deploy(self, target: Target, scene: Scene) -> System:
        """Start everything and wait until it is ready. Raises DeployError (with the log's tail) and leaves what was
        started to `stop`."""

    @abstractmethod
    def stop(self) -> None:
        """Stop everything that `deploy` started, also after a failure in the middle; idempotent."""


class Fault(Setting, ABC):
    """Break one thing. Docstring sections: What it does · What it reveals · Example · Undone by."""

    kind: ClassVar[str]
    needs: ClassVar[frozenset[str]] = frozenset()
    """What the deployer must be able to do."""
    acts_on: ClassVar[str] = "edges"
    """`edges` or `services`: what `on` names."""

    id: str = Field(default="", exclude=True)
    """Given by the experiment: the name, or kind with a number where there are several."""
    name: str = ""
    """What reports call it (default: its kind)."""
    on: str | tuple[str, ...]
    """Edges (`orders->payments`, `orders->payments.1`) or services (`payments`, `payments.1`) that it acts on."""
    at: Duration = 0.0
    """When it goes in, from the start of the fault phase."""
    lasts: Duration | None = None
    """How long it stays in (default: the rest of the fault phase)."""

    @property
    def places(self) -> tuple[str, ...]:
        """What `on` names, as a tuple."""
        return (self.on,) if isinstance(self.on, str) else self.on

    def edges(self, topology: Topology) -> list[Edge]:
        """The edges it acts on; empty for a fault on services."""
        if self.acts_on != "edges":
            return []
        return list(dict.fromkeys(edge for place in self.places for edge in topology.select_edges(place)))

    def replicas(self, topology: Topology) -> list[str]:
        """The replicas it acts on; empty for a fault on edges."""
        if self.acts_on != "services":
            return []
        return list(dict.fromkeys(name for place in self.places for name in topology.select_replicas(place)))

    def check(self, topology: Topology) -> Sequence[tuple[str, str]]:
        """What does not fit the target, as (key, message): an edge that carries another protocol."""
        return ()

    def seeded(self, seed: int) -> Fault:
        """The same with the run's seed for its own choices, where it was not given one of its own."""
        return self

    def undo_arranged(self, system: System) -> Sequence[Undo]:
        """Names what `arrange` does, and how it is set right in the end. Pure, as `undo`."""
        return ()

    def arrange(self, system: System) -> None:
        """What must be so before the load begins, for a fault that is a change from it (most need nothing)."""

    def resolve(self, baseline: History) -> Fault:
        """Relative settings made absolute from what the baseline measured. Raises CouldNotTell where the baseline's
        spread is larger than the fault."""
        return self

    @abstractmethod
    def says(self) -> str:
        """What it does in words: `latency +50 ms`."""

    def obstacles(self, deployer: type[Deployer]) -> Sequence[tuple[str, str]]:
        """What on this machine keeps it from working on what that deployer puts up, as `check` says it: a folder that
        is not there, no cgroup. Asked before anything starts."""
        return ()

    def uses(self, deployer: type[Deployer]) -> str:
        """By what means of this machine it acts on what that deployer puts up, for `plan`: `cgroup v2 (cpu)`; empty
        where that needs no saying."""
        return ""

    @abstractmethod
    def undo(self, system: System) -> Sequence[Undo]:
        """Name what `inject` will create, and how it is taken out. Pure: creates nothing. Same ids on every call."""

    @abstractmethod
    def inject(self, system: System) -> None:
        """Put it in; in force when it returns. Called once, in a thread of its own."""

    @abstractmethod
    def trace(self, history: History) -> Trace:
        """Prove from the history that it bit (`history.fault(self.id)` has its instants). Pure."""


class Probe(Setting, ABC):
    """Reads without changing; runs in a thread of its own."""

    kind: ClassVar[str]

    @abstractmethod
    def run(self, system: System, emit: Emit, stop: threading.Event) -> None:
        """Observe until `stop` is set. An exception shuts the gate `parts alive`."""


class Named(NamedTuple):
    """What an experiment gives names to, for claims that call it by them."""

    marks: Mapping[str, Match]
    """Conditions on answers (`load: marks:`)."""
    told: Sequence[str]
    """What the load keeps of its writes and reads (`tells: {as: …}`)."""
    steps: Sequence[str]
    """Steps of the verify phase."""


class Hypothesis(Setting, ABC):
    """A claim that is judged from the history alone."""

    kind: ClassVar[str]
    default_phases: ClassVar[tuple[Phase, ...]] = (Phase.FAULT,)

    name: str = ""
    """What `breaks` and reports call it (default: its kind)."""
    holds_in: tuple[Phase, ...] = ()
    """Phases in which it is judged (default: by kind)."""

    @property
    def title(self) -> str:
        return self.name or self.kind

    @property
    def phases(self) -> tuple[Phase, ...]:
        return self.holds_in or self.default_phases

    def check(self, topology: Topology, request_names: Sequence[str]) -> Sequence[tuple[str, str]]:
        """What does not fit the target, as (key, message): an edge, service or request name that is not there."""
        return ()

    def check_names(self, named: Named) -> Sequence[tuple[str, str]]:
        """What is called by a name that nothing has, as (key, message; suggestion)."""
        return ()

    @abstractmethod
    def expected(self) -> str:
        """The claim as a formula: `p95 ≤ 400 ms`."""

    @abstractmethod
    def judge(self, history: History) -> Finding:
        """Pure: no clock, no network. `Phase.LOAD` takes the place of the others in a plain load run."""

    def probes(self) -> Sequence[tuple[str, Mapping[str, JSON]]]:
        """Probes that it is judged from besides those that always watch, as (kind, settings)."""
        return ()

    def samples_needed(self) -> int:
        """Requests in each of its phases below which its finding is inconclusive."""
        return 1

    def samples_under(self, steady_state: Sequence[SteadyBound]) -> int:
        """The same, for a claim that is judged by the experiment's steady state."""
        return self.samples_needed()

    def seconds_needed(self) -> float:
        """Length of each of its phases below which its finding is inconclusive."""
        return 0.0

    def as_bound(self) -> SteadyBound | None:
        """The same claim as one line of a steady state; None where it cannot be one."""
        return None

    def as_bounds(self) -> Sequence[SteadyBound]:
        """All its lines, for a claim that has several (`p95` and `p99`)."""
        bound = self.as_bound()
        return () if bound is None else (bound,)


class Reporter(Setting, ABC):
    """Tells a run."""

    kind: ClassVar[str]
    file: ClassVar[str]
    """Name of the file it writes in the run's folder."""

    @classmethod
    def prepare(cls) -> None:
        """What can be done before there is a run (importing, compiling), called while the load warms up."""

    @abstractmethod
    def write(self, run: Run, history: History, folder: Path) -> Path:
        """Write the file (atomically) and return its path."""


KindTable = Mapping[str, type[Any]]
"""kind → class, as the registry gives it."""
