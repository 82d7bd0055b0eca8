"""The GitHub action and the GitLab template: their steps run in a shell, on a suite that holds and one that fails, and
what a store keeps from night to night does not depend on how the night went."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
E2E = ROOT / "tests" / "e2e"


def read(name: str) -> dict:
    return YAML(typ="safe").load(ROOT / name)


@dataclass
class Shell:
    """A checkout with the tiny target, and a chaoskit on PATH."""

    folder: Path
    env: dict[str, str]

    def run(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script], cwd=self.folder,
            env={**self.env, **env}, capture_output=True, text=True, timeout=110, check=False,
        )  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path, state_folder: Path) -> Shell:
    folder = tmp_path / "checkout"
    (folder / "experiments").mkdir(parents=True)
    (folder / "targets").symlink_to(E2E / "targets")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    command = bin_folder / "chaoskit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m chaoskit "$@"\n')
    command.chmod(0o755)
    env = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}", "CHAOSKIT_STATE": str(state_folder)}
    env["PYTHONPATH"] = str(ROOT)
    return Shell(folder, env)


def nightly() -> list[dict]:
    """The steps of the nightly recipe in the docs."""
    for text in re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs" / "ci.md").read_text(), re.MULTILINE | re.DOTALL):
        recipe = YAML(typ="safe").load(text)
        if "schedule" in recipe.get("on", {}):
            return recipe["jobs"]["chaos"]["steps"]
    raise AssertionError("no recipe with a schedule in docs/ci.md")


def test_githubs_nightly_recipe_keeps_the_nights_that_failed() -> None:
    steps = nightly()
    used = [step.get("uses", "").partition("@")[0] for step in steps]
    assert "actions/cache" not in used, "it saves only where the job succeeded"
    restore, run, save = (
        used.index(name) for name in ("actions/cache/restore", "OWNER/chaoskit", "actions/cache/save")
    )
    assert restore < run < save
    assert [step.get("if") for step in steps[run + 1 :]] == ["always()"] * (len(steps) - run - 1)
    kept = read("action.yml")["inputs"]["store"]["default"]
    assert {steps[place]["with"]["path"] for place in (restore, save)} == {kept}
    [key] = {steps[place]["with"]["key"] for place in (restore, save)}
    assert "github.run_id" in key and "github.run_attempt" in key, "a key that is taken is not saved again"
    assert key.startswith(steps[restore]["with"]["restore-keys"])


def test_gitlabs_template_keeps_the_nights_that_failed() -> None:
    job = read("ci/chaoskit.gitlab-ci.yml")[".chaoskit"]
    assert job["cache"]["when"] == "always", "the default saves only where the job succeeded"
    assert job["cache"]["paths"] == ["$CHAOSKIT_STORE"]


def suite(shell: Shell, *, holds: bool) -> None:
    """Put one experiment into the checkout: the patient variant, or the hasty one that is wrongly expected to hold."""
    text = (E2E / "experiments" / "back-100ms-slower.yaml").read_text()
    before, _, variants = text.partition("variants:\n")
    hasty = re.search(r"env: (\{middle.*?\}\})", variants).group(1)
    env = "" if holds else f", env: {hasty}"
    (shell.folder / "experiments" / "one.yaml").write_text(f"{before}variants:\n  only: {{expect: supported{env}}}\n")


def inputs(action: dict, **changed: str) -> dict[str, str]:
    return {name: changed.get(name.replace("-", "_"), one["default"]) for name, one in action["inputs"].items()}


def filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda match: values[match.group(1)], text)


def artifacts(folder: Path, *, holds: bool) -> None:
    """What a pipeline keeps, of one run."""
    junit = ElementTree.parse(folder / "junit.xml").getroot()
    assert (junit.get("failures") == "0") is holds
    events = [json.loads(line) for line in (folder / "events.ndjson").read_text().splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("begin", "end")
    assert events[-1]["verdict"] == ("supported" if holds else "refuted")
    assert f"{int(holds)} of 1 runs came out as expected" in (folder / "index.html").read_text()
    [result] = [path for path in folder.glob("*/*/result.json") if not path.parent.is_symlink()]
    assert json.loads(result.read_text())["verdict"] == ("supported" if holds else "refuted")
    assert (result.parent / "report.html").stat().st_size > 10_000


@pytest.mark.live
@pytest.mark.parametrize("holds", [True, False], ids=["holds", "fails"])
def test_the_github_action(shell: Shell, tmp_path: Path, holds: bool) -> None:
    suite(shell, holds=holds)
    action = read("action.yml")
    values = inputs(action, install="")
    output, summary = tmp_path / "output", tmp_path / "summary.md"
    code, said = 0, ""
    for step in action["runs"]["steps"]:
        if "run" in step:
            assert step["shell"] == "bash"
            assert "${{" not in step["run"], "inputs come through the environment"
            env = {name: filled(text, values) for name, text in step["env"].items()}
            done = shell.run(step["run"], **env, GITHUB_OUTPUT=str(output), GITHUB_STEP_SUMMARY=str(summary))
            code, said = done.returncode, done.stdout + done.stderr
            assert code == 0 or step.get("id") == "run", said
    assert code == (0 if holds else 1), said
    assert f"exit-code={code}\n" in output.read_text()
    assert summary.read_text().startswith("## ✅ supported" if holds else "## ❌ refuted")
    assert ("::error file=experiments/one.yaml,line=" in said) is not holds
    artifacts(shell.folder / "reports", holds=holds)


def test_the_actions_inputs_cannot_run_anything(shell: Shell, tmp_path: Path) -> None:
    [run] = [step for step in read("action.yml")["runs"]["steps"] if step.get("id") == "run"]
    env = {
        "EXPERIMENTS": "$(touch hacked) ;touch hacked",
        "ARGS": "`touch hacked`",
        "STORE": "r",
        "ACCEPT_INCONCLUSIVE": "",
    }
    (shell.folder / "r").mkdir()
    done = shell.run(run["run"], **env, GITHUB_OUTPUT=str(tmp_path / "o"), GITHUB_STEP_SUMMARY=str(tmp_path / "s"))
    assert done.returncode == 2
    assert not (shell.folder / "hacked").exists()


def restored(shell: Shell) -> Path:
    """A store as last night left it, and an experiment that somebody broke today."""
    store = shell.folder / "reports"
    store.mkdir()
    (store / "junit.xml").write_text('<testsuites tests="4" failures="0" errors="0"/>')
    (store / "summary.md").write_text("## last night\n")
    (store / "events.ndjson").write_text('{"event": "end", "verdict": "supported"}\n')
    suite(shell, holds=True)
    file = shell.folder / "experiments" / "one.yaml"
    file.write_text(file.read_text().replace("title:", "titel:"))
    return store


@pytest.mark.parametrize("args", ["", "--no-such-option"], ids=["a bad file", "a bad option"])
def test_after_a_mistake_the_action_shows_it_and_not_last_night(shell: Shell, tmp_path: Path, args: str) -> None:
    store = restored(shell)
    action = read("action.yml")
    values = inputs(action, args=args)
    [run] = [step for step in action["runs"]["steps"] if step.get("id") == "run"]
    env = {name: filled(text, values) for name, text in run["env"].items()}
    done = shell.run(run["run"], **env, GITHUB_OUTPUT=str(tmp_path / "o"), GITHUB_STEP_SUMMARY=str(tmp_path / "s"))
    assert done.returncode == 2
    assert not (store / "events.ndjson").exists() or (store / "events.ndjson").read_text() == ""
    if args:
        assert not (store / "junit.xml").exists()
        return
    assert "::error file=experiments/one.yaml,line=1," in done.stdout
    assert ElementTree.parse(store / "junit.xml").getroot().get("errors") == "1"
    assert (tmp_path / "s").read_text().startswith("## ❗ nothing was run")


def test_after_a_mistake_the_gitlab_template_shows_it_and_not_last_night(shell: Shell) -> None:
    store = restored(shell)
    job = read("ci/chaoskit.gitlab-ci.yml")[".chaoskit"]
    for _ in range(2):  # the summary does not grow from night to night
        done = shell.run("\n".join(job["script"]), **job["variables"])
        assert done.returncode == 2, done.stdout + done.stderr
    assert (store / "summary.md").read_text().count("## ") == 1
    assert ElementTree.parse(store / "junit.xml").getroot().get("errors") == "1"
    [remark] = json.loads((shell.folder / job["artifacts"]["reports"]["codequality"]).read_text())[:1]
    assert remark["location"] == {"path": "experiments/one.yaml", "lines": {"begin": 1}}


@pytest.mark.live
@pytest.mark.parametrize("holds", [True, False], ids=["holds", "fails"])
def test_the_gitlab_template(shell: Shell, holds: bool) -> None:
    suite(shell, holds=holds)
    job = read("ci/chaoskit.gitlab-ci.yml")[".chaoskit"]
    variables = {**job["variables"], "CHAOSKIT_INSTALL": ""}
    done = shell.run("\n".join([*job["before_script"], *job["script"]]), **variables)
    assert done.returncode == (0 if holds else 1), done.stdout + done.stderr
    remarks = json.loads((shell.folder / job["artifacts"]["reports"]["codequality"]).read_text())
    assert [one["severity"] for one in remarks] == ([] if holds else ["major"] * len(remarks))
    assert bool(remarks) is not holds
    artifacts(shell.folder / "reports", holds=holds)
    assert "refuted" in (shell.folder / "reports" / "summary.md").read_text() or holds
