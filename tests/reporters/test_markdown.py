"""The summary in Markdown."""

from __future__ import annotations

from chaoskit.errors import DeployError, FileError, Problem
from chaoskit.model.history import History
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Verdict
from chaoskit.reporters.failure import Failure, refusals
from chaoskit.reporters.markdown import MarkdownReporter, markdown_text, scorecard
from tests.reporters.runs import SHOP, shop_history, shop_run


def test_the_verdict_comes_first_then_why(tmp_path):
    history = shop_history(broken=True)
    path = MarkdownReporter().write(shop_run(history, verdict=Verdict.REFUTED), history, tmp_path)
    lines = path.read_text().splitlines()
    assert path.name == "summary.md"
    assert lines[0].startswith("## ❌ refuted: Checkout stays usable")
    assert "p95 of checkout was 2 s in fault" in lines[2]


def test_a_shut_gate_is_named():
    history = shop_history()
    text = markdown_text(shop_run(history, verdict=Verdict.INCONCLUSIVE, as_expected=False), history)
    assert "The run cannot tell: latency" in text
    assert "| trace |" in text


def test_names_full_of_markup_mention_nobody_and_break_no_table():
    history = shop_history()
    text = markdown_text(
        shop_run(history, title="<img src=x onerror=alert(1)> | @everyone\n# https://x.example"), history
    )
    head = text.splitlines()[0]
    assert "<img" not in head.replace("\\<", "")
    assert "\\|" in head
    assert "@everyone" not in head
    assert "https://" not in head
    assert "\n# " not in text


def test_what_may_still_be_in_place_is_said():
    history = shop_history()
    undo = Undo(id="toxic", owner="proxy.toxic", args={}, says="curl -X DELETE …/toxics/latency")
    assert "may still be in place" in markdown_text(shop_run(history, undo_left=[undo]), history)


def test_a_run_without_any_load_is_told():
    history = History([], SHOP, {})
    run = shop_run(
        history, windows={}, findings=[], gates=[], verdict=Verdict.INCONCLUSIVE, error="gateway never got ready"
    )
    assert "could not be carried out: gateway never got ready" in markdown_text(run, history)


def test_a_scorecard_counts_what_came_out_as_expected():
    history = shop_history()
    text = scorecard([shop_run(history), shop_run(history, verdict=Verdict.REFUTED, as_expected=False)])
    assert text.startswith("## 1 of 2 runs as expected")


def test_a_scorecard_names_what_could_not_be_carried_out():
    text = scorecard([shop_run(shop_history())], [Failure("a title", DeployError("gateway never got ready"))])
    assert text.startswith("## 1 of 2 runs as expected")
    assert "could not run" in text


def test_a_scorecard_says_that_nothing_was_run_and_where_files_are_wrong():
    wrong = FileError(
        [Problem("a.yaml", 7, 3, "load.rate", "expected a rate"), Problem("a.yaml", 9, 1, "x", "unknown")]
    )
    text = scorecard([], refusals(wrong))
    assert text.startswith("## ❗ nothing was run")
    assert "a.yaml:7:3: load.rate: expected a rate" in text
    assert "a.yaml:9:1: x: unknown" in text
