"""A run with a token from the environment, of a service that logs it: nobody is told, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, document

pytestmark = pytest.mark.live

TOKEN = 't0ken "in" the=environment'
QUOTED = "t0ken%20%22in%22%20the%3Denvironment"
CHATTY = """
import http.server, sys

class Chatty(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        print("called with", self.headers["Authorization"], flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Chatty).serve_forever()
"""
TARGET = """
name: chatty
entry: chatty
services:
  chatty: {run: "python chatty.py {host} {port}", health: /health}
"""
EXPERIMENT = """
title: Pages come although the line is slower
target: chatty
load:
  rate: 20/s
  requests:
    - name: page
      path: /of/${env.QUOTED_TOKEN}/page
      headers: {Authorization: "Bearer ${env.API_TOKEN}"}
phases: {warmup: 1s, baseline: 2s, fault: 4s, recovery: 1s}
blast_radius: [load->chatty]
faults:
  - {kind: latency, on: load->chatty, add: 50ms}
hypotheses:
  - {kind: timeout, edge: load->chatty, within: 10ms}
"""


def test_a_token_of_the_environment_is_told_to_nobody(chaoskit: Callable[..., Command], tmp_path: Path) -> None:
    (tmp_path / "targets" / "chatty").mkdir(parents=True)
    (tmp_path / "targets" / "chatty" / "target.yaml").write_text(TARGET)
    (tmp_path / "chatty.py").write_text(CHATTY)
    (tmp_path / "it.yaml").write_text(EXPERIMENT)
    said = {"API_TOKEN": TOKEN, "QUOTED_TOKEN": QUOTED}
    command = chaoskit("run", "it.yaml", "--json", **said)
    command.wait_for(lambda: command.in_phase("fault"))
    journals = b"".join(path.read_bytes() for path in command.journals())
    code, out, err = command.finish(90.0)
    assert code in (0, 1, 3), err
    [run] = document(out)["runs"]
    folder = tmp_path / run["folder"]
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".svg"}
    told = {"journals": journals, "stdout": out.encode(), "stderr": err.encode()}
    for where, data in {**kept, **told}.items():
        assert b"t0ken" not in data, where
    assert kept[folder / "logs" / "chatty.log"].count(b"called with Bearer (hidden)") > 50
    assert b'"path":"/of/(hidden)/page"' in kept[folder / "history.jsonl"]
    assert b"${env.API_TOKEN}" in kept[folder / "report.html"], "where it comes from is no secret"
