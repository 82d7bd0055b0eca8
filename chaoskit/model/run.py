"""A finished run as data: what reporters get, `compare` reads and `run.json` holds."""

from __future__ import annotations

import msgspec

from chaoskit.model.history import FaultSpan, Span, SteadyBound
from chaoskit.model.topology import Topology
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Finding, Gate, Verdict

__all__ = ["FORMAT_VERSION", "Run"]

FORMAT_VERSION = 1
"""1: first."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One experiment, once. `started` is wall-clock seconds since the epoch at `at` = 0 of its history."""

    format_version: int = FORMAT_VERSION
    id: str
    title: str
    experiment: str
    """Path of the file as the user named it; empty where the experiment was made in Python."""
    variant: str | None = None
    source: str = ""
    """The experiment as written, secrets redacted."""
    target: str = ""
    deployer: str = "process"
    topology: Topology
    seed: int
    started: float
    finished: float
    proxy: str = "embedded"
    windows: dict[str, list[Span]]
    faults: list[FaultSpan] = []
    steady_state: list[SteadyBound] = []
    gates: list[Gate] = []
    findings: list[Finding] = []
    verdict: Verdict
    expected: Verdict = Verdict.SUPPORTED
    breaks: list[str] = []
    as_expected: bool
    undo_left: list[Undo] = []
    interrupted: bool = False
    error: str = ""
    """What kept the run from being carried out; empty where it was."""
    environment: dict[str, str] = {}
    """Versions, host, cores, command line: what it takes to run it again."""
    folder: str = ""
    notes: list[str] = []
    """What a reader must know and nobody judged (e.g. that a real Toxiproxy ignores seeds)."""
