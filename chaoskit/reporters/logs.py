"""What services wrote around the fault, as far as their lines bear a time; else the end of what they wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chaoskit.model.run import Run

__all__ = ["LogPart", "log_parts"]

MOST_LINES = 60
MOST_CHARS = 240
"""Of a line."""
MOST_FILES = 24
READ = 4 << 20
"""Bytes read of each file, from its end."""
AROUND = 2.0
"""Seconds before and after the fault that are still shown."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6}))?\d*\s?(Z|UTC|GMT|[+-]\d\d:?\d\d)?")


@dataclass(frozen=True)
class LogPart:
    """Some lines of one log. `about` says which."""

    name: str
    about: str
    lines: tuple[str, ...]


def log_parts(run: Run, folder: Path) -> list[LogPart]:
    """The parts worth reading of `<folder>/logs/*.log`, services first, bounded in number and length."""
    replicas = set(run.topology.replica_names())
    files = sorted((folder / "logs").glob("*.log"), key=lambda path: (path.stem not in replicas, path.name))
    parts = [_part(run, path) for path in files[:MOST_FILES]]
    return [part for part in parts if part.lines]


def _part(run: Run, path: Path) -> LogPart:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - READ))
        text = file.read().decode("utf-8", "replace")
    lines = [_ANSI.sub("", line)[:MOST_CHARS].rstrip() for line in text.splitlines()]
    spans = [fault.active for fault in run.faults if fault.active is not None]
    near: list[str] = []
    stamped = False
    keep = False
    for line in lines:
        at = _instant(line)
        if at is not None:
            stamped = True
            seconds = at - run.started
            keep = any(start - AROUND <= seconds <= end + AROUND for start, end in spans)
        if keep:
            near.append(line)
    if stamped and near:
        shown = near[:MOST_LINES]
        left = f"; {len(near) - len(shown):,} more lines" if len(near) > len(shown) else ""
        return LogPart(path.stem, f"from {AROUND:g} s before the fault to {AROUND:g} s after it{left}", tuple(shown))
    shown = [line for line in lines if line][-MOST_LINES:]
    return LogPart(path.stem, "the end of it" if len(shown) < len(lines) else "all of it", tuple(shown))


def _instant(line: str) -> float | None:
    """Wall-clock seconds at which a line was written; None where it bears no time. Without a zone: this host's."""
    match = _STAMP.search(line[:80])
    if match is None:
        return None
    date, time, fraction, zone = match.groups()
    if zone in ("Z", "UTC", "GMT"):
        zone = "+00:00"
    try:
        return datetime.fromisoformat(f"{date}T{time}.{(fraction or '0').ljust(6, '0')}{zone or ''}").timestamp()
    except ValueError:
        return None
