"""kind → class, by walking a folder of ours and then the entry points of the group `chaoskit.<folder>`."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from chaoskit.errors import UsageError

__all__ = ["FOLDERS", "find", "kinds", "undo_owners"]

FOLDERS = ("deployers", "backing", "faults", "probes", "hypotheses", "reporters")
"""What you can add: each has its base class in `chaoskit.interfaces`."""

_BASES = {
    "deployers": "Deployer",
    "backing": "Backing",
    "faults": "Fault",
    "probes": "Probe",
    "hypotheses": "Hypothesis",
    "reporters": "Reporter",
}


@cache
def kinds(folder: str) -> dict[str, type[Any]]:
    """All classes of one folder by their `kind`, sorted; those of other packages (entry points) after ours.

    Raises UsageError where two classes claim the same kind.
    """
    return _collect(folder, _BASES[folder])


def find(folder: str, kind: str) -> type[Any]:
    """The class of one kind. Raises UsageError with a suggestion where there is none."""
    known = kinds(folder)
    if kind in known:
        return known[kind]
    close = difflib.get_close_matches(kind, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
    raise UsageError(f"no {_BASES[folder].lower()} of kind {kind!r}", hint=hint)


@cache
def undo_owners() -> dict[str, type[Any]]:
    """Classes that know how to apply an undo, by the owner's name."""
    found: dict[str, type[Any]] = {}
    for folder in ("proxy", "deployers", "faults", "backing"):
        found.update(_collect(folder, "UndoOwner"))
    return found


def _collect(folder: str, base_name: str) -> dict[str, type[Any]]:
    # Interfaces lie above this module: they are looked up by name when kinds are asked for, never imported from here.
    base = getattr(importlib.import_module("chaoskit.interfaces"), base_name)
    found: dict[str, type[Any]] = {}
    package = importlib.import_module(f"chaoskit.{folder}")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    for name in names:
        if folder == "proxy" and name not in ("undo", "mesh"):
            continue  # the proxy's server side is a process of its own, and heavy
        module = importlib.import_module(f"chaoskit.{folder}.{name}")
        for value in vars(module).values():
            if _is_kind(value, base) and value.__module__ == module.__name__:
                _add(found, value)
    for point in entry_points(group=f"chaoskit.{folder}"):
        value = point.load()
        if _is_kind(value, base):
            _add(found, value)
    return found


def _is_kind(value: object, base: type[Any]) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and isinstance(getattr(value, "kind", None), str)
    )


def _add(found: dict[str, type[Any]], value: type[Any]) -> None:
    other = found.setdefault(value.kind, value)
    if other is not value:
        raise UsageError(f"two classes claim the kind {value.kind!r}: {other.__module__} and {value.__module__}")
