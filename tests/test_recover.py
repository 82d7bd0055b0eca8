"""Recovery: from the journal alone, in the right order, as often as one likes, and never stopped by one failure."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaoskit import recover as recovery
from chaoskit import registry
from chaoskit.errors import UndoError, UsageError
from chaoskit.journal import Journal, read, runs_folder
from chaoskit.model.undo import Undo
from chaoskit.processes import RUN_MARK, identify, running
from chaoskit.recover import recover, recover_all

pytestmark = pytest.mark.live  # the same run ids in two workers at once would end each other's processes


class Owners:
    """Owners that write down what they were asked, beside a process that must end in between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.order: list[str] = []
        self.fails: set[str] = set()
        monkeypatch.setattr(recovery, "undo_owner", self.find)

    def find(self, kind: str) -> Any:
        owners = self

        class Owner:
            after_processes = kind == "folder"

            @classmethod
            def apply_undo(cls, undo: Undo, system: object) -> None:
                assert system is None
                owners.order.append(undo.id)
                if undo.id in owners.fails:
                    raise UndoError("it will not go")

        return None if kind == "unknown" else Owner


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    return Owners(monkeypatch)


@pytest.fixture
def left(owners: Owners) -> Iterator[Journal]:
    """The journal of a run whose harness is through with it."""
    journal = Journal.create("run-1", label="a question")
    for name, owner in (("data", "folder"), ("first", "fault"), ("second", "fault")):
        journal.will_undo(Undo(id=name, owner=owner, args={}))
    journal.end()
    yield journal
    journal.close()


def marked_process(run: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "300"], env={**os.environ, RUN_MARK: run})


def test_faults_come_out_last_in_first_then_processes_then_folders(left: Journal, owners: Owners) -> None:
    child = subprocess.Popen(["sleep", "300"])
    me = identify(child.pid)
    assert me is not None
    left._append({"type": "process", "child": 1, "name": "web", "pid": me.pid, "started": me.started, "signal": 15})
    seen = {}
    find = owners.find

    def watched(kind: str) -> Any:
        owner = find(kind)
        apply = owner.apply_undo

        def note(undo: Undo, system: object) -> None:
            seen[undo.id] = running(me)
            apply(undo, system)

        owner.apply_undo = note
        return owner

    owners.find = watched  # type: ignore[method-assign]  # to look at the process at each undo
    recovery.undo_owner = watched
    done = recover("run-1")
    assert owners.order == ["second", "first", "data"]
    assert seen == {"second": True, "first": True, "data": False}
    assert done.ended == ["web"]
    assert done.clean
    assert child.wait() == -signal.SIGTERM
    assert list(runs_folder().iterdir()) == []


def test_one_failure_keeps_nothing_else_in_place_and_is_told(left: Journal, owners: Owners) -> None:
    owners.fails = {"second"}
    left.will_undo(Undo(id="strange", owner="unknown", args={}))
    done = recover("run-1")
    assert owners.order == ["second", "first", "data"]
    assert {undo.id: because for undo, because in done.left} == {
        "second": "it will not go",
        "strange": "nothing here knows how to undo 'unknown'",
    }
    assert not done.clean
    assert [undo.id for undo in read("run-1").undos] == ["second", "strange"], "the rest stays for the next time"
    owners.fails = set()
    owners.order.clear()
    assert [undo.id for undo, _ in recover("run-1").left] == ["strange"]
    assert owners.order == ["second"]


def test_whatever_bears_the_mark_is_ended_and_nothing_else(left: Journal) -> None:
    ours, others = marked_process("run-1"), marked_process("run-10")
    time.sleep(0.1)
    try:
        assert recover("run-1").clean
        assert ours.wait(5) == -signal.SIGKILL
        assert others.poll() is None
    finally:
        for child in (ours, others):
            child.kill()
            child.wait()


def test_a_pid_that_belongs_to_another_process_by_now_is_left_alone(left: Journal) -> None:
    other = subprocess.Popen(["sleep", "300"])
    try:
        left._append({"type": "process", "child": 1, "name": "web", "pid": other.pid, "started": "1", "signal": 15})
        done = recover("run-1")
        assert done.clean and done.ended == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_processes_of_another_boot_are_gone_but_its_faults_may_not_be(
    left: Journal, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = marked_process("run-1")
    try:
        for module in ("chaoskit.journal", "chaoskit.processes"):
            monkeypatch.setattr(f"{module}.boot_id", lambda: "another boot")
        assert recover("run-1").clean
        assert owners.order == ["second", "first", "data"]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_all_that_is_over_is_recovered_and_refused_journals_are_not(left: Journal, owners: Owners) -> None:
    refused = Journal.create("run-2")
    refused.will_undo(Undo(id="foreign", owner="fault", args={}))
    refused.end()
    refused.path.chmod(0o666)
    assert [done.run for done in recover_all()] == ["run-1"]
    assert "foreign" not in owners.order
    assert refused.path.exists()
    with pytest.raises(UsageError, match="refused"):
        recover("run-2")
    assert recover_all() == []


def test_a_run_without_a_journal_is_told() -> None:
    with pytest.raises(UsageError, match="no journal of run 'nothing'"):
        recover("nothing")


def test_two_that_recover_at_once_undo_everything_once(left: Journal, owners: Owners) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: recover_all(), range(4)))
    assert all(one.clean for some in done for one in some)
    assert owners.order == ["second", "first", "data"]


def test_a_broken_module_keeps_only_its_own_undos_from_being_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "aaa_broken.py").write_text("import no_such_module_at_all")
    import chaoskit.deployers

    monkeypatch.setattr(chaoskit.deployers, "__path__", [*chaoskit.deployers.__path__, str(tmp_path)])
    with pytest.raises(ModuleNotFoundError):
        registry._collect("deployers", "UndoOwner")
    found = registry.undo_owner("deployer.folder")
    assert found is not None and found.kind == "deployer.folder"
    assert registry.undo_owner("nobody.knows") is None
