"""The shape of the package: who may import whom, which foreign library lives where, and how light the doors are."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import chaoskit

ROOT = Path(chaoskit.__file__).parent
HEAVY = ("bokeh", "docker", "gevent", "jinja2", "locust", "numpy", "prometheus_api_client", "pydantic", "requests")

HOMES = {
    "asyncio": ("proxy/",),
    "click": ("cli/",),
    "docker": ("deployers/docker",),
    "gevent": ("load/",),
    "httptools": ("load/", "proxy/"),
    "jinja2": ("reporters/html.py", "reporters/page.py"),
    "locust": ("load/",),
    "prometheus_api_client": ("probes/prometheus.py",),
    "pytest": ("pytest_plugin.py",),
    "rich": ("cli/console.py",),
    "ruamel": ("document.py",),
    "toxiproxy": ("proxy/client.py",),
    "uvloop": ("proxy/",),
}
"""Foreign library → where alone it may be imported."""

LAZY = {"docker", "jinja2", "prometheus_api_client", "rich", "ruamel", "toxiproxy", "uvloop"}
"""Libraries that are imported where they are used, never when a file of ours is."""

STANDARD_LIBRARY_ONLY = ("guardian.py", "processes.py", "spawning.py")
"""What the guardian's process consists of."""


def sources() -> Iterator[Path]:
    yield from sorted(path for path in ROOT.rglob("*.py") if "demo" not in path.relative_to(ROOT).parts)


def imports(path: Path) -> Iterator[tuple[str, bool, int]]:
    """Top package, whether it is imported with the file itself, and the line; type checkers' imports left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        for name in names:
            yield name.partition(".")[0], id(node) not in inside, node.lineno


def test_arrows_point_down() -> None:
    """The contracts are in pyproject.toml, under [tool.importlinter]."""
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_foreign_library_has_one_home() -> None:
    strays = [
        f"{path.relative_to(ROOT)}:{line} imports {name}, whose home is {' or '.join(HOMES[name])}"
        for path in sources()
        for name, _, line in imports(path)
        if name in HOMES and not str(path.relative_to(ROOT)).startswith(HOMES[name])
    ]
    assert not strays, "\n".join(strays)


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    eager = [
        f"{path.relative_to(ROOT)}:{line} imports {name} at once"
        for path in sources()
        for name, at_once, line in imports(path)
        if at_once and name in LAZY
    ]
    assert not eager, "\n".join(eager)


def test_the_guardian_needs_nothing_but_the_standard_library() -> None:
    ours = {"chaoskit"}
    strays = [
        f"{name}:{line} imports {package}"
        for name in STANDARD_LIBRARY_ONLY
        for package, _, line in imports(ROOT / name)
        if package not in sys.stdlib_module_names | ours
    ]
    assert not strays, "\n".join(strays)
    for name in STANDARD_LIBRARY_ONLY:
        text = (ROOT / name).read_text(encoding="utf-8")
        taken = [line for line in text.splitlines() if line.startswith(("from chaoskit", "import chaoskit"))]
        allowed = tuple(f"from chaoskit.{other.removesuffix('.py')} import" for other in STANDARD_LIBRARY_ONLY)
        assert all(line.startswith(allowed) for line in taken), (name, taken)


def loaded_by(code: str) -> set[str]:
    """Top-level packages that are loaded after `code` in a fresh interpreter."""
    told = f"{code}\nimport sys\nprint(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


def test_import_chaoskit_is_light() -> None:
    assert not loaded_by("import chaoskit") & {*HEAVY, "click", "msgspec"}


def test_help_is_light_and_imports_no_command() -> None:
    code = (
        "import sys\nfrom chaoskit.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert 'chaoskit.cli.run' not in sys.modules"
    )
    assert not loaded_by(code) & {*HEAVY, "msgspec", "rich"}


@pytest.mark.parametrize("command", ["check", "doctor", "list", "new", "plan", "recover", "report", "run", "schema"])
def test_the_help_of_a_command_is_light(command: str) -> None:
    code = (
        f"from chaoskit.cli import main\ntry:\n    main(['{command}', '--help'])\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code"
    )
    assert not loaded_by(code) & {*HEAVY, "msgspec", "rich"}


def test_the_surface_is_what_all_says_and_every_name_is_there() -> None:
    assert chaoskit.__all__ == sorted(chaoskit.__all__)
    assert dir(chaoskit) == chaoskit.__all__
    for name in chaoskit.__all__:
        assert getattr(chaoskit, name) is not None


def test_every_file_says_what_it_is_for() -> None:
    for path in sources():
        text = path.read_text(encoding="utf-8").strip()
        assert not text or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_load_is_callable_before_and_after_its_folder_is_imported() -> None:
    code = (
        "import chaoskit\n"
        "for turn in (1, 2):\n"
        "    try:\n        chaoskit.load('nowhere.yaml')\n"
        "    except chaoskit.ChaoskitError as error:\n        assert 'nowhere.yaml' in str(error)\n"
        "    import chaoskit.load.wire\n"
        "import chaoskit.load.wire as wire\nassert wire.__name__ == 'chaoskit.load.wire'"
    )
    assert loaded_by(code)
