"""Experiment and target files among what a user names: files as they are, folders searched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from chaoskit.errors import FileError, Problem, UsageError

__all__ = ["experiment_files", "found_files"]

_SUFFIXES = (".yaml", ".yml", ".json")
_NEVER = {"reports", "node_modules", "__pycache__"}


def experiment_files(paths: Sequence[Path]) -> list[Path]:
    """Files to run, in order. Raises UsageError where a folder holds none, FileError where a file is not there."""
    found: list[Path] = []
    for path in paths:
        inside = found_files([path], targets=False)
        if not inside:
            raise UsageError(f"no experiment in {path}/", hint="`chaoskit new experiment` writes one")
        found += [file for file in inside if file not in found]
    return found


def found_files(paths: Iterable[Path], *, targets: bool) -> list[Path]:
    """Named files as they are; of folders, every experiment (and target where asked for) below them, sorted."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            from chaoskit.document import read

            read(path)  # says that there is no such file, and what may have been meant
            raise FileError([Problem(str(path), 0, 0, "", "no such file")])
        if path.is_dir():
            candidates = sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and _visible(file, path))
            found += [file for file in candidates if _wanted(file, targets=targets)]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _visible(file: Path, below: Path) -> bool:
    parts = file.relative_to(below).parts
    return file.is_file() and not any(part.startswith(".") or part in _NEVER for part in parts)


def _wanted(file: Path, *, targets: bool) -> bool:
    """Whether a file in a folder is one of ours; one that cannot be read is told rather than passed over."""
    from chaoskit.document import read

    try:
        data = read(file).data
    except FileError:
        return True
    if not isinstance(data, dict):
        return False
    if "services" in data and "entry" in data:
        return targets
    return bool({"target", "faults", "hypotheses"} & data.keys())
