"""The document that machines read."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from chaoskit.errors import CouldNotRun, Exit
from chaoskit.model.history import History, Phase
from chaoskit.model.undo import Undo
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.reporters.answer import exit_code
from chaoskit.reporters.failure import Failure
from chaoskit.reporters.json import JsonReporter, result_document, result_text
from tests.reporters.runs import SHOP, load_slots, shop_history, shop_run


def document(*pairs):
    return json.loads(result_text(pairs))


def test_it_has_every_field_that_the_design_promises():
    history = shop_history()
    read = document((shop_run(history), history))
    assert read["format_version"] == 1
    assert (read["verdict"], read["as_expected"]) == ("supported", True)
    [run] = read["runs"]
    promised = {"id", "title", "experiment", "variant", "seed", "folder", "expected", "verdict", "as_expected", "proxy"}
    assert promised | {"windows", "gates", "findings", "load", "undo_left"} <= set(run)
    assert run["windows"] == {"baseline": [[2.0, 8.0]], "fault": [[8.0, 18.0]], "recovery": [[18.0, 24.0]]}
    assert {"gate", "open", "because"} <= set(run["gates"][0])
    fields = {"hypothesis", "verdict", "because", "phase", "expected", "measured", "interval", "samples"}
    assert fields <= set(run["findings"][0])
    load = run["load"]["checkout"]["fault"]
    assert {"requests", "failures", "unfinished", "dropped", "rate", "response", "service", "send_lag"} <= set(load)
    assert set(load["response"]) == {"p50", "p90", "p95", "p99"}
    assert 600 < load["requests"] < 612  # those in flight at the injection count with the fault
    assert load["rate"] == pytest.approx(load["requests"] / 10)
    assert 0.19 < load["response"]["p95"] < 0.23


def test_failed_unfinished_and_dropped_requests_are_told_apart_and_all_are_requests():
    requests = [("a", 0.1 * i, 0.01, "") for i in range(10)]
    requests += [("a", 0.5, 0.01, "status 503"), ("a", 0.6, 0.01, "dropped"), ("a", 0.7, None, "")]
    history = History(load_slots(requests), SHOP, {Phase.LOAD: [(0.0, 1.0)]})
    run = shop_run(history, windows={"load": [(0.0, 1.0)]}, faults=[])
    load = document((run, history))["runs"][0]["load"]["a"]["load"]
    assert (load["requests"], load["succeeded"], load["failures"]) == (13, 10, 1)
    assert (load["unfinished"], load["dropped"]) == (1, 1)
    assert load["rate"] == pytest.approx(11)
    assert load["response"]["p99"] is None  # its rank falls among those that did not succeed


def test_json_knows_neither_nan_nor_infinity():
    history = shop_history()
    finding = Finding(
        hypothesis="latency", kind="latency", verdict=Verdict.REFUTED, because="all failed", expected="p95 ≤ 1 s",
        measured=math.inf, interval=(0.5, math.inf), unit="s",
    )  # fmt: skip
    run = shop_run(history, findings=[finding])
    text = result_text([(run, history)])
    found = json.loads(text, parse_constant=pytest.fail)["runs"][0]["findings"][0]
    assert found["measured"] is None
    assert found["interval"] == [0.5, None]


def test_a_run_cut_short_before_any_window_is_still_a_document():
    history = History([], SHOP, {})
    run = shop_run(history, windows={}, findings=[], gates=[], verdict=Verdict.INCONCLUSIVE, as_expected=False)
    [told] = document((run, history))["runs"]
    assert (told["windows"], told["load"], told["variant"]) == ({}, {}, "unprotected")


UNDO = [Undo(id="toxic", owner="proxy.toxic", args={})]


@pytest.mark.parametrize(
    ("changes", "code", "verdict"),
    [
        ({}, Exit.AS_EXPECTED, "supported"),
        ({"verdict": Verdict.REFUTED, "expected": Verdict.REFUTED}, Exit.AS_EXPECTED, "supported"),
        ({"verdict": Verdict.REFUTED, "as_expected": False}, Exit.REFUTED, "refuted"),
        ({"expected": Verdict.REFUTED, "as_expected": False}, Exit.REFUTED, "refuted"),
        ({"verdict": Verdict.INCONCLUSIVE, "as_expected": False}, Exit.INCONCLUSIVE, "inconclusive"),
        (
            {"verdict": Verdict.INCONCLUSIVE, "as_expected": False, "interrupted": True},
            Exit.INTERRUPTED,
            "inconclusive",
        ),
        ({"error": "no port", "as_expected": False}, Exit.COULD_NOT_RUN, "inconclusive"),
        ({"undo_left": UNDO}, Exit.UNDO_LEFT, "inconclusive"),
    ],
)
def test_the_top_verdict_follows_the_exit_code(changes, code, verdict):
    history = shop_history()
    run = msgspec.structs.replace(shop_run(history), **changes)
    assert exit_code(run) is code
    assert result_document([(run, history)])["verdict"] == verdict


def test_over_several_runs_the_leftmost_code_wins():
    history = shop_history()
    held = shop_run(history)
    unsure = shop_run(history, verdict=Verdict.INCONCLUSIVE, as_expected=False)
    refuted = shop_run(history, verdict=Verdict.REFUTED, as_expected=False)
    assert document((held, history), (unsure, history))["verdict"] == "inconclusive"
    read = document((held, history), (unsure, history), (refuted, history))
    assert (read["verdict"], read["as_expected"], len(read["runs"])) == ("refuted", False, 3)


def test_the_file_is_written_whole(tmp_path):
    history = shop_history()
    path = JsonReporter().write(shop_run(history), history, tmp_path)
    assert path == tmp_path / "result.json"
    assert json.loads(path.read_text())["runs"][0]["seed"] == 7
    assert [one.name for one in tmp_path.iterdir()] == ["result.json"]


def test_what_did_not_come_to_a_run_is_told_and_is_never_green():
    history = shop_history()
    read = json.loads(result_text([(shop_run(history), history)], [Failure("a title", CouldNotRun("no"), "x.yaml")]))
    assert (read["verdict"], read["as_expected"], read["exit_code"]) == ("inconclusive", False, 4)
    [failed] = read["failed"]
    assert (failed["name"], failed["exit_code"]) == ("a title", 4)
    assert [(one["file"], one["message"]) for one in failed["problems"]] == [("x.yaml", "no")]
