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

__all__ = ["FOLDERS", "find", "kinds", "undo_owner", "undo_owners"]

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


_UNDO_FOLDERS = ("proxy", "deployers", "backing", "faults")


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
    for folder in _UNDO_FOLDERS:
        found.update(_collect(folder, "UndoOwner"))
    return found


def undo_owner(kind: str) -> type[Any] | None:
    """The class that knows how to apply an undo of this owner, or None.

    Looks into one module after the other: unlike `undo_owners`, a module that cannot be imported keeps nothing but its
    own undos from being found, and no more is imported than must be.
    """
    base = _base("UndoOwner")
    for folder in _UNDO_FOLDERS:
        for name in _modules(folder):
            try:
                module = importlib.import_module(name)
            except Exception:  # noqa: BLE001, S112 - whoever needs it is told that nobody knows how to undo it
                continue
            for value in vars(module).values():
                if _is_kind(value, base) and value.kind == kind:
                    return value  # type: ignore[no-any-return]  # a class, as _is_kind says
    for folder in _UNDO_FOLDERS:
        for point in entry_points(group=f"chaoskit.{folder}"):
            try:
                value = point.load()
            except Exception:  # noqa: BLE001, S112 - the same
                continue
            if _is_kind(value, base) and value.kind == kind:
                return value  # type: ignore[no-any-return]  # the same
    return None


def _base(name: str) -> type[Any]:
    # Interfaces lie above this module: they are looked up by name when kinds are asked for, never imported from here.
    base: type[Any] = getattr(importlib.import_module("chaoskit.interfaces"), name)
    return base


def _modules(folder: str) -> list[str]:
    package = importlib.import_module(f"chaoskit.{folder}")
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    # The proxy's server side is a process of its own, and heavy.
    return [f"chaoskit.{folder}.{name}" for name in names if folder != "proxy" or name in ("undo", "mesh")]


def _collect(folder: str, base_name: str) -> dict[str, type[Any]]:
    base = _base(base_name)
    found: dict[str, type[Any]] = {}
    for name in _modules(folder):
        module = importlib.import_module(name)
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
