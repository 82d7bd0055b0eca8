"""The two sides of a comparison: runs as `result.json` tells them, from a store, a file, or just carried out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from chaoskit.errors import UsageError
from chaoskit.model.history import History
from chaoskit.model.run import Run
from chaoskit.reporters.json import RESULT_VERSION, result_text
from chaoskit.store import RUN, Store, load_run

__all__ = ["MEASURES", "Key", "Sample", "Side", "earlier_side", "read_side", "sample_of", "side_of"]

RESULT = "result.json"
MEASURES = ("p50", "p90", "p95", "p99", "error_rate", "throughput")
MOST_RUNS = 50
MOST_HISTORIES = 10
"""Runs of a side whose histories are drawn."""


class _Numbers(msgspec.Struct, frozen=True):
    requests: int
    failures: int
    unfinished: int
    dropped: int
    rate: float | None
    response: dict[str, float | None]


class _Result(msgspec.Struct, frozen=True):
    id: str
    title: str
    started: float
    load: dict[str, dict[str, _Numbers]]
    variant: str | None = None
    experiment: str = ""
    folder: str = ""
    interrupted: bool = False
    error: str = ""


class _Document(msgspec.Struct, frozen=True):
    format_version: int
    runs: list[_Result]


@dataclass(frozen=True, order=True)
class Key:
    """What is compared: a measure of one request name in one phase."""

    of: str
    phase: str
    measure: str


@dataclass(frozen=True)
class Sample:
    """One run: a number for each key (inf where too many requests never succeeded)."""

    id: str
    title: str
    variant: str
    experiment: str
    started: float
    values: dict[Key, float]
    folder: Path | None = None


@dataclass(frozen=True)
class Side:
    """Runs of one kind, the oldest first."""

    label: str
    samples: tuple[Sample, ...]

    def values(self, key: Key) -> list[float]:
        return [sample.values[key] for sample in self.samples if key in sample.values]

    def histories(self) -> list[tuple[Run, History]]:
        """Runs whose histories are on this machine, the latest of them."""
        folders = [sample.folder for sample in self.samples if sample.folder is not None]
        return [load_run(folder) for folder in folders[-MOST_HISTORIES:]]


def side_of(label: str, finished: Sequence[tuple[Run, History]]) -> Side:
    """A side of runs that were just carried out."""
    document = msgspec.json.decode(result_text(finished).encode(), type=_Document)
    return Side(label, tuple(_sample(result, Path(result.folder)) for result in document.runs))


def read_side(text: str, store: Path, variant: str | None = None) -> Side:
    """A side from what a user names: a result file (`run --json`), a run, an experiment's runs in the store (of one
    variant: `name:variant`), or a folder of runs. Raises UsageError."""
    path = Path(text)
    if path.suffix == ".json" and path.is_file():
        return Side(text, tuple(sorted(_read(path), key=lambda sample: sample.started)))
    name, _, named = text.partition(":") if not path.exists() else (text, "", "")
    variant = named or variant
    folder = next((one for one in (Path(name), store / name) if one.is_dir() and not (one / RUN).exists()), None)
    if folder is None:
        return Side(text, tuple(_read(Store(store).find(name) / RESULT)))
    found = [
        sample
        for one in sorted(folder.iterdir())
        if (one / RUN).exists() and not one.is_symlink()
        for sample in _read(one / RESULT)
        if variant is None or sample.variant == variant
    ]
    if not found:
        raise UsageError(f"no run{f' of variant {variant!r}' if variant else ''} in {folder}/")
    variants = sorted({sample.variant for sample in found})
    if len(variants) > 1:
        raise UsageError(
            f"{folder}/ holds runs of several variants: {', '.join(variants)}", hint=f"name one: {text}:{variants[0]}"
        )
    found.sort(key=lambda sample: sample.started)
    return Side(text, tuple(found[-MOST_RUNS:]))


def earlier_side(side: Side, store: Path) -> Side:
    """The runs in the store of the same experiment and variant that are older than a side. Raises UsageError."""
    first = side.samples[0]
    folder = next((sample.folder.parent for sample in side.samples if sample.folder is not None), None)
    if folder is None:
        folder = store / Path(first.experiment).stem
    ids = {sample.id for sample in side.samples}
    found = [
        sample
        for one in sorted(folder.glob(f"*/{RESULT}"))
        if not one.parent.is_symlink()
        for sample in _read(one)
        if sample.variant == first.variant and sample.id not in ids and sample.started < first.started
    ]
    if not found:
        raise UsageError(
            f"there is no earlier run in {folder}/ to compare with", hint="run it once more, or name a file"
        )
    found.sort(key=lambda sample: sample.started)
    return Side("latest", tuple(found[-max(len(side.samples), 5) :]))


def _read(path: Path) -> list[Sample]:
    """All runs of a result document that were carried through."""
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=dict[str, msgspec.Raw]).get("format_version", msgspec.Raw(b"none"))
        if bytes(version) != str(RESULT_VERSION).encode():
            raise UsageError(
                f"{path}: format version {bytes(version).decode()} is not one that this chaoskit reads"
                f" ({RESULT_VERSION})"
            )
        document = msgspec.json.decode(data, type=_Document)
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there", hint=f"chaoskit report {path.parent} makes it again") from error
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: not a result of chaoskit: {error}") from error
    fine = [result for result in document.runs if not result.interrupted and not result.error]
    beside = path.parent if path.name == RESULT and (path.parent / RUN).exists() else None
    return [_sample(result, beside or _kept(result)) for result in fine]


def _kept(result: _Result) -> Path | None:
    folder = Path(result.folder) if result.folder else None
    return folder if folder is not None and (folder / RUN).exists() else None


def _sample(result: _Result, folder: Path | None) -> Sample:
    values = {
        Key(of, phase, measure): value
        for of, phases in result.load.items()
        for phase, numbers in phases.items()
        for measure, value in sample_of(numbers).items()
    }
    return Sample(result.id, result.title, result.variant or "", result.experiment, result.started, values, folder)


def sample_of(numbers: _Numbers) -> dict[str, float]:
    """Every measure of one request name in one phase."""
    found = {name: math.inf if value is None else value for name, value in numbers.response.items() if name in MEASURES}
    bad = numbers.failures + numbers.unfinished + numbers.dropped
    if numbers.requests:
        found["error_rate"] = bad / numbers.requests
    if numbers.rate is not None:
        found["throughput"] = numbers.rate
    return found
