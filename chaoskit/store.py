"""Where a run lives: reports/<experiment>/<time>/ and `latest`; load it again.

reports/
└── payments-50-percent-slower/
    ├── latest -> 2026-11-22T17-30-12Z-protected
    └── 2026-11-22T17-30-12Z-protected/
        ├── run.json        the Run
        ├── history.jsonl   every observation, one a line
        ├── logs/           of services, worker and proxy
        └── report.html · result.json · junit.xml · summary.md
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import tempfile
import time
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from chaoskit.errors import CouldNotRun, UsageError
from chaoskit.model.history import History, Phase
from chaoskit.model.observation import Observation
from chaoskit.model.run import FORMAT_VERSION, Run
from chaoskit.registry import kinds

__all__ = [
    "HISTORY",
    "RUN",
    "Store",
    "history_of",
    "keep",
    "load_run",
    "new_run_id",
    "read_run",
    "save_run",
    "slug",
    "write_atomically",
]

HISTORY = "history.jsonl"
RUN = "run.json"


def slug(text: str) -> str:
    """A folder's name for a title or file stem."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:80] or "run"


def new_run_id(stem: str, when: float) -> str:
    """An id that no other run has, which says what and when (seconds since the epoch)."""
    return f"{stem}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime(when))}-{secrets.token_hex(4)}"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class Store:
    """The folder that runs are kept in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, experiment: str, variant: str | None, when: float) -> Path:
        """Make the folder of a new run. `when` is wall-clock seconds."""
        parent = self.root / slug(experiment)
        parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
        name = f"{stamp}-{slug(variant)}" if variant else stamp
        for attempt in range(1, 1000):
            folder = parent / (name if attempt == 1 else f"{name}-{attempt}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                (folder / "logs").mkdir()
                return folder
        raise UsageError(f"{parent} already holds a thousand runs of this second")

    def runs(self) -> list[Path]:
        """Folders of all finished runs, oldest first."""
        found = [path.parent for path in self.root.glob(f"*/*/{RUN}") if not path.parent.is_symlink()]
        return sorted(found, key=lambda folder: (folder.name, folder.parent.name))

    def find(self, text: str) -> Path:
        """The folder that a person means: a path, `latest`, an experiment's name, or (the start of) a run's folder.

        Raises UsageError where it means none or several.
        """
        path = Path(text)
        if (path / RUN).exists():
            return path.resolve()
        if path.name in (RUN, HISTORY, "report.html", "result.json") and (path.parent / RUN).exists():
            return path.parent.resolve()
        runs = self.runs()
        if text == "latest" and runs:
            return max(runs, key=lambda folder: folder.stat().st_mtime)
        by_experiment = self.root / slug(Path(text).stem) / "latest"
        if (by_experiment / RUN).exists():
            return by_experiment.resolve()
        named = [run for run in runs if run.name.startswith(text) or str(run).endswith(text)]
        if len(named) == 1:
            return named[0]
        if named:
            raise UsageError(f"{text!r} could be any of {', '.join(str(run) for run in named[:5])}")
        raise UsageError(f"no run {text!r} in {self.root}/", hint="name its folder, an experiment, or `latest`")


def save_run(folder: Path, run: Run) -> None:
    """Write `run.json`."""
    data = msgspec.json.encode(_endless_as_text(msgspec.to_builtins(run)))
    write_atomically(folder / RUN, msgspec.json.format(data, indent=1) + b"\n")


def keep(run: Run, history: History, reporters: Collection[str] | None = None) -> None:
    """Write the run and its reports (None for every kind) into its folder, and point `latest` at it. Raises CouldNotRun
    where a report was not written; the others are."""
    folder = Path(run.folder)
    save_run(folder, run)
    _point_latest(folder)
    failed = []
    for kind, reporter in kinds("reporters").items():
        if reporters is not None and kind not in reporters:
            continue
        try:
            reporter().write(run, history, folder)
        except Exception as error:  # noqa: BLE001 - raised below, once the other reports are written
            failed.append(f"{kind}: {type(error).__name__}: {error}")
    if failed:
        raise CouldNotRun(
            f"the run is {run.verdict} and kept in {folder}, but a report was not written",
            detail="\n".join(failed),
            hint=f"chaoskit report {folder} makes them again",
        )


def _point_latest(folder: Path) -> None:
    """Only at a run that came to something: one that could not start must not hide the one before it."""
    fresh = folder.parent / f".latest-{folder.name}"
    fresh.symlink_to(folder.name)
    fresh.replace(folder.parent / "latest")


def _endless_as_text(value: object) -> object:
    """JSON has no infinity, and a measured one (a p95 that no request reached) must come back as what it was."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _endless_as_text(one) for key, one in value.items()}
    return [_endless_as_text(one) for one in value] if isinstance(value, list | tuple) else value


def load_run(folder: Path) -> tuple[Run, History]:
    """Read a run and its history back. Raises UsageError where it is not one, or of a format that this version does not
    read."""
    run = read_run(folder)
    try:
        lines = (folder / HISTORY).read_bytes()
        observations = msgspec.json.Decoder(Observation).decode_lines(lines)
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no finished run ({HISTORY} is missing)") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{folder}: not a run of chaoskit: {error}") from error
    return run, history_of(run, observations)


def read_run(folder: Path) -> Run:
    """Read `run.json` alone. Raises UsageError as `load_run`."""
    try:
        data = (folder / RUN).read_bytes()
        version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("format_version", msgspec.Raw(b"null"))
        if bytes(version) != str(FORMAT_VERSION).encode():
            raise UsageError(
                f"{folder / RUN}: format version {bytes(version).decode()} is not one that this chaoskit reads"
                f" ({FORMAT_VERSION})",
                hint="read it with the version of chaoskit that wrote it",
            )
        return msgspec.json.decode(data, type=Run, strict=False)  # not strict: infinities are texts
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no finished run ({RUN} is missing)") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{folder}: not a run of chaoskit: {error}") from error


def history_of(run: Run, observations: list[Observation]) -> History:
    """The history of a run from its observations."""
    windows = {Phase(name): spans for name, spans in run.windows.items()}
    return History(observations, run.topology, windows, run.faults, run.steady_state)
