"""The safety lever: who, when and why; whoever put it there; and that an interrupt hears it."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path

import pytest

from chaoskit.errors import CouldNotRun, Exit
from chaoskit.interrupt import Interrupt, Interrupted
from chaoskit.lever import lever_file, lift, pull, pulled, refuse_if_pulled


def test_it_is_not_pulled_until_somebody_does(state_folder: Path) -> None:
    assert pulled() is None
    refuse_if_pulled()
    assert lift() is None


def test_it_says_who_when_and_why_and_what_to_do(state_folder: Path) -> None:
    found = pull("payments\n  are down")
    assert found.because == "payments are down"
    assert "@" in found.who and found.when
    assert stat.S_IMODE(lever_file().stat().st_mode) == 0o600
    with pytest.raises(CouldNotRun, match="payments are down") as caught:
        refuse_if_pulled()
    assert caught.value.exit_code is Exit.COULD_NOT_RUN
    assert "chaoskit stop --lift" in caught.value.hint
    assert str(lever_file()) in caught.value.hint


def test_the_first_reason_stays(state_folder: Path) -> None:
    pull("the first")
    assert pull("the second").because == "the first"


def test_lifted_it_forbids_nothing(state_folder: Path) -> None:
    pull("for a moment")
    lifted = lift()
    assert lifted is not None and lifted.because == "for a moment"
    refuse_if_pulled()


@pytest.mark.parametrize("content", [b"", b"because", b"\xff\xfe\x00", b"because: \x1b[31mred\n" + b"x" * 100_000])
def test_a_file_put_there_by_hand_forbids_whatever_is_in_it(state_folder: Path, content: bytes) -> None:
    lever_file().write_bytes(content)
    found = pulled()
    assert found is not None and found.when
    assert "\x1b" not in str(found)
    with pytest.raises(CouldNotRun):
        refuse_if_pulled()


def test_a_folder_of_that_name_forbids_too(state_folder: Path) -> None:
    lever_file().mkdir()
    with pytest.raises(CouldNotRun):
        refuse_if_pulled()


def test_pulled_in_mid_wait_it_ends_the_run(state_folder: Path) -> None:
    with Interrupt() as interrupt:
        threading.Timer(0.1, lambda: pull("enough")).start()
        began = time.monotonic()
        assert interrupt.wait(10.0)
        assert time.monotonic() - began < 3.0
        assert "the safety lever was pulled" in interrupt.because and "enough" in interrupt.because


def test_pulled_in_a_breakable_stretch_it_breaks_it_off(state_folder: Path) -> None:
    with Interrupt() as interrupt:
        threading.Timer(0.1, pull).start()
        with pytest.raises(Interrupted), interrupt.breakable():
            time.sleep(10.0)


def test_it_is_heard_where_signals_are_not_ours(state_folder: Path) -> None:
    heard = []

    def run() -> None:
        with Interrupt() as interrupt:
            heard.append(interrupt.wait(10.0))

    thread = threading.Thread(target=run)
    thread.start()
    pull()
    thread.join(5.0)
    assert heard == [True]


def test_after_the_run_nobody_is_interrupted(state_folder: Path) -> None:
    with Interrupt() as interrupt:
        pass
    pull()
    time.sleep(0.6)
    assert not interrupt.requested
