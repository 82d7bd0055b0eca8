"""`chaoskit proxy`: the server by hand, and the real one installed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from chaoskit.cli.proxy import command
from chaoskit.errors import MissingPart
from tests.proxy.serving import Api

CHAOSKIT = [sys.executable, "-c", "from chaoskit.cli import main; main()", "proxy"]


def test_serve_takes_toxiproxys_flags_and_ends_by_a_signal(tmp_path: Path) -> None:
    config = tmp_path / "proxies.json"
    config.write_text('[{"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:9"}]')
    with subprocess.Popen(
        [*CHAOSKIT, "serve", "-host=127.0.0.1", "-port", "0", "-config", str(config), "-seed", "3"],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        server = Api(json.loads(process.stdout.readline())["port"])
        assert list(server.ok("GET", "/proxies")) == ["p"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_serve_says_its_flags() -> None:
    ran = subprocess.run([*CHAOSKIT, "serve", "--help"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0
    for flag in ("--host", "--port", "--config", "--seed", "--strict", "--token"):
        assert flag in ran.stdout


def test_serve_refuses_what_it_does_not_know() -> None:
    ran = subprocess.run([*CHAOSKIT, "serve", "--colour"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2 and "--colour" in ran.stderr


def test_install_leaves_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaoskit.proxy.install.find_toxiproxy", lambda: "/usr/bin/toxiproxy-server")
    ran = CliRunner().invoke(command, ["install"])
    assert ran.exit_code == 0 and "/usr/bin/toxiproxy-server" in ran.output


def test_install_says_where_it_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("chaoskit.proxy.install.find_toxiproxy", lambda: "")
    monkeypatch.setattr("chaoskit.proxy.install.install", lambda say: tmp_path / "toxiproxy-server")
    ran = CliRunner().invoke(command, ["install"])
    assert ran.exit_code == 0 and f"installed {tmp_path / 'toxiproxy-server'}" in ran.output


def test_install_that_fails_raises_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(say: object) -> Path:
        raise MissingPart("no way worked", hint="install Go")

    monkeypatch.setattr("chaoskit.proxy.install.find_toxiproxy", lambda: "")
    monkeypatch.setattr("chaoskit.proxy.install.install", fail)
    ran = CliRunner().invoke(command, ["install"])
    assert isinstance(ran.exception, MissingPart) and ran.exception.exit_code == 4
