"""`chaoskit load` as people use it: on a URL, with a file, with thresholds, and where it must not go."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.load.servers import Peer, Server, polite


def chaoskit(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaoskit", "load", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_a_url_is_loaded_and_judged(tmp_path: Path) -> None:
    with Server(polite) as server:
        done = chaoskit(
            *(f"{server.url}/x?y=1", "--rate", "100/s", "--for", "5s", "--json", "--junit", "junit.xml"),
            *("--expect", "p95 < 2s", "--expect", "error_rate < 5%", "-H", "X-A: b", "-H", "Authorization: s3cret"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 500
        assert server.requests[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")
        assert b"\r\nX-A: b\r\n" in server.requests[0]
        assert b"\r\nAuthorization: s3cret\r\n" in server.requests[0]
    document = json.loads(done.stdout)
    (run,) = document["runs"]
    assert document["verdict"] == run["verdict"] == "supported"
    assert [finding["hypothesis"] for finding in run["findings"]] == ["latency", "error_rate"]
    (load,) = run["load"].values()
    assert load["load"]["requests"] == 500
    assert run["windows"] == {"load": [[0.0, 5.0]]}
    assert (Path(tmp_path / run["folder"]) / "report.html").exists()
    assert "testcase" in (tmp_path / "junit.xml").read_text()
    kept = [path for path in (tmp_path / run["folder"]).rglob("*") if path.is_file() and path.suffix != ".svg"]
    assert not [path for path in kept if b"s3cret" in path.read_bytes()]


def test_a_threshold_that_breaks_is_exit_1(tmp_path: Path) -> None:
    def slow(peer: Peer) -> None:
        while peer.request():
            time.sleep(0.2)
            peer.answer()

    with Server(slow) as server:
        done = chaoskit(server.url, "--users", "20", "--for", "5s", "--expect", "p95 < 100ms", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "refuted" in done.stdout


def test_without_thresholds_a_load_that_could_tell_is_exit_0(tmp_path: Path) -> None:
    done = chaoskit("http://127.0.0.1:1/", "--users", "2", "--for", "1s", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout


FILE = """\
url: {url}
for: 2s
expect: [p95 of b < 2s]
load:
  rate: 50/s
  data: {{sku: {{csv: skus.csv, column: id}}}}
  requests:
    - {{name: a, path: "/a/${{sku}}"}}
    - {{name: b, path: /b, weight: 3}}
"""


def test_a_file_says_what_is_sent(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "skus.csv").write_text("id\n7\n8\n")
    with Server(polite) as server:
        (tmp_path / "files" / "load.yaml").write_text(FILE.format(url=server.url))
        done = chaoskit("files/load.yaml", "--judge", "point", "--json", cwd=tmp_path)
        assert len(server.requests) == 100
        paths = {data.split()[1] for data in server.requests}
    assert done.returncode == 0, done.stderr
    assert paths == {b"/a/7", b"/a/8", b"/b"}


SERVICE = """\
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        good = self.path == "/token" or self.headers["X-Token"] == "7"
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b'{"token": 7}')
    def log_message(self, *_):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""
SET_UP = """\
target: mine
for: 1s
setup: [{path: /token, capture: {token: $.token}}]
load:
  rate: 20/s
  data: {token: setup}
  requests: [{name: call, path: /, headers: {X-Token: "${token}"}, expect: 200}]
"""


def test_a_targets_setup_is_done_before_its_load(tmp_path: Path) -> None:
    folder = tmp_path / "files" / "targets" / "mine"
    folder.mkdir(parents=True)
    (folder / "service.py").write_text(SERVICE)
    (folder / "target.yaml").write_text(
        'name: mine\nentry: web\nservices:\n  web: {run: "python targets/mine/service.py {port}"}\n'
    )
    (tmp_path / "files" / "load.yaml").write_text(SET_UP)
    done = chaoskit("files/load.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["load"]["call"]["load"]["failures"] == 0
    assert run["load"]["call"]["load"]["requests"] == 20


def test_users_of_a_locustfile_are_run_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from locust import FastHttpUser, constant, task\n"
        "class Mine(FastHttpUser):\n"
        "    wait_time = constant(0.05)\n"
        "    @task\n"
        "    def look(self):\n"
        "        self.client.get('/look')\n"
    )
    with Server(polite) as server:
        done = chaoskit(server.url, "--locustfile", "mine.py", "--users", "3", "--for", "2s", "--json", cwd=tmp_path)
        assert len(server.requests) > 30
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["runs"][0]["load"]["/look"]["load"]["failures"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("http://192.0.2.1/", "--rate", "1/s"), "--allow-host 192.0.2.1"),
        (("http://127.0.0.1:1/", "--rate", "5"), "expected a rate, such as 50/s"),
        (("http://127.0.0.1:1/", "--rate", "5/s", "--users", "3"), "not both"),
        (("http://127.0.0.1:1/", "--expect", "fast"), "expected a threshold"),
        (("http://127.0.0.1:1/", "--for", "10"), "--for: expected a duration"),
        (("nowhere",), "no target 'nowhere'"),
        (("missing.yaml",), "missing.yaml"),
        (("http://127.0.0.1:1/", "--find-capacity", "--users", "3", "--expect", "p95 < 1s"), "a capacity is a rate"),
        (("http://127.0.0.1:1/", "--find-capacity", "--rate", "3/s"), "needs a threshold"),
        (("http://127.0.0.1:1/", "--away", "2"), "--listen"),
        (("worker", "--join", "127.0.0.1:1"), "CHAOSKIT_LOAD_TOKEN"),
    ],
)
def test_what_makes_no_sense_is_exit_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = chaoskit(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr


def test_a_wrong_key_in_a_file_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "load.yaml").write_text("url: http://127.0.0.1:1\nload:\n  rate: 5/s\n  requests: [{paht: /}]\n")
    done = chaoskit("load.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "load.yaml:4:" in done.stderr
    assert "'path'" in done.stderr


def test_an_interrupted_load_is_reported_as_far_as_it_came(tmp_path: Path) -> None:
    with Server(polite) as server:
        command = [sys.executable, "-m", "chaoskit", "load", server.url, "--rate", "50/s", "--for", "60s", "--json"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        until = time.monotonic() + 30
        while len(server.requests) < 50 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    (run,) = json.loads(out)["runs"]
    assert run["interrupted"]
    assert next(iter(run["load"].values()))["load"]["requests"] >= 50


def test_the_capacity_is_found_and_its_knee_drawn(tmp_path: Path) -> None:
    """A server with two places of 20 ms each: 100/s at most."""
    import threading

    places = threading.Semaphore(2)

    def busy(peer: Peer) -> None:
        while peer.request():
            with places:
                time.sleep(0.02)
            peer.answer()

    with Server(busy) as server:
        done = chaoskit(
            *(server.url, "--find-capacity", "--rate", "40/s", "--for", "2s", "--expect", "p95 < 400ms"),
            *("--judge", "point", "--json"),
            cwd=tmp_path,
        )
    (run,) = json.loads(done.stdout)["runs"]
    capacity = next(finding for finding in run["findings"] if finding["hypothesis"] == "capacity")
    assert 40 <= capacity["measured"] <= 130, done.stderr
    assert (tmp_path / run["folder"] / "knee.svg").exists()
