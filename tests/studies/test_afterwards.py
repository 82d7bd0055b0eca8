"""What is made of a game day: its windows from the faults that went in, its gates, and what it answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaoskit.errors import CouldNotRun
from chaoskit.faults.network import Latency
from chaoskit.model.history import Phase, Span
from chaoskit.model.run import Run
from chaoskit.model.verdict import Gate, Verdict
from chaoskit.registry import kinds
from chaoskit.reporters.answer import answer, exit_code
from chaoskit.store import keep
from chaoskit.studies.afterwards import as_asked, gates_of, windows_of
from chaoskit.testing import HistoryBuilder
from chaoskit.traffic import LoadSpec


@pytest.mark.parametrize(
    ("faults", "end", "expected"),
    [
        pytest.param([], 10.04, {Phase.LOAD: [(0.0, 10.0)]}, id="no fault: one window"),
        pytest.param([], 0.0, {}, id="down at once"),
        pytest.param(
            [(2.03, 5.04)],
            10.0,
            {Phase.BASELINE: [(0.0, 2.0)], Phase.FAULT: [(2.0, 5.1)], Phase.RECOVERY: [(5.1, 10.0)]},
            id="on slot boundaries, all of the fault inside",
        ),
        pytest.param(
            [(2.0, 4.0), (6.0, 7.0)],
            9.0,
            {
                Phase.BASELINE: [(0.0, 2.0)],
                Phase.FAULT: [(2.0, 4.1), (6.0, 7.1)],
                Phase.RECOVERY: [(4.1, 6.0), (7.1, 9.0)],
            },
            id="after each is recovery",
        ),
        pytest.param(
            [(3.0, 8.0), (2.0, 4.0)],
            9.0,
            {Phase.BASELINE: [(0.0, 2.0)], Phase.FAULT: [(2.0, 8.1)], Phase.RECOVERY: [(8.1, 9.0)]},
            id="two at once are one window",
        ),
        pytest.param([(0.0, 9.0)], 9.0, {Phase.FAULT: [(0.0, 9.0)]}, id="in all the time"),
    ],
)
def test_windows(faults: list[Span], end: float, expected: dict[Phase, list[Span]]) -> None:
    found = windows_of(faults, end)
    assert found.keys() == expected.keys()
    for phase, spans in expected.items():
        assert [(round(start, 6), round(stop, 6)) for start, stop in found[phase]] == spans


def built(during: float) -> HistoryBuilder:
    return (
        HistoryBuilder()
        .phases(warmup=0, baseline=6, fault=6, recovery=6)
        .calls("orders->payments", rate=40, took=0.02)
        .calls("orders->payments", "fault", rate=40, took=during)
        .fault("latency", on="orders->payments")
    )


FAULT = Latency(on="orders->payments", add="200ms").model_copy(update={"id": "latency"})


def test_a_fault_that_bit_opens_its_gate_and_one_that_did_not_shuts_it() -> None:
    bit = gates_of("shop", None, [FAULT], built(0.22).build())
    assert {gate.gate for gate in bit} >= {"trace", "parts alive"}
    assert all(gate.open for gate in bit), bit
    (trace,) = [gate for gate in gates_of("shop", None, [FAULT], built(0.02).build()) if gate.gate == "trace"]
    assert not trace.open


def test_only_a_load_of_ours_must_keep_up() -> None:
    spec = LoadSpec.model_validate({"rate": "1/s", "requests": [{"path": "/"}]})
    without = {gate.gate for gate in gates_of("shop", None, [FAULT], built(0.22).build())}
    with_it = {gate.gate for gate in gates_of("shop", spec, [FAULT], built(0.22).build())}
    assert with_it - without >= {"generator", "samples"}


def game_day(folder: Path, **changes: object) -> Run:
    history = built(0.22).build()
    fields: dict[str, object] = {
        "id": "gameday-shop", "title": "Game day on shop", "experiment": "", "source": as_asked("shop", None),
        "topology": history.topology, "seed": 1, "started": 0.0, "finished": 18.0,
        "windows": {phase.value: spans for phase, spans in history.windows.items()}, "faults": list(history.faults),
        "verdict": Verdict.INCONCLUSIVE, "expected": Verdict.INCONCLUSIVE, "as_expected": True, "folder": str(folder),
    }  # fmt: skip
    return Run(**(fields | changes))  # type: ignore[arg-type]  # a table of changes


def test_it_says_that_nothing_was_asked_and_exits_0(tmp_path: Path) -> None:
    run = game_day(tmp_path)
    assert (
        answer(run) == "No question was asked, so there is nothing to judge; 1 fault went in, bit, and came out again."
    )
    assert exit_code(run) == 0


def test_a_shut_gate_is_told_first(tmp_path: Path) -> None:
    shut = Gate(gate="trace", open=False, because="no call crossed orders->payments")
    assert "no call crossed" in answer(game_day(tmp_path, gates=[shut]))


def test_it_is_kept_with_every_report(tmp_path: Path) -> None:
    keep(game_day(tmp_path), built(0.22).build())
    assert {"run.json", "report.html", "result.json", "junit.xml", "summary.md"} <= {p.name for p in tmp_path.iterdir()}
    assert "nothing to judge" in (tmp_path / "report.html").read_text()


def test_a_report_that_cannot_be_written_keeps_no_other_from_being(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def write(self, *_told: object) -> Path:
            raise OSError("no space left")

    there = kinds("reporters")
    monkeypatch.setattr("chaoskit.store.kinds", lambda _folder: {"broken": Broken, **there})
    with pytest.raises(CouldNotRun) as caught:
        keep(game_day(tmp_path), built(0.22).build())
    assert "no space left" in caught.value.detail and "broken" in caught.value.detail
    assert str(tmp_path) in caught.value.hint
    assert {"run.json", "report.html", "junit.xml"} <= {p.name for p in tmp_path.iterdir()}
    keep(game_day(tmp_path), built(0.22).build(), reporters=["html"])  # not asked for, not missed
