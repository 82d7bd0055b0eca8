"""Whatever is wrong with what the user gave: one clear error, the right exit code, everything down again."""

from __future__ import annotations

import os
import socket
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import HERE, TINY, Command, gone_within

pytestmark = pytest.mark.live

EXPERIMENT = """
title: It holds
target: {target}
load: {{rate: 20/s, requests: [{{name: page, path: /page, timeout: 1s}}]}}
phases: {{warmup: 1s, baseline: 4s, fault: 4s, recovery: 1s}}
blast_radius: [front->back]
faults:
  - {{kind: latency, on: front->back, add: 50ms}}
hypotheses:
  - {{kind: latency, p50: 400ms}}
"""


@pytest.fixture
def target(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a target of two services whose second one is as given, and an experiment on it."""

    def write(back: str, more: str = "") -> Path:
        folder = tmp_path / "targets" / "odd"
        folder.mkdir(parents=True)
        service = HERE / "targets" / "tiny" / "service.py"
        (folder / "target.yaml").write_text(
            textwrap.dedent(
                f"""
                name: odd
                entry: front
                services:
                  front:
                    run: python {service} {{host}} {{port}}
                    needs: {{NEXT_URL: "http://{{back}}"}}
                    health: /health/ready
                  back:
                    run: {back}
                    health: /health/ready
                    ready_within: 3s
                """
            )
            + textwrap.indent(more, "    ")
        )
        file = tmp_path / "experiment.yaml"
        file.write_text(EXPERIMENT.format(target="odd"))
        return file

    return write


def test_a_service_that_exits_at_once_is_told_with_its_last_words(
    chaoskit: Callable[..., Command], target: Callable[..., Path]
) -> None:
    file = target("""python -c 'print("no licence found"); raise SystemExit(7)' {port}""")
    command = chaoskit("run", str(file), "--quiet")
    code, out, err = command.finish(60.0)
    assert code == 4, out + err
    assert "back" in err and "no licence found" in err
    assert "Traceback" not in err
    gone_within(3.0, command.run_ids())


def test_a_service_that_never_gets_ready_is_given_up_at_its_deadline(
    chaoskit: Callable[..., Command], target: Callable[..., Path]
) -> None:
    file = target("""python -c 'import time; print("thinking", flush=True); time.sleep(600)' {port}""")
    command = chaoskit("run", str(file), "--quiet")
    code, out, err = command.finish(60.0)
    assert code == 4, out + err
    assert "back" in err and "thinking" in err and "ready" in err
    gone_within(3.0, command.run_ids())


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="/dev/shm is no filesystem of its own")
def test_what_only_a_running_target_shows_to_be_impossible_is_told_before_the_load(
    chaoskit: Callable[..., Command], target: Callable[..., Path]
) -> None:
    file = target(f"python {HERE / 'targets' / 'tiny' / 'service.py'} {{host}} {{port}}")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shared:  # more stays free than there is: nothing can be filled
        fault = f"{{kind: disk_full, on: back, path: {shared}, leave: 9999GB}}"
        text = file.read_text().replace("{kind: latency, on: front->back, add: 50ms}", fault)
        file.write_text(text.replace("[front->back]", "[back]"))
        code, out, err = chaoskit("run", str(file), "--quiet", "--store", f"{shared}/reports").finish(60.0)
        assert code == 4, out + err
        assert "the same filesystem" in err and "must not be filled" in err
        assert not any('"warmup"' in path.read_text() for path in Path(shared).rglob("history.jsonl"))


def test_a_toxiproxy_that_is_not_there_is_said(chaoskit: Callable[..., Command]) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = chaoskit("run", str(TINY), "--quiet", CHAOSKIT_TOXIPROXY=f"http://127.0.0.1:{port}")
    code, out, err = command.finish(60.0)
    assert code == 4, out + err
    assert f"127.0.0.1:{port}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("kind: latency, on", "kind: latnecy, on"), "did you mean 'latency'"),
        (("on: front->back", "on: front->bakc"), "did you mean"),
        (("add: 50ms", "add: 50"), "such as 300ms or +50%"),
        (("rate: 20/s", "rate: 20"), "such as 50/s"),
        (("hypotheses:", "hypothesis:"), "did you mean 'hypotheses'"),
        (("target: odd", "target: even"), "even"),
        (("blast_radius: [front->back]", "blast_radius: []"), "blast"),
    ],
    ids=["kind", "edge", "unit of a delay", "unit of a rate", "key", "target", "blast radius"],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(
    chaoskit: Callable[..., Command], target: Callable[..., Path], change: tuple[str, str], says: str
) -> None:
    file = target("python -c pass {port}")
    text = file.read_text()
    assert change[0] in text
    file.write_text(text.replace(*change))
    for arguments in (("check", str(file)), ("run", str(file))):
        code, out, err = chaoskit(*arguments).finish(30.0)
        assert code == 2, out + err
        assert says in out + err
        assert f"{file.name}:" in out + err
        assert "Traceback" not in out + err


def test_a_missing_file_is_said(chaoskit: Callable[..., Command]) -> None:
    code, _, err = chaoskit("run", "nowhere.yaml").finish(30.0)
    assert code == 2
    assert "nowhere.yaml" in err and "Traceback" not in err
