"""Comparing two sides of runs."""

from __future__ import annotations

import json
import math
import random

import pytest

from chaoskit.errors import UsageError
from chaoskit.model.verdict import Verdict
from chaoskit.studies.compare import compare, interleaved
from chaoskit.studies.compare_page import comparison_html, comparison_text
from chaoskit.studies.fail_if import FailIf, check_gates
from chaoskit.studies.sides import Key, Sample, Side, earlier_side, read_side
from tests.studies.kept import sides

P95 = Key("checkout", "fault", "p95")


def side(label: str, values: list[float], *, start: float = 0.0, step: float = 2.0, key: Key = P95) -> Side:
    samples = [
        Sample(f"{label}{n}", "a title", "", "x.yaml", start + n * step, {key: value}) for n, value in enumerate(values)
    ]
    return Side(label, tuple(samples))


def judged(
    a: list[float], b: list[float], gate: str = "p95 +10%", *, key: Key = P95, **options: bool
) -> tuple[Verdict, str]:
    found = compare(side("a", a, key=key), side("b", b, start=1.0, key=key), [FailIf.parse(gate)], **options)
    return found.verdict, found.answer


ERRORS = Key("c", "fault", "error_rate")
RATE = Key("c", "fault", "throughput")
STEADY = [0.100, 0.101, 0.099, 0.100, 0.1005]


@pytest.mark.parametrize(
    ("a", "b", "gate", "key", "verdict"),
    [
        (STEADY, [v * 1.3 for v in STEADY], "p95 +10%", P95, Verdict.REFUTED),
        (STEADY, STEADY, "p95 +10%", P95, Verdict.SUPPORTED),
        (STEADY, [v * 0.7 for v in STEADY], "p95 +10%", P95, Verdict.SUPPORTED),
        (STEADY, [v * 1.10 for v in STEADY], "p95 +10%", P95, Verdict.INCONCLUSIVE),
        (STEADY, [v + 0.02 for v in STEADY], "p95 of checkout in fault +10ms", P95, Verdict.REFUTED),
        (STEADY, [v + 0.002 for v in STEADY], "p95 of checkout in fault +10ms", P95, Verdict.SUPPORTED),
        ([0.0] * 5, [0.03, 0.031, 0.03, 0.029, 0.03], "error_rate +1%", ERRORS, Verdict.REFUTED),
        ([80.0] * 5, [70.0, 71.0, 70.5, 69.0, 70.0], "throughput -5%", RATE, Verdict.REFUTED),
        ([80.0] * 5, [79.0, 79.1, 79.0, 78.9, 79.0], "throughput -5%", RATE, Verdict.SUPPORTED),
        (STEADY, [math.inf] * 5, "p95 +10%", P95, Verdict.REFUTED),
        (STEADY, [math.inf, *STEADY[1:]], "p95 +10%", P95, Verdict.INCONCLUSIVE),
        (STEADY, STEADY, "p95 of nobody +10%", P95, Verdict.INCONCLUSIVE),
    ],
    ids=["worse", "the same", "better", "on the line", "absolute worse", "absolute fine", "errors", "slower",
         "slower, a little", "never succeeds", "once never", "about nothing"],
)  # fmt: skip
def test_gates_good_and_bad(a, b, gate, key, verdict):
    assert judged(a, b, gate, key=key)[0] is verdict


def test_fewer_than_five_runs_a_side_cannot_tell_however_clear_it_seems():
    verdict, because = judged([0.1] * 4, [0.9] * 5)
    assert verdict is Verdict.INCONCLUSIVE
    assert "4 runs a side cannot tell; it takes at least 5" in because


def test_sides_that_were_not_run_in_turns_cannot_tell_unless_that_is_accepted():
    a, b = side("a", STEADY), side("b", [v * 2 for v in STEADY], start=100.0)
    gate = [FailIf.parse("p95 +10%")]
    assert not interleaved(a, b)
    assert compare(a, b, gate).verdict is Verdict.INCONCLUSIVE
    assert compare(a, b, gate, accept_order=True).verdict is Verdict.REFUTED


def test_identical_runs_rarely_raise_an_alarm():
    roll = random.Random(4)
    alarms = sum(
        judged([roll.gauss(0.1, 0.012) for _ in range(5)], [roll.gauss(0.1, 0.012) for _ in range(5)])[0]
        is Verdict.REFUTED
        for _ in range(200)
    )
    assert alarms <= 8  # one run a side against a bare +10% would have fired some fifty times


def test_several_gates_are_each_asked_more_strictly():
    a, b = side("a", STEADY), side("b", [v * 1.2 for v in STEADY], start=1.0)
    one = compare(a, b, [FailIf.parse("p95 +10%")]).differences[0].interval
    two = compare(a, b, [FailIf.parse("p95 +10%"), FailIf.parse("p95 +50%")]).differences[0].interval
    assert two[0] < one[0] <= one[1] < two[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p95", "is no gate"),
        ("p95 10%", "is no gate"),
        ("p42 +10%", "no measure"),
        ("p95 -10%", "would fail on an improvement"),
        ("throughput +5%", "would fail on an improvement"),
        ("p95 +10", "expected what to add"),
        ("throughput -10", "expected a rate"),
        ("error_rate +200%", "at most 100%"),
        ("p95 +nan%", "is no gate"),
        ("p95 +inf%", "is no gate"),
        ("p95 +abc%", "is no gate"),
        ("p95 +-10%", "is no gate"),
        ("p95 ++10%", "is no gate"),
        ("p95 +1_0%", "expected what to add"),
        (f"p95 +{'9' * 400}%", "finite"),
        (f"throughput -{'9' * 400}/s", "finite"),
        ("p95 in faul +10%", "no phase 'faul'"),
        ("p95 of checkout in faul +10%", "no phase 'faul'"),
        ("p95 in warmup +10%", "no phase 'warmup'"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        FailIf.parse(text)


@pytest.mark.parametrize(
    ("text", "of", "phase", "most"),
    [
        ("p95 +10%", "", "", 0.1),
        ("p95+10%", "", "", 0.1),
        ("p95 of checkout+.5%", "checkout", "", 0.005),
        ("p95 of GET /cart +10%", "GET /cart", "", 0.1),
        ("p95 of GET /cart in fault + 10%", "GET /cart", "fault", 0.1),
        ("p95 of add-to-cart v-2 +50ms", "add-to-cart v-2", "", 0.05),
        ("p95 of sign in +10%", "sign in", "", 0.1),
        ("p95 of sign in desk +10%", "sign in desk", "", 0.1),
        ("p95 of sign in in load +10%", "sign in", "load", 0.1),
        ("throughput of GET /cart -5/s", "GET /cart", "", -5.0),
    ],
)
def test_names_may_hold_spaces_signs_and_the_word_in(text, of, phase, most):
    gate = FailIf.parse(text)
    assert (gate.of, gate.phase, gate.most) == (of, phase, pytest.approx(most))


def test_gates_are_held_against_the_requests_and_phases_that_there_are():
    gates = [FailIf.parse("p95 of chekout +10%")]
    with pytest.raises(UsageError, match="no request 'chekout'") as refused:
        check_gates(gates, ["catalogue", "checkout"])
    assert refused.value.hint == "did you mean 'checkout'?"
    check_gates(gates, [])  # a locustfile's names are known once it ran
    check_gates([FailIf.parse("p95 of checkout in recovery +10%"), FailIf.parse("p95 +10%")], ["checkout"])
    with pytest.raises(UsageError, match="no time is planned") as refused:
        check_gates([FailIf.parse("p95 in recovery +10%")], [], ["baseline", "fault"])
    assert refused.value.hint == "there are: baseline, fault"


def test_runs_of_a_store_are_compared_by_variant(tmp_path):
    sides(tmp_path, 5, broken=True)
    a, b = read_side("shop:a", tmp_path), read_side("shop:b", tmp_path)
    assert (len(a.samples), len(b.samples)) == (5, 5)
    found = compare(a, b, [FailIf.parse("p50 of checkout +10%"), FailIf.parse("p50 of catalogue +10%")])
    assert [one.verdict for one in found.judged] == [Verdict.REFUTED, Verdict.SUPPORTED]
    document = json.loads(comparison_text(found), parse_constant=pytest.fail)
    assert document["verdict"] == "refuted"
    assert {one["measure"] for one in document["differences"]} >= {"p50", "p95", "error_rate", "throughput"}
    page = comparison_html(found)
    assert "Regression" in page
    assert "Both in one picture" in page


def test_several_variants_must_be_told_apart(tmp_path):
    sides(tmp_path, 1)
    with pytest.raises(UsageError, match="several variants: a, b"):
        read_side("shop", tmp_path)


def test_one_run_a_side_has_intervals_from_within_and_no_verdict(tmp_path):
    sides(tmp_path, 1)
    found = compare(read_side("shop:a", tmp_path), read_side("shop:b", tmp_path))
    p95 = next(one for one in found.differences if one.key == P95)
    assert p95.within
    assert p95.interval[0] <= p95.change <= p95.interval[1]
    assert p95.worse is None
    assert "does not tell what differs" in found.answer


def test_latest_means_the_earlier_runs_of_the_same_experiment_and_variant(tmp_path):
    sides(tmp_path, 6)
    one = read_side(str(tmp_path / "shop" / "run-5-b"), tmp_path)
    before = earlier_side(one, tmp_path)
    assert [sample.id for sample in before.samples] == [f"run-{n}-b" for n in range(5)]


def test_a_result_file_is_a_side_without_histories(tmp_path):
    sides(tmp_path, 1)
    file = tmp_path / "main.json"
    document = json.loads((tmp_path / "shop" / "run-0-a" / "result.json").read_text())
    document["runs"][0]["folder"] = "gone"
    file.write_text(json.dumps(document))
    found = compare(read_side(str(file), tmp_path), read_side("shop:b", tmp_path))
    assert "not on this machine" in comparison_html(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "format version"), ('{"format_version": 2, "runs": []}', "format version 2"), ("[", "not a result"),
     ('{"format_version": 1}', "not a result")],
)  # fmt: skip
def test_a_file_that_is_no_result_is_refused_with_a_clear_word(tmp_path, text, said):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_side(str(tmp_path / "x.json"), tmp_path)
