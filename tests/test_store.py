"""Runs are kept in dated folders, found by what people type, and judge the same when read back."""

import json
import math
from pathlib import Path

import msgspec
import pytest

from chaoskit.errors import UsageError
from chaoskit.model.run import Run
from chaoskit.model.verdict import Finding, Verdict
from chaoskit.store import HISTORY, RUN, Store, keep, load_run, read_run, save_run
from chaoskit.testing import HistoryBuilder


def saved(folder: Path) -> Run:
    history = HistoryBuilder().load("checkout", rate=20).fault("latency", on="orders->payments").build()
    run = Run(
        id="x",
        title="t",
        experiment="e.yaml",
        topology=history.topology,
        seed=1,
        started=0.0,
        finished=1.0,
        windows={phase.value: spans for phase, spans in history.windows.items()},
        faults=list(history.faults),
        verdict=Verdict.SUPPORTED,
        as_expected=True,
        folder=str(folder),
    )
    save_run(folder, run)
    lines = [msgspec.json.encode(seen) for seen in history.observations]
    (folder / HISTORY).write_bytes(b"\n".join(lines) + b"\n")
    return run


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("Payments slower!", "protected", 0.0)
    run = saved(folder)
    again, history = load_run(folder)
    assert again == run
    assert history.during("fault").load().requests == 202, "two were in flight when the fault went in"
    assert folder.name == "1970-01-01T00-00-00Z-protected"


def test_what_has_no_end_comes_back_without_end(tmp_path: Path) -> None:
    endless = Finding(
        hypothesis="latency", kind="latency", verdict=Verdict.REFUTED, because="none succeeded", expected="p95 ≤ 1 s",
        measured=math.inf, interval=(0.5, math.inf), unit="s",
    )  # fmt: skip
    run = msgspec.structs.replace(saved(tmp_path), findings=[endless])
    save_run(tmp_path, run)
    assert "Infinity" not in (tmp_path / "run.json").read_text()
    assert read_run(tmp_path) == run


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = store.create("x", None, 0.0), store.create("x", None, 0.0)
    assert first != second


def test_a_run_that_could_not_start_does_not_hide_the_one_before_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = store.create("x", None, 0.0)
    keep(saved(good), load_run(good)[1], ())
    store.create("x", None, 1.0)
    assert store.find("x") == (tmp_path / "x" / "latest").resolve() == good.resolve()


def test_runs_are_found_by_what_people_type(tmp_path: Path) -> None:
    store = Store(tmp_path)
    folder = store.create("payments", None, 0.0)
    keep(saved(folder), load_run(folder)[1], ())
    for text in (str(folder), "latest", "payments", "experiments/payments.yaml", folder.name, str(folder / RUN)):
        assert store.find(text) == folder.resolve() or store.find(text) == folder
    with pytest.raises(UsageError, match="no run 'nothing'"):
        store.find("nothing")


def test_a_run_of_another_format_is_refused_with_a_clear_word(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x", None, 0.0)
    saved(folder)
    data = json.loads((folder / RUN).read_text())
    data["format_version"] = 99
    (folder / RUN).write_text(json.dumps(data))
    with pytest.raises(UsageError, match="format version 99"):
        load_run(folder)


def test_a_half_written_history_is_refused(tmp_path: Path) -> None:
    folder = Store(tmp_path).create("x", None, 0.0)
    saved(folder)
    data = (folder / HISTORY).read_bytes()
    (folder / HISTORY).write_bytes(data[: len(data) - 20])
    with pytest.raises(UsageError, match="not a run"):
        load_run(folder)
