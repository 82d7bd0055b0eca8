"""The guardian: nothing is left behind, however the harness, the guardian or a service ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from chaoskit.errors import CouldNotRun, DeployError
from chaoskit.guardian_client import GuardedChild, Guardian
from chaoskit.interfaces import LaunchSpec
from chaoskit.journal import journals, read, runs_folder
from chaoskit.model.undo import Undo
from chaoskit.processes import CHILD_MARK, RUN_MARK, ProcessId, descendants, identify, marked, running, table
from chaoskit.recover import recover, recover_all

ENV = {"PATH": "/usr/bin:/bin"}
DAEMON = "(setsid sh -c 'sleep 300 & wait' >/dev/null 2>&1 &); sleep 300"
BARE_DAEMON = "(env -i setsid sleep 301 &); sleep 300"
STUBBORN = "trap '' TERM INT; while :; do sleep 0.1; done"

pytestmark = pytest.mark.live  # the same run ids in two workers at once would end each other's processes


def wait_for(what: Callable[[], bool], patience: float = 15.0) -> None:
    until = time.monotonic() + patience
    while not what():
        assert time.monotonic() < until, f"waited for {patience:g} s"
        time.sleep(0.02)


def spec(script: str, name: str = "service", **more: object) -> LaunchSpec:
    return LaunchSpec(name=name, argv=("sh", "-c", script), env=ENV, **more)  # type: ignore[arg-type]  # by name


def of(pid: int) -> ProcessId:
    found = identify(pid)
    assert found is not None
    return found


def below(pid: int) -> set[ProcessId]:
    rows = table()
    return {ProcessId(p, rows[p].started, of(pid).boot) for p in descendants(rows, pid)}


# ------------------------------------------------------------------------------------------------- a run goes well


def test_a_clean_end_leaves_no_process_and_no_journal() -> None:
    with Guardian("run-1") as guardian:
        everything = {of(guardian.pid)}
        for script in ("sleep 300", DAEMON, BARE_DAEMON, STUBBORN):
            guardian.launch(spec(script, stop_grace=0.3))
        wait_for(lambda: len(below(guardian.pid)) >= 8)
        everything |= below(guardian.pid)
    assert not [process for process in everything if running(process)]
    assert guardian.left == []
    assert list(runs_folder().iterdir()) == []


def test_a_process_starts_only_when_the_journal_knows_it() -> None:
    with Guardian("run-1") as guardian:
        child = guardian.launch(spec("sleep 300"))
        (known,) = read("run-1").processes
        assert (known.name, known.process) == ("service", of(child.pid))


def test_a_process_whose_journal_cannot_be_written_never_starts(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    code = Path(__file__).parent.parent / "chaoskit" / "guardian.py"
    proof = tmp_path / "started"
    script = f"""
import socket, subprocess, json, os, sys
ours, theirs = socket.socketpair()
child = subprocess.Popen([sys.executable, "-c", '''
import sys
sys.path.insert(0, {str(code.parent.parent)!r})
import chaoskit.guardian as g
import os
def append(self, record, *, sync=True):
    if record["type"] == "process":
        raise OSError(28, os.strerror(28))
g.Guardian._append = append
g.main()
''', "run", {str(tmp_path / "run.journal")!r}, str(os.getpid()), str(theirs.fileno()), "true"],
    pass_fds=[theirs.fileno()])
theirs.close()
lines = ours.makefile("r")
lines.readline()
ask = {{"op": "launch", "n": 1, "name": "x", "argv": ["touch", {str(proof)!r}], "env": {{"PATH": os.environ["PATH"]}},
        "cwd": "/", "log": "", "user": "", "stop_signal": 15, "grace": 1, "order": 0}}
ours.sendall(json.dumps(ask).encode() + b"\\n")
print(lines.readline())
lines.close()
ours.close()
child.wait()
"""
    (tmp_path / "run.journal").touch()
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "the journal cannot be written: No space left on device" in json.loads(said)["error"]
    assert not proof.exists()


def test_children_bear_the_marks_and_default_signals() -> None:
    with Guardian("run-1") as guardian:
        child = guardian.launch(spec("exec sleep 300"))
        wait_for(lambda: Path(f"/proc/{child.pid}/comm").read_text() == "sleep\n")
        pids = [child.pid]
        wait_for(lambda: bool(marked(CHILD_MARK, "run-1/1", pids)) and bool(marked(RUN_MARK, "run-1", pids)))

        # 32 and 33 are the C library's own: no program can set them, and what make starts (posix_spawn) ignores them.
        settable = sum(1 << (number - 1) for number in signal.valid_signals())

        def unsettled() -> dict[str, int]:
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            told = dict(line.split(":\t", 1) for line in lines)
            return {key: found for key in ("SigIgn", "SigBlk") if (found := int(told[key], 16) & settable)}

        wait_for(lambda: not unsettled())  # its name is there before its signals are
        assert os.getsid(child.pid) == child.pid != os.getsid(0)
        assert sorted(path.name for path in Path(f"/proc/{child.pid}/fd").iterdir()) == ["0", "1", "2"]


def test_output_folder_and_environment_are_as_asked(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "service.log"
    with Guardian("run-1") as guardian:
        for _ in range(2):
            asked = LaunchSpec(
                name="service",
                argv=("sh", "-c", 'echo "$WORD in $PWD"; echo trouble >&2; cat; exit 7'),
                env={**ENV, "WORD": "hello"},
                cwd=str(tmp_path),
                log=str(log),
            )
            assert guardian.launch(asked).wait(10) == 7
    assert log.read_text() == f"hello in {tmp_path}\ntrouble\n" * 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_runs_as_the_user_that_is_named() -> None:
    with Guardian("run-1") as guardian:
        child = guardian.launch(LaunchSpec(name="x", argv=("sleep", "300"), env=ENV, cwd="/", user="nobody"))
        assert Path(f"/proc/{child.pid}").stat().st_uid == 65534
        with pytest.raises(DeployError, match=r"not found"):
            guardian.launch(LaunchSpec(name="x", argv=("sleep", "300"), env=ENV, user="nobody-there-is"))


@pytest.mark.parametrize(
    ("argv", "cwd", "said"),
    [
        (("there-is-no-such-program",), "/", "no such program: 'there-is"),
        (("/etc/passwd",), "/", "Permission denied"),
        (("true",), "/no/such/folder", "No such file"),
    ],
)
def test_what_cannot_be_started_says_why(argv: tuple[str, ...], cwd: str, said: str) -> None:
    with Guardian("run-1") as guardian:
        with pytest.raises(DeployError, match=said):
            guardian.launch(LaunchSpec(name="x", argv=argv, env=ENV, cwd=cwd))
        assert guardian.launch(spec("exit 3")).wait(10) == 3, "and the guardian goes on"


def test_exits_are_told_as_they_happen() -> None:
    seen: list[tuple[str, int]] = []
    with Guardian("run-1", on_exit=lambda child, status: seen.append((child.name, status))) as guardian:
        child = guardian.launch(spec("exit 3"))
        assert child.wait(10) == 3
        assert child.exited_at is not None
        assert abs(child.exited_at - time.monotonic()) < 10
        other = guardian.launch(spec("sleep 300", name="other"))
        assert other.poll() is None
        other.signal(signal.SIGKILL)
        assert other.wait(10) == -signal.SIGKILL
        other.signal(signal.SIGTERM)  # of a process that is gone: no error
        wait_for(lambda: len(seen) == 2)
    assert seen == [("service", 3), ("other", -signal.SIGKILL)]


def test_a_signal_reaches_the_whole_tree_or_the_process_alone() -> None:
    with Guardian("run-1") as guardian:
        child = guardian.launch(spec("(setsid sleep 300 &); sleep 300 & sleep 300"))
        wait_for(lambda: len(below(guardian.pid)) == 4)
        child.signal(signal.SIGSTOP, tree=False)
        wait_for(lambda: sum(table()[p.pid].state == "T" for p in below(guardian.pid)) == 1)
        child.signal(signal.SIGSTOP)
        wait_for(lambda: sum(table()[p.pid].state == "T" for p in below(guardian.pid)) == 4)
        child.signal(signal.SIGCONT)
        wait_for(lambda: sum(table()[p.pid].state == "T" for p in below(guardian.pid)) == 0)


def test_a_stop_takes_the_whole_tree_and_nothing_else() -> None:
    with Guardian("run-1") as guardian:
        other = guardian.launch(spec(DAEMON, name="other"))
        wait_for(lambda: len(below(guardian.pid)) == 4)
        others = below(guardian.pid)
        child = guardian.launch(spec(BARE_DAEMON.replace("env -i ", "") + " & " + DAEMON))
        wait_for(lambda: len(below(guardian.pid)) >= 9)
        child.stop()
        assert below(guardian.pid) == others
        assert other.poll() is None
        child.stop()  # again: no error


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has set a handler of its own (a shell takes a while to come to its `trap`)."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(line.split()[1], 16) & 1 << (number - 1))


def test_processes_are_stopped_in_their_order(tmp_path: Path) -> None:
    said = tmp_path / "said"
    with Guardian("run-1") as guardian:
        for order in (30, 0, 20):
            script = f"trap 'sleep 0.1; echo {order} >> {said}; exit' TERM; while :; do sleep 0.02; done"
            child = guardian.launch(spec(script, name=f"o{order}", stop_order=order))
            wait_for(lambda child=child: catches(child.pid, signal.SIGTERM))  # type: ignore[misc]  # bound now
    assert said.read_text().split() == ["0", "20", "30"]


def test_the_stop_signal_is_the_one_that_was_asked_for() -> None:
    with Guardian("run-1") as guardian:
        child = guardian.launch(spec("trap 'exit 42' QUIT; while :; do sleep 0.05; done", stop_signal="SIGQUIT"))
        wait_for(lambda: catches(child.pid, signal.SIGQUIT))
        child.stop()
        assert child.poll() == 42


def test_what_is_not_undone_at_a_clean_end_is_undone_by_recover(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Guardian("run-1") as guardian:
        guardian.will_undo(Undo(id="folder", owner="deployer.folder", args={"folder": str(folder)}))
        folder.mkdir()
    assert guardian.left == []
    assert not folder.exists()


def test_what_nobody_can_undo_is_told_and_stays_in_the_journal() -> None:
    with Guardian("run-1") as guardian:
        guardian.will_undo(Undo(id="x", owner="nobody.knows", args={}))
    assert guardian.left == ["x"]
    assert [undo.id for undo in read("run-1").undos] == ["x"]
    assert [done.left[0][0].id for done in recover_all()] == ["x"], "also when asked again"


# ------------------------------------------------------------------------------------------- somebody dies or hangs


class Harness:
    """A process with a guardian, to do harm to."""

    def __init__(self, *words: str, run: str = "killed") -> None:
        code = Path(__file__).with_name("harness.py")
        self.process = subprocess.Popen(
            [sys.executable, str(code), run, *words], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.run = run
        self.guardian: ProcessId | None = None
        self.everything: set[ProcessId] = set()

    @property
    def output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    def ready(self, processes: int) -> None:
        """Until it runs so many processes under its guardian."""
        said = json.loads(self.output.readline())
        self.guardian = of(said["guardian"])
        wait_for(lambda: len(below(said["guardian"])) >= processes)
        self.everything = below(said["guardian"])

    def left(self) -> list[ProcessId]:
        found = [process for process in self.everything if running(process)]
        found += [it for pid in marked(RUN_MARK, self.run, table()) if (it := identify(pid)) is not None]
        if self.guardian is not None and running(self.guardian):
            found.append(self.guardian)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.output.close()
        wait_for(lambda: not self.left())


@pytest.fixture
def harness() -> Iterator[Callable[..., Harness]]:
    made: list[Harness] = []

    def make(*words: str, run: str = "killed") -> Harness:
        made.append(Harness(*words, run=run))
        return made[-1]

    yield make
    for each in made:
        if each.guardian is not None and running(each.guardian):
            os.kill(each.guardian.pid, signal.SIGCONT)
        each.process.send_signal(signal.SIGCONT)
        each.process.kill()
        each.process.wait()
        recover_all()
        each.close()


def test_sigkill_of_the_harness_leaves_nothing(harness: Callable[..., Harness], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    victim = harness(f"folder={folder}", "sleep 300", DAEMON, BARE_DAEMON, STUBBORN)
    victim.ready(9)
    assert folder.exists()
    victim.process.kill()
    killed = time.monotonic()
    wait_for(lambda: not victim.left(), 15.0)
    assert time.monotonic() - killed < 10.0
    assert not folder.exists()
    assert list(runs_folder().iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_harness_ends_all_in_order(harness: Callable[..., Harness], number: signal.Signals) -> None:
    victim = harness("sleep 300", DAEMON)
    victim.ready(5)
    victim.process.send_signal(number)
    assert victim.process.wait(10) == 0
    assert not victim.left()
    assert list(runs_folder().iterdir()) == []


def test_a_terminals_interrupt_reaches_the_harness_alone(harness: Callable[..., Harness]) -> None:
    victim = harness("sleep 300")
    victim.ready(2)
    assert victim.guardian is not None
    group = os.getpgid(victim.process.pid)
    assert not [p for p in (victim.guardian, *victim.everything) if os.getpgid(p.pid) == group]
    os.killpg(group, signal.SIGINT)
    assert victim.process.wait(10) == 0
    assert not victim.left()


def test_a_harness_that_dies_at_any_instant_leaves_nothing(harness: Callable[..., Harness]) -> None:
    chance = random.Random(7)
    victims = []
    for number in range(6):
        victim = harness("sleep 300", DAEMON, run=f"killed-{number}")
        time.sleep(chance.uniform(0.0, 0.6))
        victim.process.kill()
        victims.append(victim)
    for victim in victims:
        victim.process.wait()
        wait_for(lambda victim=victim: not victim.left())  # type: ignore[misc]  # bound now
    wait_for(lambda: not [left for left in journals() if left.in_progress])
    recover_all()  # of those that died before they had a guardian
    assert list(journals()) == []


def test_a_hang_past_a_due_time_is_undone(harness: Callable[..., Harness]) -> None:
    victim = harness("pause", "due=0.5", "exec sleep 300", run="hung")
    victim.ready(1)
    victim.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not victim.left())
    victim.process.send_signal(signal.SIGCONT)
    assert "pause is overdue" in json.loads(victim.output.readline())["lost"]
    assert json.loads(victim.output.readline()) == {"left": []}
    assert victim.process.wait(10) == 0
    assert list(runs_folder().iterdir()) == []


def test_a_harness_that_is_frozen_without_a_due_time_keeps_its_run(harness: Callable[..., Harness]) -> None:
    victim = harness("sleep 300")
    victim.ready(2)
    victim.process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    assert all(running(process) for process in victim.everything)


def test_a_due_time_that_is_kept_is_no_hang() -> None:
    with Guardian("run-1") as guardian:
        child = guardian.launch(spec("sleep 300"))
        guardian.will_undo(Undo(id="x", owner="process.kill", args={}, due=time.monotonic() + 0.2))
        guardian.undone("x")
        guardian.will_undo(Undo(id="y", owner="process.kill", args={}, due=time.monotonic() + 0.2))
        time.sleep(2.5)
        assert guardian.alive(), "late, but not stopped"
        assert child.poll() is None
        guardian.undone("y")


def test_the_death_of_the_guardian_is_noticed_and_made_good(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    guardian = Guardian("run-1")
    guardian.start()
    child = guardian.launch(spec(DAEMON))
    wait_for(lambda: len(below(guardian.pid)) == 4)
    everything = below(guardian.pid)
    guardian.will_undo(Undo(id="folder", owner="deployer.folder", args={"folder": str(folder)}))
    folder.mkdir()
    os.kill(guardian.pid, signal.SIGKILL)
    wait_for(lambda: not guardian.alive())
    assert "died" in guardian.lost
    assert child.wait(10) == -signal.SIGKILL, "what it launched goes with it"
    with pytest.raises(CouldNotRun, match="died"):
        guardian.launch(spec("sleep 300"))
    guardian.close()
    assert not [process for process in everything if running(process)]
    assert not folder.exists()
    assert list(runs_folder().iterdir()) == []


def test_a_guardian_that_is_told_to_end_undoes_and_says_so() -> None:
    guardian = Guardian("run-1")
    guardian.start()
    guardian.launch(spec("sleep 300"))
    everything = below(guardian.pid)
    os.kill(guardian.pid, signal.SIGTERM)
    wait_for(lambda: not guardian.alive())
    assert "told to end" in guardian.lost
    guardian.close()
    assert not [process for process in everything if running(process)]


def test_both_killed_leave_what_recover_ends(harness: Callable[..., Harness], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    victim = harness(f"folder={folder}", "pause", "exec sleep 300", DAEMON, BARE_DAEMON)
    victim.ready(7)
    assert victim.guardian is not None
    # Once a second, the guardian writes down what has shed every mark.
    wait_for(lambda: "(descendant)" in [item.name for item in read("killed").processes])
    victim.process.send_signal(signal.SIGSTOP)
    os.kill(victim.guardian.pid, signal.SIGKILL)
    victim.process.kill()
    victim.process.wait()
    dead = victim.guardian
    wait_for(lambda: not running(dead))
    (done,) = recover_all()
    assert done.clean, done
    assert {undo.id for undo in done.undone} == {"folder", "pause"}
    assert not victim.left()
    assert not folder.exists()
    assert recover_all() == [], "and a second time there is nothing to do"


def test_a_run_in_progress_is_not_recovered(harness: Callable[..., Harness]) -> None:
    victim = harness("sleep 300")
    victim.ready(2)
    assert [done.in_progress for done in recover_all()] == [True]
    with pytest.raises(Exception, match="still going on"):
        recover("killed")
    assert all(running(process) for process in victim.everything)


def test_a_guardian_without_site_packages_starts_on_three_files() -> None:
    code = Path(__file__).parent.parent / "chaoskit" / "guardian.py"
    script = f"""
import sys, runpy
sys.argv = ["guardian.py"]
try:
    runpy.run_path({str(code)!r}, run_name="__main__")
except ValueError:
    pass
print(sorted(name for name in sys.modules if name.startswith("chaoskit")))
print(any("site-packages" in (getattr(m, "__file__", None) or "") for m in sys.modules.values()))
"""
    said = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    ours, foreign = said.stdout.splitlines()
    assert ours == str(["chaoskit", "chaoskit.processes", "chaoskit.spawning"])
    assert foreign == "False"


def test_a_guardian_that_cannot_start_leaves_no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CouldNotRun, match="the guardian died"):
        Guardian("run-1").start()
    assert list(runs_folder().iterdir()) == []


def test_many_threads_may_launch_and_stop_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Guardian("run-1") as guardian:

        def one(number: int) -> GuardedChild:
            child = guardian.launch(spec("sleep 300", name=f"s{number}"))
            child.stop()
            return child

        with ThreadPoolExecutor(8) as pool:
            children = list(pool.map(one, range(24)))
    assert {child.poll() for child in children} == {-signal.SIGTERM}
    assert len({child.pid for child in children}) == 24
