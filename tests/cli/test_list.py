"""list, schema, doctor: what there is, as people and machines read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from chaoskit.registry import kinds
from tests.cli.conftest import Said
from tests.experiments import write


def test_it_lists_experiments_targets_and_kinds(chaoskit: Callable[..., Said], here: Path) -> None:
    write(here)
    (here / "broken.yaml").write_text("a: [")
    code, out, _ = chaoskit("list")
    assert code == 0
    for text in ("it.yaml", "Pages come although the api is slow  [calm, hasty]", "tiny", "web, api, db", "latency"):
        assert text in out
    assert "broken.yaml\n      cannot be read" in out


@pytest.mark.parametrize("folder", ["faults", "hypotheses", "probes", "deployers", "backing", "reporters"])
def test_every_kind_is_listed_with_what_it_does(chaoskit: Callable[..., Said], folder: str) -> None:
    _, out, _ = chaoskit("list", folder)
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert set(rows) == set(kinds(folder))
    assert all(len(row.split()) > 2 for row in rows.values())


def test_an_empty_store_is_said(chaoskit: Callable[..., Said]) -> None:
    code, _, err = chaoskit("list", "runs")
    assert code == 0
    assert "no runs in reports/" in err


@pytest.mark.parametrize("what", ["experiment", "target"])
def test_the_schema_is_printed(chaoskit: Callable[..., Said], what: str) -> None:
    code, out, _ = chaoskit("schema", what)
    assert code == 0
    assert json.loads(out)["title"] == f"chaoskit {what}"


def test_doctor_says_what_is_here_and_how_to_get_the_rest(
    chaoskit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    code, out, _ = chaoskit("doctor")
    assert code == 0
    assert "✓ locust" in out
    assert "– Docker" in out and "DOCKER_HOST" in out
    document = json.loads(chaoskit("doctor", "--json").out)
    assert {"name", "found", "purpose", "cure", "required"} == set(document["parts"][0])


def test_doctor_tells_a_docker_that_is_none(chaoskit: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        assert "does not answer as Docker does" in chaoskit("doctor").out
        thread.join(5.0)


def test_a_report_of_a_run_that_is_not_there_is_said(chaoskit: Callable[..., Said]) -> None:
    code, _, err = chaoskit("report", "nothing")
    assert code == 2
    assert "no run 'nothing' in reports/" in err
