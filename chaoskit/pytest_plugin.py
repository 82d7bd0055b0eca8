"""Front door 3: experiments as tests, beside unit tests. Loads nothing heavy until a test asks for it.

@pytest.mark.chaos_run("experiments/payments-50-percent-slower.yaml", variant="protected")
def test_checkout_survives_slow_payments(chaos_run):
    chaos_run.check()                                  # as expected? else every finding's sentence
    assert chaos_run.holds("latency")                  # one hypothesis

shop = chaos_target("shop", scope="module")            # a target that stands for a module's tests

def test_cart_is_there_without_payments(shop):
    with shop.fault("partition", on="orders->payments"):
        assert httpx.get(f"{shop.url}/catalogue").status_code == 200
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from chaoskit.experiment import Experiment
    from chaoskit.model.history import History
    from chaoskit.model.run import Run
    from chaoskit.model.verdict import Finding, Verdict
    from chaoskit.studies.standing import StandingTarget

__all__ = ["Carry", "ChaosRun", "chaos_run", "chaos_target", "pytest_addoption", "pytest_configure"]

Scope = Literal["function", "class", "module", "package", "session"]
_MARK = "chaos_run"


class ChaosRun:
    """A finished run, as tests ask it."""

    __tracebackhide__ = True

    def __init__(self, run: Run, history: History) -> None:
        self.run = run
        self.history = history

    @property
    def verdict(self) -> Verdict:
        return self.run.verdict

    @property
    def report(self) -> Path:
        """The HTML report."""
        return Path(self.run.folder) / "report.html"

    def finding(self, hypothesis: str) -> Finding:
        """The finding of a hypothesis by its name (default: its kind). KeyError where there is none."""
        for found in self.run.findings:
            if found.hypothesis == hypothesis:
                return found
        known = ", ".join(found.hypothesis for found in self.run.findings) or "none"
        raise KeyError(f"no hypothesis {hypothesis!r} in this run; there are: {known}")

    def holds(self, hypothesis: str) -> bool:
        """True where the hypothesis is supported and the run could tell; else AssertionError with the reason."""
        __tracebackhide__ = True
        self._could_tell()
        found = self.finding(hypothesis)
        if found.verdict != "supported":
            raise AssertionError(f"{found.hypothesis} is {found.verdict}: {found.because}\n{self._where()}")
        return True

    def check(self) -> None:
        """AssertionError with every sentence that matters where the run did not come out as expected."""
        __tracebackhide__ = True
        if self.run.as_expected:
            return
        self._could_tell()
        told = [
            f"{found.hypothesis} is {found.verdict}: {found.because}"
            for found in self.run.findings
            if found.verdict != "supported" or self.run.expected == "refuted"
        ]
        head = f"{self.run.title}: {self.run.verdict}, expected {self.run.expected}"
        raise AssertionError("\n".join([head, *(f"  {line}" for line in told), self._where()]))

    def _could_tell(self) -> None:
        __tracebackhide__ = True
        shut = [gate for gate in self.run.gates if not gate.open]
        if shut and self.run.verdict == "inconclusive":
            told = "\n".join(f"  gate {gate.gate} is shut: {gate.because}" for gate in shut)
            raise AssertionError(f"{self.run.title}: the run cannot tell\n{told}\n{self._where()}")

    def _where(self) -> str:
        return f"report: {self.report}"


Carry = Callable[..., ChaosRun]
"""`carry(experiment, variant=None, seed=None)`: an experiment's file, or an Experiment made in Python."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaoskit")
    group.addoption(
        "--chaos-store", default=None, metavar="FOLDER", help="Where chaos runs are kept (default: reports)."
    )
    parser.addini("chaos_store", "Where chaos runs are kept.", default="reports")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{_MARK}(experiment, variant=None, seed=None): the experiment that `chaos_run` carries out"
    )


@pytest.fixture
def chaos_run(request: pytest.FixtureRequest) -> ChaosRun | Carry:
    """The run of the marker's experiment; without a marker, a function that carries one out."""
    mark = request.node.get_closest_marker(_MARK)
    carry = _carry(request)
    return carry if mark is None else carry(*mark.args, **mark.kwargs)


def _carry(request: pytest.FixtureRequest) -> Carry:
    config = request.config
    store = Path(config.getoption("--chaos-store") or config.rootpath / config.getini("chaos_store"))

    def carry(experiment: str | Path | Experiment, variant: str | None = None, seed: int | None = None) -> ChaosRun:
        __tracebackhide__ = True
        from chaoskit.reading import load
        from chaoskit.runner import Asked, carry_out

        if isinstance(experiment, str | Path):
            beside = request.path.parent / experiment
            experiment = load(beside if beside.exists() else experiment)
        with _alone():
            finished = carry_out(experiment, Asked(variant=variant, seed=seed, store=store, command=("pytest",)))
        if finished.run.interrupted:
            raise KeyboardInterrupt
        request.node.user_properties.append(("chaos_report", str(Path(finished.run.folder) / "report.html")))
        return ChaosRun(finished.run, finished.history)

    return carry


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One measured run at a time on this machine, whatever pytest-xdist does: two would measure each other."""
    try:
        import fcntl
    except ImportError:  # not on this system: runs there are not kept apart
        yield
        return
    path = Path(tempfile.gettempdir()) / f"chaoskit-pytest-{os.getuid()}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def chaos_target(
    name: str,
    *,
    scope: Scope = "module",
    deployer: str = "process",
    env: Mapping[str, Mapping[str, str]] | None = None,
) -> Any:  # a fixture's own type is private to pytest
    """Make a fixture: a target that stands while the tests of `scope` ask it (see studies/standing). `name` is looked
    up beside the test's file; each worker of pytest-xdist has its own."""

    @pytest.fixture(scope=scope)
    def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingTarget]:
        from chaoskit.studies.standing import StandingTarget

        in_file = scope in ("function", "class", "module")
        near = getattr(request, "path", None) if in_file else request.config.rootpath / "pytest.ini"
        with StandingTarget(
            name, tmp_path_factory.mktemp(f"chaos-{Path(name).stem}"), near=near, deployer=deployer, env=env
        ) as target:
            yield target

    return standing
