"""The index of a store: the latest run of every experiment and variant, how earlier ones went, and what drifts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chaoskit.document import read_text
from chaoskit.errors import FileError, UsageError
from chaoskit.model.run import Run
from chaoskit.model.statistics import Trend, trend
from chaoskit.model.units import duration_text
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.reporters.answer import answer, measure_text
from chaoskit.reporters.file import write_text
from chaoskit.reporters.html import render
from chaoskit.store import RUN, read_run
from chaoskit.studies.chances import Chances, chances_of

__all__ = ["Cell", "Group", "Row", "Series", "Suite", "collect", "index_html", "write_index"]

MOST_RUNS = 30
"""Earlier runs of one variant that are shown."""
DRIFTS = 0.05
"""p value below which a drift is called one."""


@dataclass(frozen=True)
class Kept:
    """One run in the store."""

    run: Run
    folder: Path
    """Relative to the store."""

    @property
    def answer(self) -> str:
        return answer(self.run)

    @property
    def look(self) -> str:
        """As which verdict it is shown."""
        unsure = self.run.verdict is Verdict.INCONCLUSIVE
        return "supported" if self.run.as_expected else _unexpected(int(unsure), 1)


@dataclass(frozen=True)
class Series:
    """What one hypothesis measured, run after run, the oldest first."""

    label: str
    values: tuple[float, ...]
    latest: str
    trend: Trend | None

    @property
    def path(self) -> str:
        """A line through the values in a box of 100 × 24."""
        fine = [value for value in self.values if math.isfinite(value)]
        if len(fine) < 2:
            return ""
        low, high = min(fine), max(fine)
        reach = max(high - low, abs(high) * 0.2) or 1.0  # a tremor is not drawn as an earthquake
        step = 100 / (len(self.values) - 1)
        parts, drawing = [], False
        for i, value in enumerate(self.values):
            if math.isfinite(value):
                parts.append(f"{'L' if drawing else 'M'}{i * step:.1f} {21 - (value - low) / reach * 18:.1f}")
            drawing = math.isfinite(value)
        return "".join(parts)

    @property
    def says(self) -> str:
        """Whether it drifts, in words."""
        if len(self.values) < 2:
            return "first run"
        if self.trend is None:
            return f"{len(self.values)} runs"
        if self.trend.p_value < DRIFTS:
            way = "up" if self.trend.change > 0 else "down"
            return f"drifts {way}: {self.trend.change:+.0%} over {len(self.values)} runs"
        return f"no drift over {len(self.values)} runs"


@dataclass(frozen=True)
class Row:
    """One variant of an experiment: its runs, the oldest first."""

    variant: str
    runs: tuple[Kept, ...]
    series: tuple[Series, ...]

    @property
    def latest(self) -> Kept:
        return self.runs[-1]


@dataclass(frozen=True)
class Group:
    """One experiment."""

    name: str
    title: str
    tags: tuple[str, ...]
    faults: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def as_expected(self) -> bool:
        return all(row.latest.run.as_expected for row in self.rows)


@dataclass(frozen=True)
class Cell:
    """Runs of one pattern under one kind of fault."""

    held: int
    unsure: int
    total: int

    @property
    def look(self) -> str:
        """As which verdict it is shown."""
        return "supported" if self.held == self.total else _unexpected(self.unsure, self.total - self.held)


@dataclass(frozen=True)
class Suite:
    """All that the index tells."""

    groups: tuple[Group, ...]
    unread: tuple[tuple[str, str], ...]
    """(folder, why) of what could not be read."""
    chances: Chances

    @property
    def latest(self) -> list[Kept]:
        return [row.latest for group in self.groups for row in group.rows]

    @property
    def held(self) -> int:
        return sum(kept.run.as_expected for kept in self.latest)

    @property
    def unsure(self) -> int:
        """Of those that did not come out as expected, how many could not tell."""
        return _unsure(self.latest)

    @property
    def look(self) -> str:
        """As which verdict the whole is shown."""
        if not self.latest:
            return "inconclusive"
        missed = len(self.latest) - self.held
        return _unexpected(self.unsure, missed) if missed else "supported"

    @property
    def seconds(self) -> float:
        """What the latest runs took together."""
        return sum(max(0.0, kept.run.finished - kept.run.started) for kept in self.latest)

    @property
    def kinds(self) -> list[str]:
        return sorted({kind for group in self.groups for kind in group.faults})

    @property
    def patterns(self) -> list[str]:
        return sorted({tag for group in self.groups for tag in group.tags} - set(self.kinds))

    def cell(self, pattern: str, kind: str) -> Cell | None:
        """How the latest runs of a pattern under a kind of fault went; None where there is none."""
        groups = [group for group in self.groups if pattern in group.tags and kind in group.faults]
        kept = [row.latest for group in groups for row in group.rows]
        return Cell(sum(one.run.as_expected for one in kept), _unsure(kept), len(kept)) if kept else None


def _unsure(kept: Sequence[Kept]) -> int:
    return sum(not one.run.as_expected and one.run.verdict is Verdict.INCONCLUSIVE for one in kept)


def _unexpected(unsure: int, missed: int) -> str:
    """Of runs that did not come out as expected: nothing is known to be wrong where all of them could not tell."""
    return "inconclusive" if unsure == missed else "refuted"


def collect(root: Path, most: int = MOST_RUNS) -> Suite:
    """Read the runs of a store (not their histories): of each variant the latest `most`."""
    groups: list[Group] = []
    unread: list[tuple[str, str]] = []
    for parent in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        by_variant: dict[str, list[Kept]] = {}
        for folder in sorted((path for path in parent.iterdir() if (path / RUN).is_file()), reverse=True):
            if folder.is_symlink():
                continue
            where = folder.relative_to(root)
            try:
                run = read_run(folder)
            except UsageError as error:
                unread.append((str(where), error.message.removeprefix(f"{folder / RUN}: ").removeprefix(f"{folder}: ")))
                continue
            kept = by_variant.setdefault(run.variant or "", [])
            if len(kept) < most:
                kept.append(Kept(run, where))
        if by_variant:
            groups.append(_group(parent.name, by_variant))
    latest = [row.latest.run for group in groups for row in group.rows]
    groups.sort(key=lambda group: (group.as_expected, group.name))  # what needs a look first
    return Suite(tuple(groups), tuple(unread[:50]), chances_of(latest))


def _group(name: str, by_variant: dict[str, list[Kept]]) -> Group:
    # As the experiment names them: what must hold before what must break.
    rank = {Verdict.SUPPORTED: 0, Verdict.INCONCLUSIVE: 1, Verdict.REFUTED: 2}
    ordered = sorted(by_variant.items(), key=lambda item: (rank[item[1][0].run.expected], item[0]))
    rows = tuple(Row(variant, tuple(reversed(kept)), _series(kept[::-1])) for variant, kept in ordered)
    newest = max((row.latest.run for row in rows), key=lambda run: run.started)
    tags, kinds = _written(newest)
    kinds = kinds or tuple(dict.fromkeys(fault.kind for fault in newest.faults))
    return Group(name, newest.title, tags, kinds, rows)


def _written(run: Run) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tags and kinds of faults, as the experiment's file has them; empty where it has none or cannot be read."""
    if not run.source:
        return (), ()
    try:
        data = read_text(run.source, run.experiment or "experiment.yaml").data
    except FileError:
        return (), ()
    if not isinstance(data, dict):
        return (), ()
    tags, faults = data.get("tags"), data.get("faults")
    kinds = [fault.get("kind") for fault in faults if isinstance(fault, dict)] if isinstance(faults, list) else []
    return (
        tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        tuple(dict.fromkeys(kind for kind in kinds if isinstance(kind, str))),
    )


def _series(runs: Sequence[Kept]) -> tuple[Series, ...]:
    """The measured values of each hypothesis of the latest run, over all runs that had it."""
    found = []
    for finding in runs[-1].run.findings:
        if finding.measured is None:
            continue
        values = [_same(kept.run, finding) for kept in runs]
        seen = tuple(value for value in values if value is not None)
        if seen:
            label = f"{finding.hypothesis}{f' of {finding.lane}' if finding.lane else ''}: {finding.expected}"
            found.append(Series(label, seen, measure_text(seen[-1], finding.unit), trend(seen)))
    return tuple(found[:4])


def _same(run: Run, wanted: Finding) -> float | None:
    key = (wanted.hypothesis, wanted.expected, wanted.phase)
    return next((one.measured for one in run.findings if (one.hypothesis, one.expected, one.phase) == key), None)


def index_html(suite: Suite) -> str:
    """The page of a store."""
    return render("index.html", suite=suite, duration_text=duration_text)


def write_index(root: Path) -> Path:
    """Write `index.html` into a store and return its path."""
    return write_text(root / "index.html", index_html(collect(root)))
