"""Remarks beside the lines of an experiment's file."""

from __future__ import annotations

import json
import re

import msgspec

from chaoskit.errors import CouldNotRun, FileError, Problem, UndoError
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Verdict
from chaoskit.reporters.annotations import github_text, gitlab_text
from chaoskit.reporters.failure import Failure, refusals
from tests.reporters.runs import SOURCE, shop_history, shop_run

HISTORY = shop_history()
UNEXPECTED = shop_run(HISTORY, verdict=Verdict.REFUTED, expected=Verdict.SUPPORTED, as_expected=False)
LINE = next(n for n, line in enumerate(SOURCE.splitlines(), 1) if line.startswith("  - {kind: latency, of"))


def test_what_came_out_as_expected_is_no_remark():
    assert github_text([shop_run(HISTORY), shop_run(HISTORY, verdict=Verdict.REFUTED)]) == ""
    assert json.loads(gitlab_text([shop_run(HISTORY)])) == []


def test_a_refuted_hypothesis_is_an_error_at_its_line():
    [line] = github_text([UNEXPECTED]).splitlines()
    assert line.startswith(f"::error file=experiments/payments-50-percent-slower.yaml,line={LINE},title=")
    assert "p95 of checkout was 2 s in fault" in line


def test_a_shut_gate_is_a_warning_and_its_findings_are_not_told_twice():
    unsure = shop_run(HISTORY, verdict=Verdict.INCONCLUSIVE, as_expected=False)
    lines = github_text([unsure]).splitlines()
    assert any(line.startswith("::warning") and "did not bite" in line for line in lines)


def test_a_twin_that_held_is_an_error():
    [line] = github_text([shop_run(HISTORY, expected=Verdict.REFUTED, as_expected=False)]).splitlines()
    assert line.startswith("::error")
    assert "supported, expected refuted" in line


def test_a_fault_that_is_left_is_told_whatever_the_verdict():
    left = shop_run(HISTORY, undo_left=[Undo(id="x", owner="y", args={}, says="kill -CONT 1")])
    assert "kill -CONT 1" in github_text([left])
    assert json.loads(gitlab_text([left]))[0]["severity"] == "blocker"


def test_no_text_can_forge_a_command():
    forged = "x\n::error file=/etc/passwd::owned%0A\r::set-env name=PATH::evil"
    run = msgspec.structs.replace(UNEXPECTED, title=forged)
    found = msgspec.structs.replace(run.findings[0], because=forged)
    lines = github_text([msgspec.structs.replace(run, findings=[found])]).splitlines()
    assert len(lines) == 1
    assert not re.search(r"[\r\n]", lines[0])
    title = lines[0].partition("title=")[2].partition("::")[0]
    assert ":" not in title
    assert "," not in title


def test_gitlab_reads_a_list_with_stable_fingerprints():
    [one] = json.loads(gitlab_text([UNEXPECTED]))
    assert set(one) == {"description", "check_name", "fingerprint", "severity", "location"}
    assert one["location"] == {"path": "experiments/payments-50-percent-slower.yaml", "lines": {"begin": LINE}}
    slower = msgspec.structs.replace(UNEXPECTED.findings[0], because="p95 of checkout was 3 s", measured=3.0)
    [again] = json.loads(gitlab_text([msgspec.structs.replace(UNEXPECTED, findings=[slower])]))
    assert again["fingerprint"] == one["fingerprint"]
    assert again["description"] != one["description"]


def test_a_file_that_cannot_be_read_again_is_remarked_on_its_first_line():
    broken = msgspec.structs.replace(UNEXPECTED, source="title: [")
    assert ",line=1," in github_text([broken])


def test_what_is_wrong_in_a_file_is_an_error_at_its_line():
    wrong = FileError([Problem("x.yaml", 7, 3, "load.rate", "expected a rate", "such as 50/s"),
                       Problem("x.yaml", 0, 0, "", "no such file")])  # fmt: skip
    assert github_text([], refusals(wrong)).splitlines() == [
        "::error file=x.yaml,line=1,title=x.yaml%3A refused::no such file",
        "::error file=x.yaml,line=7,title=x.yaml%3A load.rate::expected a rate (such as 50/s)",
    ]
    first, second = json.loads(gitlab_text([], refusals(wrong)))
    assert second["location"] == {"path": "x.yaml", "lines": {"begin": 7}}
    assert first["fingerprint"] != second["fingerprint"]


def test_what_could_not_be_carried_out_is_an_error_and_a_fault_that_may_be_left_an_alarm():
    failed = [
        Failure("a title", CouldNotRun("no\n::error::forged"), "x.yaml"),
        Failure("b", UndoError("left"), "y.yaml"),
    ]
    assert github_text([], failed).splitlines() == [
        "::error file=x.yaml,line=1,title=a title%3A could not run::no%0A::error::forged",
        "::error file=y.yaml,line=1,title=b%3A a fault may be left::left",
    ]
    assert [one["severity"] for one in json.loads(gitlab_text([], failed))] == ["major", "blocker"]
    assert (
        github_text([], [Failure("chaoskit run", CouldNotRun("no"))])
        == "::error title=chaoskit run%3A could not run::no\n"
    )
