"""The probe that asks a Prometheus: instant and range queries, alerts, and servers in trouble."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import ValidationError

from chaoskit.model.observation import Event, MetricPoint, Observation
from chaoskit.probes.prometheus import Prometheus
from chaoskit.testing import FakeSystem
from tests.requires import requires

Reply = Callable[[str, dict[str, str]], object]


@contextmanager
def prometheus(reply: Reply) -> Iterator[str]:
    """A server that answers queries as `reply(path, params)` says: the `result` of the API, bytes, or a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            params = {key: values[0] for key, values in parse_qs(parts.query).items()}
            answer = reply(parts.path, params)
            status = answer if isinstance(answer, int) else 200
            body = answer if isinstance(answer, bytes) else json.dumps({"data": {"result": answer}}).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                pass  # the probe has given up on us, as it should

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def watched(
    probe: Prometheus, *, until: Callable[[list[Observation]], bool], within: float = 10.0
) -> list[Observation]:
    """What the probe emits until that is enough."""
    seen: list[Observation] = []
    stop = threading.Event()
    thread = threading.Thread(target=probe.run, args=(FakeSystem(), seen.append, stop))
    thread.start()
    deadline = time.monotonic() + within
    while not until(seen) and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    thread.join(5.0)
    return list(seen)


def points(seen: list[Observation]) -> list[MetricPoint]:
    return [one for one in seen if isinstance(one, MetricPoint)]


def warnings(seen: list[Observation]) -> list[str]:
    return [one.text for one in seen if isinstance(one, Event) and one.kind == "warning"]


def vector(*series: tuple[dict[str, str], str]) -> object:
    return [{"metric": labels, "value": [time.time(), value]} for labels, value in series]


def test_an_instant_query_becomes_a_sample_of_each_series_stamped_by_our_clock() -> None:
    def reply(path: str, params: dict[str, str]) -> object:
        assert path == "/api/v1/query"
        return vector(({"__name__": "up", "job": "a"}, "1"), ({"job": "b"}, "NaN"))

    began = time.monotonic()
    with prometheus(reply) as url:
        seen = watched(Prometheus(server=url, queries=("up",), every=0.2), until=lambda s: len(points(s)) >= 4)
    first, second = points(seen)[:2]
    assert (first.name, first.value, first.labels, first.source) == ("up", 1.0, {"job": "a"}, f"prometheus {url}")
    assert second.value != second.value
    assert began <= first.at <= time.monotonic()


def test_a_scalar_is_a_series_without_labels() -> None:
    with prometheus(lambda path, params: [time.time(), "42"]) as url:
        seen = watched(Prometheus(server=url, queries=("scalar(x)",), every=0.2), until=lambda s: bool(points(s)))
    assert (points(seen)[0].value, points(seen)[0].labels) == (42.0, {})


@pytest.mark.parametrize(("state", "value"), [("firing", 2.0), ("pending", 1.0), ("", 0.0)])
def test_an_alert_is_told_as_the_worst_of_its_instances_and_as_inactive_where_there_is_none(
    state: str, value: float
) -> None:
    def reply(path: str, params: dict[str, str]) -> object:
        assert params["query"] == 'ALERTS{alertname="Down"}'
        return vector(({"alertstate": "pending"}, "1"), ({"alertstate": state}, "1")) if state else []

    with prometheus(reply) as url:
        seen = watched(Prometheus(server=url, alerts=("Down",), every=0.2), until=lambda s: bool(points(s)))
    point = points(seen)[0]
    assert (point.name, point.labels, point.value) == ("alert", {"alert": "Down"}, value)


def test_a_range_is_asked_on_whole_seconds_each_once_and_missed_rounds_are_made_up_for() -> None:
    asked: list[tuple[int, int]] = []
    ahead = 1000.0  # its clock is far ahead of ours

    def reply(path: str, params: dict[str, str]) -> object:
        if path == "/api/v1/query":
            return [time.time() + ahead, str(time.time() + ahead)]
        start, end = int(params["start"]), int(params["end"])
        asked.append((start, end))
        if len(asked) == 2:
            return 503
        return [{"metric": {}, "values": [[second, "7"] for second in range(start, end + 1)]}]

    with prometheus(reply) as url:
        probe = Prometheus(server=url, queries=("x",), ask="range", every=0.3)
        seen = watched(probe, until=lambda s: len(points(s)) >= 4)
    times = [point.at for point in points(seen)]
    assert [b - a for a, b in pairwise(times)] == pytest.approx([1.0] * (len(times) - 1), abs=0.05)
    assert abs(times[-1] - time.monotonic()) < 3.0
    clocks = [one for one in seen if isinstance(one, Event) and one.kind == "clock"]
    assert len(clocks) == 1 and float(clocks[0].about["uncertainty"]) < 0.1


def test_a_server_that_is_down_slow_refuses_or_talks_nonsense_is_told_once_with_the_reason() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{free.getsockname()[1]}"
    seen = watched(Prometheus(server=down, queries=("up",), every=0.2), until=lambda s: bool(warnings(s)))
    assert len(warnings(seen)) == 1 and "did not answer: ConnectionError" in warnings(seen)[0]

    def slowly(path: str, params: dict[str, str]) -> object:
        time.sleep(0.6)
        return []

    replies: list[tuple[Reply, str]] = [
        (slowly, "did not answer"),
        (lambda path, params: 422, "refused a question"),
        (lambda path, params: b"<html>", ""),
        (lambda path, params: [{"metric": {}}], "not Prometheus'"),
        (lambda path, params: vector(({}, "much")), "not Prometheus'"),
    ]
    for reply, said in replies:
        with prometheus(reply) as url:
            probe = Prometheus(server=url, queries=("up",), every=0.2, timeout=0.3)
            seen = watched(probe, until=lambda s: bool(warnings(s)))
        assert said in warnings(seen)[0]
        assert not points(seen)


def test_a_probe_that_asks_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="what to ask it"):
        Prometheus()


@pytest.mark.live
@requires("prometheus")
def test_a_real_prometheus_answers_queries_ranges_and_alerts(tmp_path: Path) -> None:
    rules = {"groups": [{"name": "g", "rules": [{"alert": "Always", "expr": "vector(1)"}]}]}
    (tmp_path / "rules.yml").write_text(json.dumps(rules))
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["rules.yml"]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = ["prometheus", "--config.file=prometheus.yml", f"--web.listen-address=127.0.0.1:{port}"]
    server = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        for ask in ("instant", "range"):
            probe = Prometheus(server=url, queries=("vector(3) + 4",), alerts=("Always", "Never"), ask=ask)

            def enough(seen: list[Observation]) -> bool:
                found = {(p.name, p.labels.get("alert"), p.value) for p in points(seen)}
                wanted = {("vector(3) + 4", None, 7.0), ("alert", "Always", 2.0), ("alert", "Never", 0.0)}
                return wanted <= found

            assert enough(watched(probe, until=enough, within=40.0))
    finally:
        server.terminate()
        server.wait(10)
