"""run: what is carried out, in which order, how codes merge, what is printed where. The runs are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import chaoskit.runner
from chaoskit.cli.common.outcome import tell_repeats
from chaoskit.cli.console import Screen
from chaoskit.errors import CouldNotRun, DeployError, UsageError
from chaoskit.experiment import Experiment
from chaoskit.model.history import Phase
from chaoskit.model.run import Run
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Finding, Gate, Verdict
from chaoskit.reading import load
from chaoskit.runner import Asked, Finished
from chaoskit.testing import HistoryBuilder
from tests.cli.conftest import Said
from tests.experiments import write


class Runs:
    """In place of the runner: makes up what each run comes to, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, int]] = []
        self.comes_to: dict[str | None, Any] = {}

    def __call__(self, experiment: Experiment, asked: Asked) -> Finished:
        self.asked.append((experiment.file.stem, asked.variant, asked.seed or 0))
        outcome = self.comes_to.get(asked.variant, Verdict.SUPPORTED)
        if isinstance(outcome, BaseException):
            raise outcome
        more = dict(outcome) if isinstance(outcome, dict) else {"verdict": outcome}
        verdict = more.setdefault("verdict", Verdict.SUPPORTED)
        variant = experiment.variants.get(asked.variant or "")
        expected = variant.expect if variant else Verdict.SUPPORTED
        built = HistoryBuilder().topology("load->web", "web->api").phases(warmup=1, baseline=2, fault=2, recovery=2)
        history = built.load("page", "fault", rate=50).build()
        finding = Finding(
            hypothesis="latency",
            kind="latency",
            verdict=verdict,
            because="p95 was 0.1 s [bold]",
            expected="p95 ≤ 0.4 s",
            measured=0.1,
            unit="s",
            phase=Phase.FAULT,
        )
        run = Run(
            id=f"run-{len(self.asked)}",
            title=experiment.title,
            experiment=str(experiment.file),
            variant=asked.variant,
            topology=history.topology,
            seed=asked.seed or 0,
            started=1.0,
            finished=8.0,
            windows={phase.value: spans for phase, spans in history.windows.items()},
            expected=expected,
            as_expected=verdict is expected,
            gates=[Gate(gate="trace", open=verdict is not Verdict.INCONCLUSIVE, because="20 of 20 calls were slow")],
            findings=[finding],
            **more,
        )
        return Finished(run, history)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made_up = Runs()
    monkeypatch.setattr(chaoskit.runner, "carry_out", made_up)
    return made_up


def test_every_variant_of_every_file_runs_in_order(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    runs.comes_to = {"hasty": Verdict.REFUTED}
    code, out, err = chaoskit("run", ".")
    assert code == 0, err
    assert runs.asked == [("it", "calm", 1), ("it", "hasty", 1)]
    assert "2 of 2 runs as expected" in out
    assert "p95 was 0.1 s [bold]" in out, "what a text holds is never markup"


def test_repeats_are_interleaved_and_count_seeds_up(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    chaoskit("run", "it.yaml", "--repeat", "2", "--seed", "7")
    assert runs.asked == [("it", "calm", 7), ("it", "hasty", 7), ("it", "calm", 8), ("it", "hasty", 8)]


def test_repeats_come_to_something_together_and_a_flip_is_told(
    chaoskit: Callable[..., Said], here: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here)
    out = chaoskit("run", "it.yaml", "--repeat", "3").out
    assert "3 runs of Pages come although the api is slow [calm] together" in out
    assert "latency  3 runs: 3 supported  mean 100 ms  95% sure: 100 ms to 100 ms" in out
    held, broken, shut = (
        runs(load(here / "it.yaml"), Asked(variant="calm", seed=seed)).run
        for seed, runs.comes_to["calm"] in enumerate((Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE))
    )
    tell_repeats(Screen(quiet=False), [held, broken, shut])
    said = capsys.readouterr().out
    assert "2 runs of Pages come although the api is slow [calm] together, 1 left out for a shut gate" in said
    assert "! latency  2 runs: 1 supported, 1 refuted; it flips" in said


def test_a_variant_can_be_chosen(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    assert chaoskit("run", "it.yaml", "--variant", "calm").code == 0
    assert runs.asked == [("it", "calm", 1)]
    code, _, err = chaoskit("run", "it.yaml", "--variant", "hastie")
    assert code == 2
    assert "did you mean 'hasty'?" in err


UNDO = Undo(id="x", owner="toxic", args={}, says="latency on web->api")


@pytest.mark.parametrize(
    ("calm", "hasty", "code"),
    [
        (Verdict.SUPPORTED, Verdict.REFUTED, 0),
        (Verdict.REFUTED, Verdict.REFUTED, 1),
        (Verdict.SUPPORTED, Verdict.SUPPORTED, 1),
        (Verdict.INCONCLUSIVE, Verdict.REFUTED, 3),
        (Verdict.SUPPORTED, Verdict.INCONCLUSIVE, 3),
        (Verdict.REFUTED, Verdict.INCONCLUSIVE, 1),
        (UsageError("not allowed"), Verdict.SUPPORTED, 2),
        (DeployError("web did not start", detail="no licence"), Verdict.REFUTED, 4),
        (CouldNotRun("no"), UsageError("no"), 4),
        ({"interrupted": True, "verdict": Verdict.INCONCLUSIVE}, Verdict.REFUTED, 130),
        ({"undo_left": [UNDO]}, CouldNotRun("no"), 5),
        (Verdict.REFUTED, KeyboardInterrupt(), 130),
    ],
    ids=lambda value: str(value)[:24],
)
def test_codes_merge_to_the_worst(
    chaoskit: Callable[..., Said], here: Path, runs: Runs, calm: Any, hasty: Any, code: int
) -> None:
    write(here)
    runs.comes_to = {"calm": calm, "hasty": hasty}
    assert chaoskit("run", "it.yaml").code == code
    assert chaoskit("run", "it.yaml", "--quiet").code == code


def test_an_interrupt_ends_the_whole_command(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    runs.comes_to = {"calm": {"interrupted": True, "verdict": Verdict.INCONCLUSIVE}}
    chaoskit("run", "it.yaml")
    assert runs.asked == [("it", "calm", 1)]


def test_what_could_not_run_is_told_and_the_others_go_on(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    runs.comes_to = {
        "calm": DeployError("web did not start", hint="look", detail="no licence"),
        "hasty": Verdict.REFUTED,
    }
    code, out, err = chaoskit("run", "it.yaml")
    assert code == 4
    assert "web did not start" in err and "hint: look" in err and "  | no licence" in err
    assert "1 of 2 runs as expected" in out
    assert len(runs.asked) == 2


def test_nothing_runs_where_a_file_is_wrong(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    (here / "bad.yaml").write_text((here / "it.yaml").read_text().replace("title:", "titel:"))
    code, _, err = chaoskit("run", "it.yaml", "bad.yaml")
    assert code == 2
    assert "bad.yaml:1:1" in err
    assert not runs.asked
    assert chaoskit("run", "nowhere.yaml").code == 2
    (here / "empty").mkdir()
    assert "no experiment in empty/" in chaoskit("run", "empty").err


def test_json_is_the_only_thing_on_standard_output(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    runs.comes_to = {"hasty": Verdict.INCONCLUSIVE}
    code, out, err = chaoskit("run", "it.yaml", "--json")
    assert code == 3
    document = json.loads(out)
    assert document["verdict"] == "inconclusive"
    assert [run["variant"] for run in document["runs"]] == ["calm", "hasty"]
    assert "inconclusive" in err


@pytest.mark.parametrize(
    "comes_to", [KeyboardInterrupt(), DeployError("web did not start"), UsageError("no such host")]
)
def test_json_says_what_the_exit_code_says(
    chaoskit: Callable[..., Said], here: Path, runs: Runs, comes_to: BaseException
) -> None:
    write(here)
    runs.comes_to = {"hasty": comes_to}
    code, out, _ = chaoskit("run", "it.yaml", "--json")
    document = json.loads(out)
    assert code == document["exit_code"] != 0
    assert (document["verdict"], document["as_expected"]) == ("inconclusive", False)
    assert len(document["runs"]) == 1


def test_quiet_is_one_line_for_each_run(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    runs.comes_to = {"hasty": Verdict.SUPPORTED}
    _, out, _ = chaoskit("run", "it.yaml", "--quiet")
    assert out.splitlines() == [
        "✓ supported as expected  Pages come although the api is slow [calm]",
        "✓ supported, expected refuted  Pages come although the api is slow [hasty]",
    ]


def test_what_pipelines_read_is_written(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    runs.comes_to = {"hasty": Verdict.REFUTED}
    (here / "summary.md").write_text("before\n")
    assert chaoskit("run", "it.yaml", "--junit", "out/junit.xml", "--summary", "summary.md").code == 0
    assert len(ElementTree.parse(here / "out" / "junit.xml").getroot()) == 2
    summary = (here / "summary.md").read_text()
    assert summary.startswith("before\n")
    assert "2 of 2 runs as expected" in summary


OUTPUTS = ("--junit", "junit.xml", "--summary", "summary.md", "--events", "events.ndjson", "--annotations")


def stale(here: Path) -> None:
    """What last night's run left, and held."""
    (here / "junit.xml").write_text('<testsuites tests="4" failures="0" errors="0"/>')
    (here / "events.ndjson").write_text('{"event": "end", "verdict": "supported"}\n')
    (here / "gl-code-quality-report.json").write_text("[]")


@pytest.mark.parametrize("host", ["github", "gitlab"])
def test_where_a_file_is_wrong_pipelines_read_that_and_not_what_an_earlier_run_left(
    chaoskit: Callable[..., Said], here: Path, runs: Runs, host: str
) -> None:
    write(here)
    text = (here / "it.yaml").read_text()
    (here / "bad.yaml").write_text(text.replace("title:", "titel:").replace("web->api, add", "web->apy, add"))
    stale(here)
    code, out, err = chaoskit("run", ".", *OUTPUTS, host)
    assert code == 2
    assert not runs.asked
    line = next(number for number, one in enumerate(text.splitlines(), 1) if "web->api, add" in one)
    root = ElementTree.parse(here / "junit.xml").getroot()
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    assert f"bad.yaml:{line}:" in root.find("testsuite/testcase/error").text
    summary = (here / "summary.md").read_text()
    assert summary.startswith("## ❗ nothing was run")
    assert f"bad.yaml:{line}:" in summary
    assert (here / "events.ndjson").read_text() == ""
    if host == "github":
        assert f"::error file=bad.yaml,line={line},title=" in out
    else:
        remarks = json.loads((here / "gl-code-quality-report.json").read_text())
        assert {"path": "bad.yaml", "lines": {"begin": line}} in [one["location"] for one in remarks]
    assert f"bad.yaml:{line}:" in err


def test_what_could_not_run_is_in_all_that_pipelines_read(
    chaoskit: Callable[..., Said], here: Path, runs: Runs
) -> None:
    write(here)
    stale(here)
    runs.comes_to = {"calm": DeployError("web did not start"), "hasty": Verdict.REFUTED}
    code, out, _ = chaoskit("run", "it.yaml", *OUTPUTS, "github")
    assert code == 4
    assert ElementTree.parse(here / "junit.xml").getroot().get("errors") == "1"
    assert "web did not start" in (here / "summary.md").read_text()
    assert (
        "::error file=it.yaml,line=1,title=Pages come although the api is slow [calm]%3A could not run::web did" in out
    )
    events = [json.loads(line) for line in (here / "events.ndjson").read_text().splitlines()]
    assert {"event": "failed", "run": 1, "because": "web did not start"} in events


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("run", "empty"), "no experiment in empty/"), (("run", "it.yaml", "--variant", "hastie"), "no variant 'hastie'")],
)
def test_a_refusal_without_a_file_is_written_too(
    chaoskit: Callable[..., Said], here: Path, arguments: tuple[str, ...], said: str
) -> None:
    write(here)
    (here / "empty").mkdir()
    stale(here)
    code, out, _ = chaoskit(*arguments, *OUTPUTS, "github")
    assert code == 2
    assert f"::error title=chaoskit run%3A refused::{said}" in out
    assert said in ElementTree.parse(here / "junit.xml").getroot().find("testsuite/testcase/error").text


def test_json_holds_what_could_not_run_and_is_not_green(chaoskit: Callable[..., Said], here: Path, runs: Runs) -> None:
    write(here)
    runs.comes_to = {"calm": DeployError("web did not start"), "hasty": Verdict.REFUTED}
    document = json.loads(chaoskit("run", "it.yaml", "--json").out)
    assert (document["verdict"], document["exit_code"], len(document["runs"])) == ("inconclusive", 4, 1)
    assert document["failed"][0]["problems"][0]["message"] == "web did not start"
    (here / "it.yaml").write_text("title: [")
    code, out, _ = chaoskit("run", "it.yaml", "--json")
    assert code == json.loads(out)["exit_code"] == 2


def test_outputs_that_cannot_be_written_do_not_hide_what_was_wrong(chaoskit: Callable[..., Said], here: Path) -> None:
    (here / "it.yaml").write_text("titel: x")
    (here / "file").write_text("")
    code, _, err = chaoskit("run", "it.yaml", "--junit", "file/junit.xml")
    assert code == 2
    assert "was not written" in err
    assert "it.yaml:1:1" in err
