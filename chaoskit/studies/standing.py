"""A target that stands while somebody else asks the questions: tests, a notebook, a person at a prompt.

    with StandingTarget("shop") as shop:
        httpx.get(f"{shop.url}/catalogue/A1")
        with shop.fault("latency", on="orders->payments", add="300ms"):
            ...                                    # in force here, out again afterwards, whatever happens

Everything goes through the same journal and guardian as in a run: a test that is killed leaves nothing behind.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from chaoskit.errors import CouldNotRun, UsageError
from chaoskit.injection import Injection
from chaoskit.interfaces import Address, Deployer, Fault, System
from chaoskit.model.observation import slot_start
from chaoskit.proxy.choice import chosen_toxiproxy
from chaoskit.reading import load_target
from chaoskit.registry import find
from chaoskit.stage import Stage
from chaoskit.store import slug
from chaoskit.wording import explain

__all__ = ["StandingTarget"]

LONGEST = 60.0
"""Seconds after which a fault comes out by itself, where `lasts` does not say otherwise."""


class StandingTarget:
    """A target with a proxy on every edge, without load and without phases. Use as a context manager.

    `name` is the target's name or file, looked up beside `near` (default: here); `env` is environment by service, as
    a variant's. Entering raises DeployError, ProxyError or MissingPart.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        near: Path | None = None,
        deployer: str = "process",
        env: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.target = load_target(name, near=near)
        self.folder = folder
        self._deployer: Deployer = find("deployers", deployer)()
        self._env = env or {}
        self._faults = 0
        self._lock = threading.Lock()
        self._stage = Stage(
            f"standing-{slug(self.target.name)[:30]}-{secrets.token_hex(4)}",
            folder,
            label=f"standing {self.target.name}",
            toxiproxy=chosen_toxiproxy(),
            seed=1,
            say=lambda _text: None,
        )

    def __enter__(self) -> StandingTarget:
        self.folder.joinpath("logs").mkdir(parents=True, exist_ok=True)
        self._stage.__enter__()
        try:
            self._t0 = slot_start(time.monotonic())
            self._stage.recorder.begin(self._t0)
            self._stage.deploy(self.target, self._deployer, env=self._env, on_entry=lambda _entry: None)
        except BaseException:
            self._stage.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stage.close()

    @property
    def system(self) -> System:
        """What is up."""
        assert self._stage.system is not None, "the target stands only inside its `with`"
        return self._stage.system

    @property
    def entry(self) -> Address:
        """The front edge's proxy."""
        return self.system.entry()

    @property
    def url(self) -> str:
        """Where requests go: `http://127.0.0.1:41233`."""
        return f"http://{self.entry}"

    @contextmanager
    def fault(self, kind: str, **settings: object) -> Iterator[Fault]:
        """Break one thing for as long as the block lasts. Settings as in an experiment's file, without `at`; relative
        ones (`+50%`) need a baseline and are refused. Raises UsageError, and CouldNotRun where it does not go in."""
        fault = self._fault(kind, settings)
        now = time.monotonic() - self._t0
        lasts = LONGEST if fault.lasts is None else fault.lasts
        injection = Injection(
            fault,
            self.system,
            t0=self._t0,
            window=(now, now + lasts),
            emit=self._stage.recorder.emit,
            will_undo=self._stage.will_undo,
            undone=self._stage.undone,
        )
        injection.prepare()
        try:
            while injection.span().in_force is None and not injection.error:
                time.sleep(0.002)
            if injection.error:
                raise CouldNotRun(injection.error)
            yield fault
        finally:
            injection.withdraw()
        if injection.undo_left:
            raise CouldNotRun(injection.error, hint="chaoskit recover")

    def _fault(self, kind: str, settings: Mapping[str, object]) -> Fault:
        found: type[Fault] = find("faults", kind)
        try:
            made = found.model_validate(settings)
        except ValidationError as error:
            raise UsageError(
                "\n".join(f"{kind}: {mistake.message}" for mistake in explain(error, found, settings))
            ) from None
        if missing := made.needs - self._deployer.can:
            raise UsageError(f"fault {kind!r} needs a deployer that can {', '.join(sorted(missing))}")
        try:
            _ = made.edges(self.system.topology), made.replicas(self.system.topology)
        except ValueError as error:
            raise UsageError(str(error)) from error
        if any(getattr(value, "relative", False) for _, value in made):
            raise UsageError(
                f"{kind}: a relative setting needs a baseline, which a standing target has not", hint="200ms"
            )
        with self._lock:
            self._faults += 1
            return made.model_copy(update={"id": f"{kind}-{self._faults}"})
