"""Ending runs of other processes: one that listens, one that is stopped, one that is deaf, one that is over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaoskit import stopping
from chaoskit.errors import UsageError
from chaoskit.journal import journals
from chaoskit.processes import identify, running
from chaoskit.stopping import stop_runs

pytestmark = pytest.mark.live

HARNESS = Path(__file__).parent / "harness.py"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal = lambda *_: None; "


class Going:
    """A harness that goes on, with a service that would sleep for long."""

    def __init__(self, run: str, *words: str, deaf: bool = False) -> None:
        self.run = run
        code = f"{DEAF if deaf else ''}import runpy, sys; sys.argv[0] = {str(HARNESS)!r};"
        code += f" runpy.run_path({str(HARNESS)!r}, run_name='__main__')"
        argv = [sys.executable, "-c", code, run, *words, "sleep 300"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        found = [identify(pid) for pid in [said["guardian"], *said["children"]]]
        self.launched = [process for process in found if process is not None]
        assert len(self.launched) == 2

    def gone(self) -> bool:
        return not any(running(process) for process in self.launched)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def going(request: pytest.FixtureRequest) -> Iterator[type[Going]]:
    made: list[Going] = []

    class Kept(Going):
        def __init__(self, run: str, *words: str, deaf: bool = False) -> None:
            super().__init__(f"{run}-{os.getpid()}", *words, deaf=deaf)
            made.append(self)

    yield Kept
    for one in made:
        one.close()


def test_all_runs_are_asked_and_gone_when_it_returns(going: type[Going], tmp_path: Path) -> None:
    one, other = going("one", f"folder={tmp_path / 'data'}"), going("other")
    done = stop_runs()
    assert {stopped.run for stopped in done} == {one.run, other.run}
    assert all(stopped.clean and stopped.was_on and stopped.how == "asked" for stopped in done)
    assert one.gone() and other.gone()
    assert not (tmp_path / "data").exists()
    assert not list(journals())


def test_one_can_be_named_and_the_others_go_on(going: type[Going]) -> None:
    one, other = going("one"), going("other")
    assert [stopped.run for stopped in stop_runs([one.run])] == [one.run]
    assert one.gone() and not other.gone()


def test_a_name_that_is_none_ends_nothing(going: type[Going]) -> None:
    one = going("one")
    with pytest.raises(UsageError, match="no run 'another'"):
        stop_runs([one.run, "another"])
    assert not one.gone()


def test_one_that_is_frozen_hears_it_too(going: type[Going]) -> None:
    one = going("one")
    os.kill(one.process.pid, signal.SIGSTOP)
    (stopped,) = stop_runs()
    assert stopped.clean and stopped.how == "asked"
    assert one.gone()


def test_for_one_that_does_not_listen_its_guardian_takes_over(
    going: type[Going], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_ASKED", 0.5)
    one = going("one", deaf=True)
    told: list[str] = []
    (stopped,) = stop_runs(tell=told.append)
    assert stopped.clean and stopped.how == "by its guardian"
    assert one.gone()
    assert told == [f"{one.run} does not answer: its guardian takes over"]


def test_what_a_killed_run_left_is_recovered(going: type[Going], tmp_path: Path) -> None:
    one = going("one", f"folder={tmp_path / 'data'}")
    os.kill(one.launched[0].pid, signal.SIGSTOP)
    one.process.kill()
    one.process.wait()
    os.kill(one.launched[0].pid, signal.SIGKILL)
    (stopped,) = stop_runs()
    assert stopped.clean
    assert one.gone() and not (tmp_path / "data").exists()
