"""The journal: what it keeps, what it refuses, and what an interrupted write does to it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from chaoskit import journal
from chaoskit.errors import CouldNotRun, UsageError
from chaoskit.journal import Journal, forget, journals, read, runs_folder
from chaoskit.model.undo import Undo
from chaoskit.processes import identify

UNDO = Undo(id="u1", owner="proxy.toxic", args={"name": "slow", "ports": [1, 2]}, due=12.5, says="remove slow")


def test_an_undo_is_read_back_as_it_was_written() -> None:
    Journal.create("run-1", label="a question").will_undo(UNDO)
    left = read("run-1")
    assert left.undos == [UNDO]
    assert left.label == "a question"
    assert left.this_boot
    assert left.harness == identify(os.getpid())
    assert left.in_progress, "this very process is its harness"


def test_what_is_done_is_not_left_and_may_come_back() -> None:
    with_two = Journal.create("run-1")
    other = Undo(id="u2", owner="x", args={})
    for undo in (UNDO, other):
        with_two.will_undo(undo)
    with_two.done("u1")
    assert read("run-1").undos == [other]
    with_two.will_undo(UNDO)
    assert read("run-1").undos == [other, UNDO], "newest last"
    with_two.done("never announced")
    assert len(read("run-1").undos) == 2


def test_a_journal_and_its_folder_are_for_their_owner_alone() -> None:
    path = Journal.create("run-1").path
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_left_open_is_closed() -> None:
    runs_folder().chmod(0o777)
    assert runs_folder().stat().st_mode & 0o777 == 0o700


def test_a_torn_last_line_is_passed_over_and_spoils_no_other() -> None:
    written = Journal.create("run-1")
    written.will_undo(UNDO)
    with written.path.open("ab") as file:
        file.write(b'\n{"type":"undo","undo":{"id":"torn"')
    written.will_undo(Undo(id="after", owner="x", args={}))
    left = read("run-1")
    assert [undo.id for undo in left.undos] == ["u1", "after"]
    assert left.unreadable == 1


@pytest.mark.parametrize(
    "record",
    [
        {"type": "undo", "undo": {"id": "u", "owner": "x"}},
        {"type": "something new"},
        {"type": "header", "format_version": 99, "label": "", "boot": "b"},
        ["not", "an", "object"],
    ],
)
def test_a_record_that_is_not_understood_is_never_passed_over(record: object) -> None:
    path = Journal.create("run-1").path
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
    with pytest.raises(UsageError):
        read("run-1")
    assert list(journals()) == [], "and it is not acted on"
    assert path.exists(), "nor forgotten"


def test_a_journal_that_others_can_write_is_refused() -> None:
    path = Journal.create("run-1").path
    path.chmod(0o666)
    with pytest.raises(UsageError, match="refused"):
        read("run-1")
    assert list(journals()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_journal_that_somebody_else_wrote_is_refused() -> None:
    path = Journal.create("run-1").path
    os.chown(path, 65534, 65534)
    with pytest.raises(UsageError, match="refused"):
        read("run-1")
    with pytest.raises(UsageError, match="refused"):
        Journal.append_to("run-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else_is_refused() -> None:
    os.chown(runs_folder(), 65534, 65534)
    with pytest.raises(UsageError, match="belongs to user 65534"):
        Journal.create("run-1")


def test_a_link_in_place_of_a_journal_is_refused(tmp_path: Path) -> None:
    real = Journal.create("run-1").path
    elsewhere = tmp_path / "elsewhere"
    real.rename(elsewhere)
    real.symlink_to(elsewhere)
    with pytest.raises(UsageError):
        read("run-1")


@pytest.mark.parametrize("run", ["", "../etc/passwd", "a/b", ".hidden", "a" * 200, "a\n"])
def test_the_id_of_a_run_names_no_path(run: str) -> None:
    with pytest.raises(UsageError, match="not the id of a run"):
        Journal.create(run)


def test_one_run_has_one_journal() -> None:
    Journal.create("run-1")
    with pytest.raises(UsageError, match="already"):
        Journal.create("run-1")


def test_writers_in_many_threads_and_files_lose_no_record() -> None:
    first = Journal.create("run-1")
    writers = [first, Journal.append_to("run-1"), Journal.append_to("run-1")]

    def write(writer: Journal, name: str) -> None:
        for number in range(50):
            writer.will_undo(Undo(id=f"{name}-{number}", owner="x", args={"pad": "y" * 500}))

    threads = [threading.Thread(target=write, args=(w, f"{i}{j}")) for i, w in enumerate(writers) for j in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = read("run-1")
    assert len(left.undos) == 300
    assert left.unreadable == 0


def test_every_record_is_on_disk_when_the_call_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    written = Journal.create("run-1")
    monkeypatch.setattr(journal.os, "fsync", lambda handle: synced.append(written.path.stat().st_size))
    written.will_undo(UNDO)
    assert synced == [written.path.stat().st_size]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_what_cannot_be_written_is_told_before_it_is_made(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    written = Journal.create("run-1")

    def fail(*args: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(journal.os, call, fail)
        with pytest.raises(CouldNotRun, match="no space left on device"):
            written.will_undo(UNDO)
    written.will_undo(Undo(id="later", owner="x", args={}))
    assert "later" in [undo.id for undo in read("run-1").undos]


def test_a_write_that_was_cut_short_is_told_and_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    written = Journal.create("run-1")
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(journal.os, "write", lambda handle, data: write(handle, data[:20]))
        with pytest.raises(CouldNotRun, match="no space left"):
            written.will_undo(UNDO)
    written.will_undo(Undo(id="later", owner="x", args={}))
    assert [undo.id for undo in read("run-1").undos] == ["later"]


def test_a_state_folder_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHAOSKIT_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(CouldNotRun, match="not a directory") as error:
        Journal.create("run-1")
    assert "CHAOSKIT_STATE" in error.value.hint


def test_journals_are_told_oldest_first_and_forgotten_with_their_log() -> None:
    for name in ("b", "a", "c"):
        Journal.create(name).path.with_suffix(".log").touch()
    assert [left.run for left in journals()] == ["b", "a", "c"]
    forget("a")
    forget("a")
    assert sorted(path.name for path in runs_folder().iterdir()) == ["b.journal", "b.log", "c.journal", "c.log"]


def test_another_boot_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    Journal.create("run-1")
    monkeypatch.setattr(journal, "boot_id", lambda: "another")
    monkeypatch.setattr("chaoskit.processes.boot_id", lambda: "another")
    left = read("run-1")
    assert not left.this_boot
    assert not left.in_progress
