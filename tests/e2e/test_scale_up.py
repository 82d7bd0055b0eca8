"""A service that runs with one replica until the fault phase, and with two in it, told from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Command, document, gone_within

SERVICE = """
import http.client, http.server, itertools, os, sys
backs = [url.removeprefix("http://") for url in os.environ.get("BACKS", "").split(",") if url]
turns = itertools.count()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        status = 200
        if backs and self.path == "/":
            status = 503
            turn = next(turns)
            for number in range(len(backs)):
                link = http.client.HTTPConnection(backs[(turn + number) % len(backs)], timeout=1)
                try:
                    link.request("GET", "/")
                    status = link.getresponse().status
                    break
                except (OSError, http.client.HTTPException):
                    continue
                finally:
                    link.close()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""
TARGET = """
name: rows
entry: front
services:
  front:
    run: python targets/rows/service.py {host} {port}
    needs: {BACKS: "http://{back:all}"}
    health: /ready
  back: {run: "python targets/rows/service.py {host} {port}", replicas: 2, health: /ready}
"""
EXPERIMENT = """
title: A second replica takes its part
target: rows
load: {rate: 20/s, requests: [{name: page, path: /, timeout: 2s}]}
phases: {warmup: 500ms, baseline: 2s, fault: 3s, recovery: 2s}
blast_radius: [back]
steady_state: [{kind: error_rate, max: 5%}]
faults: [{kind: scale, on: back, before: BEFORE, to: 2}]
"""


@pytest.mark.live
def test_a_replica_that_is_added_in_the_fault_phase_serves_then_and_only_then(
    chaoskit: Callable[..., Command], tmp_path: Path
) -> None:
    (tmp_path / "targets/rows").mkdir(parents=True)
    (tmp_path / "targets/rows/service.py").write_text(SERVICE)
    (tmp_path / "targets/rows/target.yaml").write_text(TARGET)
    (tmp_path / "it.yaml").write_text(EXPERIMENT.replace("BEFORE", "1"))
    command = chaoskit("run", "it.yaml", "--json", "--quiet")
    command.wait_for(lambda: command.in_phase("fault"), 60.0)
    ids = command.run_ids()
    code, out, err = command.finish(60.0)
    (run,) = document(out)["runs"]
    (trace,) = [gate for gate in run["gates"] if gate["gate"] == "trace"]
    assert trace["open"] and "back.2 was started, and answered" in trace["because"], (trace, err)
    assert run["undo_left"] == [] and run["load"]["page"]["recovery"]["failures"] == 0, (code, err)
    gone_within(5.0, ids)
    assert not command.journals()


def test_more_replicas_than_the_target_has_are_told_before_anything_starts(
    chaoskit: Callable[..., Command], tmp_path: Path
) -> None:
    (tmp_path / "targets/rows").mkdir(parents=True)
    (tmp_path / "targets/rows/target.yaml").write_text(TARGET)
    (tmp_path / "it.yaml").write_text(EXPERIMENT.replace("BEFORE", "1").replace("to: 2", "to: 5"))
    code, out, err = chaoskit("check", "it.yaml").finish(30.0)
    assert code == 2 and "back has 2 replicas in target rows (`replicas: 5` there" in out + err, out + err
