"""The pytest plugin, as a user's tests meet it: in a pytest of its own, with every other plugin that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

E2E = Path(__file__).parent / "e2e"


@pytest.fixture
def tests(tmp_path: Path, state_folder: Path):
    """Run pytest on a module's text, beside the tiny target; returns (exit code, output)."""
    (tmp_path / "targets").symlink_to(E2E / "targets")
    (tmp_path / "experiments").symlink_to(E2E / "experiments")

    def run(text: str, *args: str, **env: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error", "-p", "no:cacheprovider", *args],
            cwd=tmp_path, env={**os.environ, "CHAOSKIT_STATE": str(state_folder), **env}, capture_output=True,
            text=True, timeout=110, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    return run


def test_it_loads_nothing_heavy_until_it_is_used(tests):
    code, out = tests(
        "import sys\n"
        "def test_light():\n"
        "    heavy = {'locust', 'gevent', 'docker', 'jinja2', 'numpy', 'pydantic', 'bokeh', 'requests'}\n"
        "    assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    assert code == 0, out


def test_it_lives_beside_locusts_own_plugin(tests):
    code, out = tests("def test_one(request):\n    assert request.config.pluginmanager.hasplugin('locust')\n")
    assert code == 0, out


def test_its_marker_and_options_are_known(tests):
    code, out = tests("", "--strict-markers", "--markers")
    assert code == 0, out
    assert "@pytest.mark.chaos_run(experiment, variant=None, seed=None)" in out


MEETING = (
    "import contextlib, os, time\n"
    "from pathlib import Path\n"
    "from types import SimpleNamespace\n"
    "import chaoskit.pytest_plugin, chaoskit.runner\n"
    "here = Path(__file__).parent\n"
    "def carry_out(experiment, asked):\n"
    "    (here / f'measures-{os.getpid()}').touch()\n"
    "    until = time.monotonic() + float(os.environ['PATIENCE'])\n"
    "    while time.monotonic() < until and not (here / 'met').exists():\n"
    "        if len(list(here.glob('measures-*'))) > 1:\n"
    "            (here / 'met').touch()\n"
    "        time.sleep(0.01)\n"
    "    (here / f'measures-{os.getpid()}').rename(here / f'measured-{os.getpid()}')\n"
    "    return SimpleNamespace(run=SimpleNamespace(interrupted=False, folder='reports'), history=None)\n"
    "chaoskit.runner.carry_out = carry_out\n"
    "def test_it(chaos_run):\n"
    "    chaos_run('experiments/back-100ms-slower.yaml', variant='patient')\n"
)
"""A test whose run waits to meet another one that measures at the same time."""


@pytest.mark.parametrize("alone", [True, False], ids=["as it is", "a twin without the lock"])
def test_under_xdist_one_measured_run_goes_at_a_time(tests, tmp_path, alone):
    twin = "" if alone else "chaoskit.pytest_plugin._alone = contextlib.nullcontext\n"
    patience = "1.5" if alone else "30"
    code, out = tests(MEETING + twin, "-n", "2", "--dist", "each", TMPDIR=str(tmp_path), PATIENCE=patience)
    assert code == 0, out
    assert len(list(tmp_path.glob("measured-*"))) == 2, out
    assert (tmp_path / "met").exists() is not alone


STANDING = (
    "from pathlib import Path\n"
    "import chaoskit.studies.standing\n"
    "from chaoskit.pytest_plugin import chaos_target\n"
    "def told(what):\n"
    "    with (Path(__file__).parent / 'told').open('a') as file:\n"
    "        print(what, file=file)\n"
    "class Stands:\n"
    "    def __init__(self, name, folder, **about):\n"
    "        pass\n"
    "    def __enter__(self):\n"
    "        told('up')\n"
    "        return self\n"
    "    def __exit__(self, *_):\n"
    "        told('down')\n"
    "chaoskit.studies.standing.StandingTarget = Stands\n"
    "tiny = chaos_target('tiny', scope='SCOPE')\n"
)
"""A target that only tells when it goes up and down."""


@pytest.mark.parametrize(("scope", "told"), [("session", ["up", "down"]), ("module", ["up", "down", "up", "down"])])
def test_a_target_stands_as_long_as_its_scope(tests, tmp_path, scope, told):
    (tmp_path / "conftest.py").write_text(STANDING.replace("SCOPE", scope))
    (tmp_path / "test_more.py").write_text("def test_one(tiny):\n    assert tiny\n")
    code, out = tests("def test_one(tiny):\n    assert tiny\ndef test_two(tiny):\n    assert tiny\n")
    assert code == 0, out
    assert (tmp_path / "told").read_text().split() == told


@pytest.mark.live
def test_under_xdist_each_worker_has_a_target_of_its_own_for_its_session(tests, tmp_path):
    (tmp_path / "conftest.py").write_text(
        "from chaoskit.pytest_plugin import chaos_target\ntiny = chaos_target('tiny', scope='session')\n"
    )
    text = (
        "import urllib.request\n"
        "from pathlib import Path\n"
        "def test_it(tiny, worker_id):\n"
        "    with urllib.request.urlopen(tiny.url + '/page', timeout=10) as answer:\n"
        "        assert answer.status == 200\n"
        "    (Path(__file__).parent / f'{worker_id}-{Path(__file__).stem}.url').write_text(tiny.url)\n"
    )
    (tmp_path / "test_more.py").write_text(text)
    code, out = tests(text, "-n", "2", "--dist", "each")
    assert code == 0, out
    urls = {path.stem: path.read_text() for path in tmp_path.glob("*.url")}
    assert set(urls) == {f"gw{worker}-{module}" for worker in (0, 1) for module in ("test_it", "test_more")}
    assert urls["gw0-test_it"] == urls["gw0-test_more"] != urls["gw1-test_it"] == urls["gw1-test_more"]
    for url in set(urls.values()):
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"{url}/page", timeout=5)


@pytest.mark.live
def test_a_run_is_asked_hypothesis_by_hypothesis(tests, tmp_path):
    code, out = tests(
        "import pytest\n"
        "@pytest.mark.chaos_run('experiments/back-100ms-slower.yaml', variant='hasty', seed=3)\n"
        "def test_hasty(chaos_run):\n"
        "    assert chaos_run.run.seed == 3\n"
        "    chaos_run.check()\n"
        "    assert chaos_run.report.exists()\n"
        "    assert chaos_run.holds('error_rate')\n",
        "--chaos-store", "kept",
    )  # fmt: skip
    assert code == 1, out
    assert "AssertionError: error_rate is refuted: " in out
    assert "report: kept" in out
    assert "chaoskit/pytest_plugin.py" not in out, "the traceback begins in the user's test"
    assert list((tmp_path / "kept").glob("*/*/report.html"))


@pytest.mark.live
def test_a_target_stands_for_a_module_and_faults_come_out_with_their_block(tests):
    code, out = tests(
        "import time, urllib.error, urllib.request, pytest\n"
        "from chaoskit.errors import UsageError\n"
        "from chaoskit.pytest_plugin import chaos_target\n"
        "tiny = chaos_target('tiny', scope='module')\n"
        "seen = set()\n"
        "def took(tiny):\n"
        "    seen.add(tiny.url)\n"
        "    began = time.monotonic()\n"
        "    with urllib.request.urlopen(tiny.url + '/page', timeout=10) as answer:\n"
        "        assert answer.status == 200\n"
        "    return time.monotonic() - began\n"
        "def test_slow_and_fast_again(tiny):\n"
        "    with tiny.fault('latency', on='middle->back', add='700ms'):\n"
        "        assert took(tiny) > 0.69\n"
        "    assert took(tiny) < 0.69\n"
        "def test_broken_even_where_the_test_fails(tiny):\n"
        "    with pytest.raises(ZeroDivisionError):\n"
        "        with tiny.fault('latency', on='middle->back', add='700ms'):\n"
        "            1 / 0\n"
        "    assert took(tiny) < 0.69\n"
        "    assert len(seen) == 1\n"
        "@pytest.mark.parametrize(('kind', 'settings', 'said'), [\n"
        "    ('latencyy', {}, 'did you mean'),\n"
        "    ('latency', {'on': 'middle->bakc', 'add': '1s'}, 'did you mean'),\n"
        "    ('latency', {'on': 'middle->back', 'add': '1'}, 'expected'),\n"
        "    ('latency', {'on': 'middle->back', 'add': '+50%'}, 'needs a baseline')])\n"
        "def test_nonsense_is_refused(tiny, kind, settings, said):\n"
        "    with pytest.raises(UsageError) as refused:\n"
        "        with tiny.fault(kind, **settings):\n"
        "            pass\n"
        "    assert said in refused.value.message + refused.value.hint\n"
    )
    assert code == 0, out
