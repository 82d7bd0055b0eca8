"""JUnit XML as CI reads it."""

from __future__ import annotations

from xml.etree import ElementTree

from chaoskit.errors import DeployError, FileError, Problem
from chaoskit.model.verdict import Verdict
from chaoskit.reporters.failure import Failure, refusals
from chaoskit.reporters.junit import JUnitReporter, junit_text
from tests.reporters.runs import shop_history, shop_run


def suite_of(run):
    root = ElementTree.fromstring(junit_text([run]).encode())
    return root, root[0]


def test_a_supported_run_has_a_case_for_each_gate_and_finding_and_none_fails(tmp_path):
    history = shop_history()
    path = JUnitReporter().write(shop_run(history), history, tmp_path)
    root = ElementTree.parse(path).getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("10", "0", "0")
    names = [case.get("name") for case in root.iter("testcase")]
    assert "gate: trace" in names
    assert "latency in fault: p95 of checkout ≤ 400 ms" in names


def test_a_refuted_hypothesis_is_a_failure_with_the_findings_sentence():
    run = shop_run(shop_history(), verdict=Verdict.REFUTED, expected=Verdict.SUPPORTED, as_expected=False)
    root, suite = suite_of(run)
    assert root.get("failures") == "2"  # the hypothesis and the run
    failure = suite.find("testcase/failure")
    assert failure.get("message").startswith("p95 of checkout was 2 s in fault")
    assert "measured: 2 s (1.9 s … 2 s)" in failure.text


def test_a_shut_gate_is_an_error_not_a_failure():
    run = shop_run(shop_history(), verdict=Verdict.INCONCLUSIVE, as_expected=False)
    root, suite = suite_of(run)
    assert int(root.get("errors")) >= 2
    assert "did not bite" in suite.find("testcase/error").get("message")


def test_a_twin_that_breaks_as_it_must_passes():
    root, _ = suite_of(shop_run(shop_history(), verdict=Verdict.REFUTED))
    assert (root.get("failures"), root.get("errors")) == ("0", "0")


def test_a_twin_that_does_not_break_fails_the_verdict_case():
    root, suite = suite_of(shop_run(shop_history(), expected=Verdict.REFUTED, as_expected=False))
    assert root.get("failures") == "1"
    assert suite.find("testcase/failure").get("message").startswith("supported, expected refuted")


def test_markup_and_control_characters_stay_text():
    title = "<script>alert(1)</script> \x00\x1b[31m ]]> & \ud800"
    _, suite = suite_of(shop_run(shop_history(), title=title, variant=None))
    assert suite.get("name").startswith("<script>alert(1)</script> \ufffd\ufffd[31m ]]> &")


def test_what_could_not_be_carried_out_is_an_error_of_its_own():
    failed = Failure("a title", DeployError("gateway never got ready", detail="no licence"), "x.yaml")
    root = ElementTree.fromstring(junit_text([shop_run(shop_history())], [failed]))
    assert (root.get("errors"), root.get("failures")) == ("1", "0")
    error = root[1].find("testcase/error")
    assert error.get("message") == "gateway never got ready"
    assert "no licence" in error.text


def test_each_file_that_is_wrong_is_an_error_with_all_its_problems():
    wrong = FileError([Problem("b.yaml", 7, 3, "load.rate", "expected a rate"), Problem("a.yaml", 1, 1, "titel", "?"),
                       Problem("b.yaml", 2, 1, "titel", "unknown key")])  # fmt: skip
    root = ElementTree.fromstring(junit_text([], refusals(wrong)))
    assert [suite.get("name") for suite in root] == ["a.yaml", "b.yaml"]
    assert root.get("errors") == "2"
    assert root[1].find("testcase/error").text.splitlines() == [
        "b.yaml:2:1: titel: unknown key", "b.yaml:7:3: load.rate: expected a rate"
    ]  # fmt: skip
