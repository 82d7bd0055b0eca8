"""The pytest plugin, as a user's tests meet it: in a pytest of its own, with every other plugin that is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

E2E = Path(__file__).parent / "e2e"


@pytest.fixture
def tests(tmp_path: Path, state_folder: Path):
    """Run pytest on a module's text, beside the tiny target; returns (exit code, output)."""
    (tmp_path / "targets").symlink_to(E2E / "targets")
    (tmp_path / "experiments").symlink_to(E2E / "experiments")

    def run(text: str, *args: str) -> tuple[int, str]:
        (tmp_path / "test_it.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error", "-p", "no:cacheprovider", *args],
            cwd=tmp_path, env={**os.environ, "CHAOSKIT_STATE": str(state_folder)}, capture_output=True, text=True,
            timeout=110, check=False,
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
