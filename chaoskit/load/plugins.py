"""Run the Python files that a load names: Locust listeners, and locustfiles. Worker side only."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import locust

__all__ = ["load_listeners", "user_classes"]


def run_file(path: str) -> ModuleType:
    """Import a file under its own name, its folder first on the path. Raises what its code raises."""
    file = Path(path).resolve()
    sys.path.insert(0, str(file.parent))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    return module


def load_listeners(paths: Sequence[str]) -> None:
    for path in paths:
        run_file(path)


def user_classes(path: str, wanted: Sequence[str]) -> list[type[locust.User]]:
    """The users of a locustfile that are not abstract. Raises LookupError where there are none, or a name is wrong."""
    module = run_file(path)
    found = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, locust.User)
        and not value.abstract
        and value.__module__ == module.__name__
    }
    missing = [name for name in wanted if name not in found]
    if missing or not found:
        there = ", ".join(sorted(found)) or "none"
        raise LookupError(f"no user class {', '.join(missing) or 'at all'} in {path} (there: {there})")
    return [found[name] for name in wanted] if wanted else list(found.values())
